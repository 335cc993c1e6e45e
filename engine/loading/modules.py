"""Read modules and tensors from files with the libraries; broken files raise `BrokenModel`."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, Final, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.device.backends import holds_fp8, is_out_of_memory
from engine.device.stored_weights import StoredWeight, real_values
from engine.errors import BrokenModel, first_line
from engine.files.safetensors import BadFile, as_broken_model, read_header
from engine.loading.unused_tensors import VAE_HARMLESS
from engine.models.signatures import VAE
from engine.models.tensor_names import respelled

log = logging.getLogger(__name__)

# What diffusers says of files that do not fit, and what Marble says.
LIBRARY: Final = (
    (
        re.compile(
            r"Cannot load .*because (\S+) expected shape torch\.Size\((\[.*?\])\), but got "
            r"torch\.Size\((\[.*?\])\)"
        ),
        r"its tensor '\1' has the shape \3, where \2 is due",
    ),
    (
        re.compile("does not seem to contain a valid CLIP model"),
        "it is none of CLIP's text encoders, or of another size than its family's",
    ),
)
CAST_AT_USE: Final = (torch.nn.Linear, torch.nn.Embedding)  # layers whose weights may stay stored

M = TypeVar("M", bound=torch.nn.Module)
# Held while a library makes a module of weights: diffusers, transformers and accelerate change
# torch's defaults for all threads meanwhile. Whoever computes in another thread holds it, too.
LIBRARIES: Final = RLock()


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
        raise BrokenModel(name, f"{where}{_said(error)}.") from error


def _said(error: Exception) -> str:
    """Return what an error says of a file, in Marble's words where they are known."""
    for pattern, plain in LIBRARY:
        if found := pattern.search(str(error)):
            return found.expand(plain)
    return first_line(error)


def read_folder(
    kind: Any, folder: Path, dtype: torch.dtype, variant: str | None = None
) -> tuple[Any, list[str]]:
    """Return the module of a diffusers folder, and the tensors of its files that it does not use.

    Raises `BadFile` for missing weights, where the library goes on with random numbers, and for
    those of another shape, which transformers names nowhere but in its log.
    """
    named = {"ignore_mismatched_sizes": True} if kind.__module__.startswith("transformers") else {}
    with LIBRARIES:
        module, info = kind.from_pretrained(
            str(folder),
            dtype=dtype,
            variant=variant,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **named,
        )
    for name, shape, due in sorted(info["mismatched_keys"]) if named else ():
        raise BadFile(f"its tensor {name!r} has the shape {[*shape]}, where {[*due]} is due")
    check_missing(info["missing_keys"])
    return module, sorted(info["unexpected_keys"])


def check_missing(names: Iterable[str]) -> None:
    """Raise `BadFile` for the first of some weights that a file lacks."""
    if missing := sorted(names):
        raise BadFile(f"its weights lack {missing[0]!r} and {len(missing) - 1} more")


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
        raise BadFile(f"its tensor {unknown[0]!r} and {len(unknown) - 1} more are not known")
    # GGUF leaves out sides of 1 before the others.
    shaped = {name: _with_ones(tensor, own[name].ndim) for name, tensor in tensors.items()}
    for name, tensor in shaped.items():
        if tensor.shape != own[name].shape:
            shapes = [*tensor.shape], [*own[name].shape]
            raise BadFile(
                f"its tensor {name!r} has the shape {shapes[0]}, where {shapes[1]} is due"
            )
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
        with LIBRARIES:
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


def read_tensors(name: str, file: Path, *, fp8: bool = False) -> dict[str, Tensor]:
    """Map a file's tensors into memory, or raise `BrokenModel`; fp8: whether they may be fp8."""
    try:
        with as_broken_model(name):
            read_header(file, fp8=fp8)
        return dict(load_file(file))
    except OSError as error:  # its text may hold the file's path
        reason = "it is gone" if isinstance(error, FileNotFoundError) else error.strerror
        raise BrokenModel(name, f"it cannot be read ({reason or type(error).__name__}).") from None
    except SafetensorError as error:
        raise BrokenModel(name, f"it cannot be read ({error}).") from None


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
