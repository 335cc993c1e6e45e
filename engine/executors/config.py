"""The engine's configuration, which is sent to its process as JSON.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from engine.files.stored import PictureStore
from engine.models.catalogue import STARTER_FOLDER

AUTO: Final = "auto"  # every device of this machine
SEPARATOR: Final = ","  # between devices in the settings
PATHS: Final = ("models_dir", "starter", "pictures", "notes")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Where models are, and how they run.

    device: `auto`, a name, or several with commas between them, an engine each; threads: that
    torch uses on a CPU (0: as many as it has).
    pictures: the folder of the picture store, for start images (None: there are none); store: read
    instead of that folder, where pictures are in memory, and not sent to another process;
    pictures_url: the bucket that is read before the folder (it may hold keys); batching:
    `exact` or `throughput`; notes: the folder that keeps measurements of this device (None: measure
    at each start); safety_model: the classifier of finished pictures, a folder or a name of the hub
    (None: no safety check); safety_labels: label → the probability from which a picture is unsafe;
    factory: `module:name` of the function that makes the pipeline, in the engine's thread; devices:
    of the one that names the devices beside the first, which is asked where `device` is `auto`.
    """

    models_dir: Path | None = None
    starter: Path = STARTER_FOLDER
    pictures: Path | None = None
    store: PictureStore | None = None
    pictures_url: str | None = field(default=None, repr=False)
    device: str = "auto"
    threads: int = 0
    batching: str = "exact"
    compile: bool = False
    notes: Path | None = None
    safety_model: str | None = None
    safety_labels: Mapping[str, float] = field(default_factory=dict)
    factory: str = "engine.executors.opening:open_pipeline"
    devices: str = "engine.device.backends:devices_beside"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            name: str(value.absolute()) if isinstance(value, Path) else value
            for name, value in asdict(replace(self, store=None)).items()
            if name != "store"
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EngineConfig:
        """Read what `to_dict` wrote."""
        paths = {name: data[name] and Path(data[name]) for name in PATHS}
        return cls(**{**data, **paths})
