"""Check models, LoRAs, VAEs, embeddings, ControlNets and upscale models by loading each once.

Whether one fits a certain model (such as a LoRA's layers) is checked only when it is used.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from engine.decode.external_vae import read_vae
from engine.decode.tiny_vae import is_tiny, read_tiny
from engine.device.backends import is_out_of_memory
from engine.device.finite import check_values
from engine.errors import BrokenModel, OutOfMemory
from engine.families.registry import load
from engine.files.safetensors import as_broken_model, read_header
from engine.finish.upscale import load_upscale_model
from engine.loading.lora_file import read_entries
from engine.loading.modules import read_tensors
from engine.models.catalogue import Catalogue, Checkpoint
from engine.models.control_files import context_width, family_title
from engine.models.families import BY_KEY
from engine.models.folders import ModelKind
from engine.models.model_files import KINDS, ModelFiles
from engine.models.part_kinds import KINDS as PART_KINDS
from engine.models.part_kinds import SD, VAE, told
from engine.sentences import fill
from engine.text_encode.embeddings import find_vectors

# On the CPU in half precision, a single file's weights stay memory-mapped.
CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a check; problem: None if it can be used.

    title: what it is, of a file beside the models; unread: tensors of a model that are not used.
    """

    name: str
    kind: ModelKind = ModelKind.CHECKPOINT
    title: str = ""
    problem: str | None = None
    checkpoint: Checkpoint | None = None
    unread: tuple[str, ...] = ()


def examine(catalogue: Catalogue, names: Iterable[str]) -> Iterator[Report]:
    """Load models one after another, and check every value of their weights."""
    for name in names:
        checkpoint = None
        try:
            checkpoint = catalogue.get(name)
            unread = load(checkpoint, CPU, torch.float16).unread
        except BrokenModel as error:
            yield Report(name=name, checkpoint=checkpoint, problem=error.reason)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"There is not enough memory to check the model {name!r}.") from None
        else:
            yield Report(name=checkpoint.name, checkpoint=checkpoint, unread=unread)
        gc.collect()


def examine_parts(
    models_dir: Path | None, parts: Iterable[tuple[ModelKind, str]]
) -> Iterator[Report]:
    """Read files of a folder, and check every value of most of them."""
    files = {kind: ModelFiles(models_dir, kind) for kind in KINDS}
    for kind, name in parts:
        try:
            title = READERS[kind](name, files[kind].path(name))
            yield Report(name=name, kind=kind, title=title)
        except BrokenModel as error:
            yield Report(name=name, kind=kind, problem=error.reason)


def _lora(name: str, path: Path) -> str:
    entries = read_entries(name, path)
    check_values(name, read_tensors(name, path).items())
    return fill("{n} {n:layer|layers}", n=len(entries))


def _vae(name: str, path: Path) -> str:
    if is_tiny(path):
        return f"tiny, {_channels(read_tiny(name, path))}"
    if path.is_file():
        with as_broken_model(name):
            kind = told(VAE, read_header(path).tensors)
        if kind and kind is not PART_KINDS[SD]:  # of a flow model
            check_values(name, read_tensors(name, path).items())
            return kind.title
    vae = read_vae(name, path, BY_KEY["sd1"].config_folder)
    return _channels(vae)


def _channels(vae: Any) -> str:
    return fill("{n} {n:channel|channels}", n=vae.config.latent_channels)


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
