"""Check LoRAs, VAEs, embeddings, ControlNets and upscale models by reading each once.

Whether one fits a certain model (such as a LoRA's layers) is checked only when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from engine.decode.external_vae import read_vae
from engine.decode.tiny_vae import is_tiny, read_tiny
from engine.device.finite import check_values
from engine.errors import BrokenModel
from engine.finish.upscale import load_upscale_model
from engine.loading.lora_file import read_entries
from engine.loading.modules import read_tensors
from engine.models.control_files import context_width, family_title
from engine.models.families import BY_KEY
from engine.models.folders import ModelKind
from engine.models.model_files import KINDS, ModelFiles
from engine.text_encode.embeddings import find_vectors

CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """The result of a file's or folder's check; problem: None if it can be used."""

    name: str
    kind: ModelKind
    title: str = ""
    problem: str | None = None


def examine_parts(
    models_dir: Path | None, parts: Iterable[tuple[ModelKind, str]]
) -> Iterator[PartReport]:
    """Read files of a folder, and check every value of most of them."""
    files = {kind: ModelFiles(models_dir, kind) for kind in KINDS}
    for kind, name in parts:
        try:
            path = files[kind].get(name)
            assert path is not None  # it has a file
            yield PartReport(name=name, kind=kind, title=READERS[kind](name, path))
        except BrokenModel as error:
            yield PartReport(name=name, kind=kind, problem=error.reason)


def _lora(name: str, path: Path) -> str:
    entries = read_entries(name, path)
    check_values(name, read_tensors(name, path).items())
    return f"{len(entries)} layers"


def _vae(name: str, path: Path) -> str:
    if is_tiny(path):
        return f"tiny, {read_tiny(name, path).config.latent_channels} channels"
    vae = read_vae(name, path, BY_KEY["sd1"].config_folder)
    return f"{vae.config.latent_channels} channels"


def _embedding(name: str, path: Path) -> str:
    tensors = read_tensors(name, path)
    widths = {find_vectors(name, tensors, number).shape[-1] for number in (0, 1)}
    check_values(name, tensors.items())
    return f"for text encoders {' and '.join(map(str, sorted(widths)))} wide"


def _control(name: str, path: Path) -> str:
    width = context_width(name, path)
    for file in sorted(path.glob("*.safetensors")) if path.is_dir() else [path]:
        check_values(name, read_tensors(name, file).items())
    return f"for {family_title(width)}" if width else ""


def _upscaler(name: str, path: Path) -> str:
    return f"{load_upscale_model(name, path, CPU).scale}×"


READERS: Final[Mapping[ModelKind, Callable[[str, Path], str]]] = {
    ModelKind.LORA: _lora,
    ModelKind.VAE: _vae,
    ModelKind.EMBEDDING: _embedding,
    ModelKind.CONTROLNET: _control,
    ModelKind.UPSCALER: _upscaler,
}
