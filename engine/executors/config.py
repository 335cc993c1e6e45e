"""What an engine is made from, as it crosses to another process: plain JSON values.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.models.catalogue import STARTER_FOLDER

PATHS: Final = ("models_dir", "starter", "pictures", "notes")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Say where models are, what they run on and how.

    pictures: the folder of the picture store, for start images (None: there are none); batching:
    `exact` or `throughput`; notes: the folder where measurements of this device are
    remembered (None: measured anew at each start); safety_model: the classifier that looks at every
    finished picture, a folder or a name of the hub (None: none does); safety_labels: the
    probability of each label from which on a picture is unsafe; factory: what makes the pipeline in
    the engine's own thread, as `module:name`.
    """

    models_dir: Path | None = None
    starter: Path = STARTER_FOLDER
    pictures: Path | None = None
    device: str = "auto"
    batching: str = "exact"
    compile: bool = False
    notes: Path | None = None
    safety_model: str | None = None
    safety_labels: Mapping[str, float] = field(default_factory=dict)
    factory: str = "engine.executors.opening:open_pipeline"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            name: str(value.absolute()) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EngineConfig:
        """Read what `to_dict` wrote."""
        paths = {name: data[name] and Path(data[name]) for name in PATHS}
        return cls(**{**data, **paths})
