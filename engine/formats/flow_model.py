"""A flow model as other programs have it: files of its parts, and how it is guided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.formats.graphs.flow_families import FLOW_FAMILIES, MISTRAL, QWEN3_8B, FlowFamily
from engine.models.catalogue import Checkpoint
from engine.models.folders import FOLDERS, PICKLES, SAFE, ModelKind

GGUF: Final = ".gguf"
WEIGHTS: Final = (*SAFE, *PICKLES, GGUF)
# Folders below which they name text encoders and VAEs.
TEXT_ENCODERS: Final = ("text_encoders", "clip", "text_encoder")
VAES: Final = tuple(name for layout in FOLDERS[ModelKind.VAE] for name in layout)


@dataclass(frozen=True, slots=True)
class FlowModel:
    """A checkpoint of one of `FLOW_FAMILIES`."""

    checkpoint: Checkpoint

    @classmethod
    def of(cls, checkpoint: Checkpoint | None) -> FlowModel | None:
        """Return a checkpoint as such a model, None if it is none."""
        return cls(checkpoint) if checkpoint and checkpoint.family.key in FLOW_FAMILIES else None

    @property
    def family(self) -> str:
        """Return the key of its family."""
        return self.checkpoint.family.key

    @property
    def usual(self) -> FlowFamily:
        """Return what its family usually has."""
        return FLOW_FAMILIES[self.family]

    @property
    def takes_guidance(self) -> bool:
        """Return whether its guidance can be chosen."""
        return "guidance_scale" not in self.checkpoint.lacks

    @property
    def has_one_prompt(self) -> bool:
        """Return whether it makes one prediction a step, without a negative prompt."""
        return not self.takes_guidance or "negative_prompt" in self.checkpoint.lacks

    @property
    def is_told(self) -> bool:
        """Return whether its network takes guidance as an input."""
        return self.family in ("flux", "flux2") and self.takes_guidance and self.has_one_prompt

    @property
    def is_apart(self) -> bool:
        """Return whether its network lies in a file of its own, for them at least."""
        return self.checkpoint.file is None or "network" in self.checkpoint.parts

    @property
    def encoders(self) -> tuple[str, ...]:
        """Return the files of its text encoders, none where they lie in the one with the network.

        Those of a folder in diffusers' layout are called as usual.
        """
        parts, usual = self.checkpoint.parts, dict(self.usual.encoders)
        given = [part for part in usual if part in parts]
        if not (given or self.is_apart):
            return ()
        if self.family == "flux2" and self.is_told:
            usual["text_encoder"] = MISTRAL
        elif self.family == "flux2" and "9B" in self.checkpoint.title:
            usual["text_encoder"] = QWEN3_8B
        return tuple(_named(parts.get(part), usual[part], TEXT_ENCODERS) for part in given or usual)

    @property
    def vae(self) -> str | None:
        """Return the file of its VAE, None where it lies in the one with the network."""
        file = self.checkpoint.parts.get("vae")
        return _named(file, self.usual.vae, VAES) if file or self.is_apart else None


def _named(path: Path | None, usual: str, folders: Iterable[str]) -> str:
    """Return what others call a file: its path below one of these folders."""
    if path is None or path.suffix.lower() not in WEIGHTS:
        return usual
    found = [at for at, name in enumerate(path.parts[:-1], 1) if name in folders]
    return "/".join(path.parts[max(found) :]) if found else path.name
