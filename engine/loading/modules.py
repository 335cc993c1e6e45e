"""Read modules and tensors from files with the libraries; broken files raise `BrokenModel`."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.device.backends import is_out_of_memory
from engine.errors import BrokenModel, first_line
from engine.files.safetensors import BadFile, as_broken_model, read_header
from engine.loading.unused_tensors import VAE_HARMLESS
from engine.models.signatures import VAE

log = logging.getLogger(__name__)

M = TypeVar("M", bound=torch.nn.Module)


@contextmanager
def reading(name: str, part: str = "") -> Iterator[None]:
    """Turn whatever the libraries raise for a broken file into `BrokenModel`.

    They raise a dozen kinds of errors, of which the full text is logged. Running out of memory is
    not the file's fault, and raised as it is.
    """
    try:
        yield
    except BrokenModel:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        log.debug("reading %s %s failed", name, part, exc_info=True)
        where = f"{part}: " if part else ""
        raise BrokenModel(name, f"{where}{first_line(error)}.") from error


def read_folder(
    kind: Any, folder: Path, dtype: torch.dtype, variant: str | None = None
) -> tuple[Any, list[str]]:
    """Return the module of a diffusers folder, and the tensors of its files that it does not use.

    Raises `BadFile` for missing weights, where the library goes on with random numbers.
    """
    module, info = kind.from_pretrained(
        str(folder),
        dtype=dtype,
        variant=variant,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    check_missing(info["missing_keys"])
    return module, sorted(info["unexpected_keys"])


def check_missing(names: Iterable[str]) -> None:
    """Raise `BadFile` for the first of some weights that a file lacks."""
    if missing := sorted(names):
        raise BadFile(f"its weights lack {missing[0]!r} and {len(missing) - 1} more")


def fill(module: M, tensors: Mapping[str, Tensor]) -> M:
    """Give a module made on the device `meta` its tensors, in their own memory; return it.

    Raises `BadFile` where some are missing, are not known to it, or have another shape.
    """
    own = module.state_dict()
    check_missing(own.keys() - tensors.keys())
    if unknown := sorted(tensors.keys() - own.keys()):
        raise BadFile(f"its tensor {unknown[0]!r} and {len(unknown) - 1} more are not known")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            shapes = [*tensor.shape], [*own[name].shape]
            raise BadFile(
                f"its tensor {name!r} has the shape {shapes[0]}, where {shapes[1]} is due"
            )
    module.load_state_dict(tensors, assign=True)
    return module.eval().requires_grad_(False)


def read_part(
    kind: Any,
    tensors: Mapping[str, Tensor],
    configs: Path,
    part: str,
    *,
    dtype: torch.dtype,
    device: torch.device,
    **options: Any,
) -> Any:
    """Return the module of a part of a single file, or raise `BadFile` where weights are missing.

    configs: folder of its family's configurations; options: values in place of theirs.
    """
    try:
        return kind.from_single_file(
            tensors,
            **options,
            config=str(configs),
            subfolder=part,
            dtype=dtype,
            device=device,
            local_files_only=True,
        )
    except (NotImplementedError, TypeError) as error:
        # The library converts or moves a weight for which it found no values.
        if isinstance(error, NotImplementedError) or "NoneType" in str(error):
            raise BadFile("its weights lack some that its form has") from error
        raise


def read_tensors(name: str, file: Path) -> dict[str, Tensor]:
    """Map a file's tensors into memory, or raise `BrokenModel`."""
    try:
        with as_broken_model(name):
            read_header(file)
        return dict(load_file(file))
    except OSError as error:  # its text may hold the file's path
        reason = "it is gone" if isinstance(error, FileNotFoundError) else error.strerror
        raise BrokenModel(name, f"it cannot be read ({reason or type(error).__name__}).") from None
    except SafetensorError as error:
        raise BrokenModel(name, f"it cannot be read ({error}).") from None


def vae_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a VAE by their own names, whether the file holds more or not.

    What its training left behind is dropped. Attention may be saved as convolutions of one pixel,
    which diffusers handles under the original names alone.
    """
    inside = any(name.startswith(VAE) for name in tensors)
    found = {}
    for name, tensor in tensors.items():
        own = name.removeprefix(VAE)
        if (inside and own == name) or VAE_HARMLESS.match(own):
            continue
        flat = "mid_block.attentions" in own and tensor.ndim == 4
        found[own] = tensor.flatten(1) if flat else tensor
    return found
