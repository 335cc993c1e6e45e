"""The sizes in bytes of tensors, modules and files."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor
from torch.nn import Module


class Evictable(Protocol):
    """Something on the device that can be dropped and loaded again."""

    @property
    def size(self) -> int:
        """Return its bytes."""
        ...

    def drop(self) -> None:
        """Release it unless it is in use."""
        ...


def module_bytes(modules: Iterable[Module]) -> int:
    """Return the bytes of modules' weights and buffers."""
    tensors = (t for module in modules for t in (*module.parameters(), *module.buffers()))
    return sum(tensor.nbytes for tensor in tensors)


def tensor_bytes(thing: Any) -> int:
    """Return the bytes of all tensors in a tensor, tuple, mapping or dataclass."""
    if isinstance(thing, Tensor):
        return thing.nbytes
    if isinstance(thing, tuple):
        return sum(map(tensor_bytes, thing))
    if isinstance(thing, Mapping):
        return sum(map(tensor_bytes, thing.values()))
    if is_dataclass(thing):
        return sum(tensor_bytes(getattr(thing, field.name)) for field in fields(thing))
    return 0


def file_bytes(path: Path) -> int:
    """Return the bytes of a file of weights, or of those in a folder; 0 where they are gone."""
    try:
        files = path.glob("*.safetensors") if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files)
    except OSError:  # whoever reads it says what is wrong
        return 0
