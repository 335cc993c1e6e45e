"""Read modules and tensors from files with the libraries; broken files raise `BrokenModel`."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.device.backends import holds_fp8, is_out_of_memory
from engine.device.stored_weights import StoredWeight, real_values
from engine.errors import BrokenModel, first_line
from engine.files.safetensors import BadFile, as_broken_model, quoted, read_header
from engine.loading.unused_tensors import VAE_HARMLESS
from engine.models.signatures import VAE
from engine.models.tensor_names import respelled

log = logging.getLogger(__name__)

CAST_AT_USE: Final = (torch.nn.Linear, torch.nn.Embedding)  # layers whose weights may stay stored

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


def check_missing(names: Iterable[str]) -> None:
    """Raise `BadFile` for the first of some weights that a file lacks."""
    if missing := sorted(names):
        raise BadFile(f"its weights lack {quoted(missing[0])} and {len(missing) - 1} more")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a module's weights are to lie, and in which dtype it computes.

    device: None is where the tensors are; computes: the device that computes, where weights wait
    elsewhere for their turn (None: where they lie); room: bytes that it may take once all plain
    weights are cast to that dtype.
    """

    dtype: torch.dtype = torch.float32
    device: torch.device | None = None
    room: int = 0
    computes: torch.device | None = None


IN_PLACE: Final = Target()


def build(
    kind: Callable[..., M],
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    target: Target = IN_PLACE,
) -> M:
    """Return a module of that kind and configuration with its tensors, as `fill` gives them."""
    with torch.device("meta"):
        module = kind(**config)
    return fill(module, tensors, target)


def fill(module: M, tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> M:
    """Give a module made on the device `meta` its tensors; return it.

    Weights of linear layers and of tables that are fp8 or quantised stay as they are, and are cast
    at each use (`StoredWeight`). All else is cast once; but where the module would then take more
    than there is room for, weights of these layers whose values are smaller than those of
    computation stay as they are, too. What is neither cast nor moved stays in its own memory: that
    of the mapped file. `engine.files.held_bytes.held_bytes` tells beforehand what it takes.

    Raises `BadFile` where tensors are missing, are not known to the module, or have another shape.
    """
    own = module.state_dict()
    check_missing(own.keys() - tensors.keys())
    if unknown := sorted(tensors.keys() - own.keys()):
        raise BadFile(f"its tensor {quoted(unknown[0])} and {len(unknown) - 1} more are not known")
    # GGUF leaves out sides of 1 before the others.
    shaped = {name: _with_ones(tensor, own[name].ndim) for name, tensor in tensors.items()}
    check_shapes(shaped, own)
    tight = sum(_bytes(tensor, target.dtype) for tensor in shaped.values()) > target.room
    placed: dict[str, Tensor] = {}
    once: dict[int, Tensor] = {}  # a tensor that two layers share is one parameter
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name, tensor in shaped.items():
        layer, _, leaf = name.rpartition(".")
        may_stay = leaf == "weight" and isinstance(module.get_submodule(layer), CAST_AT_USE)
        if id(tensor) not in once:
            made = _place(tensor, target, may_stay=may_stay, tight=tight)
            once[id(tensor)] = (
                torch.nn.Parameter(made, requires_grad=False) if name in parameters else made
            )
        placed[name] = once[id(tensor)]
    module.load_state_dict(placed, assign=True)
    return module.eval().requires_grad_(False)


def check_shapes(tensors: Mapping[str, Tensor], due: Mapping[str, Tensor]) -> None:
    """Raise `BadFile` for the first of some tensors that has another shape than is due."""
    for name, tensor in tensors.items():
        if tensor.shape != due[name].shape:
            shapes = [*tensor.shape], [*due[name].shape]
            raise BadFile(
                f"its tensor {quoted(name)} has the shape {shapes[0]}, where {shapes[1]} is due"
            )


def _with_ones(tensor: Tensor, sides: int) -> Tensor:
    missing = sides - tensor.ndim
    return tensor.reshape(*[1] * missing, *tensor.shape) if missing > 0 else tensor


def _bytes(tensor: Tensor, dtype: torch.dtype) -> int:
    """Return the bytes of a tensor once it is cast, unless it is quantised."""
    quantised = isinstance(tensor, StoredWeight) and tensor.is_quantised
    return tensor.nbytes if quantised else tensor.numel() * dtype.itemsize


def _place(tensor: Tensor, target: Target, *, may_stay: bool, tight: bool) -> Tensor:
    """Return a tensor where it is to lie, cast or as it is stored."""
    if not tensor.is_floating_point():
        return tensor.to(device=target.device)
    stored = tensor if isinstance(tensor, StoredWeight) else StoredWeight(tensor)
    if stored.is_quantised:
        stays = stored.kind is not None or holds_fp8(
            target.computes or target.device or tensor.device
        )
    else:
        stays = tight and stored.stored.itemsize < target.dtype.itemsize
    if may_stay and stays:
        return stored.to(device=target.device, dtype=target.dtype)
    return real_values(tensor.to(target.dtype)).to(device=target.device)


def map_tensors(file: Path, *, fp8: bool = False) -> dict[str, Tensor]:
    """Map a file's tensors into memory, or raise `BadFile`; fp8: whether they may be fp8."""
    try:
        read_header(file, fp8=fp8)
        return dict(load_file(file))
    except OSError as error:  # its text may hold the file's path
        reason = "it is gone" if isinstance(error, FileNotFoundError) else error.strerror
        raise BadFile(f"it cannot be read ({reason or type(error).__name__})") from None
    except SafetensorError as error:
        raise BadFile(f"it cannot be read ({error})") from None


def read_tensors(name: str, file: Path, *, fp8: bool = False) -> dict[str, Tensor]:
    """Map a file's tensors into memory, or raise `BrokenModel`; fp8: whether they may be fp8."""
    with as_broken_model(name):
        return map_tensors(file, fp8=fp8)


def read_vae_tensors(name: str, path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Read a VAE's tensors by their own names; prefix: what these begin with in its file."""
    whole = read_tensors(name, path, fp8=bool(prefix))  # which other parts may be in
    its = (each for each in whole if each.startswith(prefix))
    return vae_tensors(respelled({each.removeprefix(prefix): whole[each] for each in its}))


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
