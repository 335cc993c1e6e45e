"""Names of a network's modules by its makers, against diffusers': theirs may mean several of them.

Makers compute projections of one input by one matrix, which diffusers keeps apart. A table says
which rows of each of theirs make up which of diffusers'; from it follow both how a file's tensors
are respelled and which modules an entry of a LoRA changes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rows:
    """Some of a tensor's rows: it has `parts` equal parts, of which those `taken`, in order."""

    parts: int
    taken: tuple[int, ...]

    def of(self, tensor: Tensor) -> Tensor:
        """Return these rows of a tensor [n, …], as a view where they follow each other.

        Without rows, it is meant for all of them (a scale, for one), and returned as it is.
        """
        if not tensor.ndim:
            return tensor
        ends = [len(tensor) * part // self.parts for part in range(self.parts + 1)]
        first, last = self.taken[0], self.taken[-1]
        if self.taken == tuple(range(first, last + 1)):
            return tensor[ends[first] : ends[last + 1]]
        return torch.cat([tensor[ends[part] : ends[part + 1]] for part in self.taken])


# A module by its makers' name → diffusers' names, each with the rows that it is (None: all). A
# block's number is `#`; the name of one block's module comes first.
Names = Mapping[str, Mapping[str, Rows | None]]

PREFIX: Final = "model.diffusion_model."  # of some files, where all names have it
SWAPPED: Final = Rows(2, (1, 0))
LEAVES: Final = {"scale": "weight"}  # of norms
_NUMBER: Final = re.compile(r"(blocks|layers|norms|refiner)\.(\d+)")
# How trainers begin a module's name, by dots or joined by underscores.
DOTTED: Final = ("transformer.", "diffusion_model.", PREFIX, "")
JOINED: Final = ("lora_transformer_", "lora_unet_", "lycoris_")


def same(names: Mapping[str, str]) -> Names:
    """Return the table of modules that are one of diffusers' each."""
    return {name: {own: None} for name, own in names.items()}


def thirds(*names: str) -> dict[str, Rows | None]:
    """Return three modules that one of their makers' holds in equal parts."""
    return {name: Rows(3, (part,)) for part, name in enumerate(names)}


def in_blocks(theirs: str, own: str, names: Names) -> Names:
    """Return the table of modules in blocks by their makers' and own name, from that of a block."""
    return {
        f"{theirs}.#.{name}": {f"{own}.#.{module}": rows for module, rows in places.items()}
        for name, places in names.items()
    }


def count(tensors: Iterable[str], blocks: str) -> int:
    """Return how many blocks of that name there are, such as "layers" or "encoder.down"."""
    names = (name.removeprefix(PREFIX) for name in tensors)
    start = f"{blocks}."
    return len({name.removeprefix(start).split(".")[0] for name in names if name.startswith(start)})


def respelled(
    tensors: Mapping[str, Tensor], names: Names, unused: Iterable[str] = ()
) -> dict[str, Tensor]:
    """Return tensors by diffusers' names; fused projections are split into views.

    One that is not in the table keeps its name; unused: those that some files hold for nothing.
    """
    found = {}
    for name, tensor in tensors.items():
        name = name.removeprefix(PREFIX)
        if name in unused:
            continue
        module, _, leaf = name.rpartition(".")
        pattern, number = _numbered(module)
        places = names.get(module, names.get(pattern))
        if places is None:
            found[name] = tensor
            continue
        for own, rows in places.items():
            whose = f"{own.replace('#', number)}.{LEAVES.get(leaf, leaf)}"
            found[whose] = tensor if rows is None else rows.of(tensor)
    return found


def lora_names(modules: Iterable[str], names: Names) -> Iterator[tuple[str, str, Rows | None]]:
    """Yield each name by which LoRA files mean a module, its own name, and the rows that it is.

    modules: of the network, by diffusers' names; rows: of the entry's outputs (None: all).
    """
    makers: dict[str, list[tuple[str, Rows | None]]] = {}
    for name, places in names.items():
        for own, rows in places.items():
            makers.setdefault(own, []).append((name, rows))
    for module in modules:
        pattern, number = _numbered(module)
        theirs: Sequence[tuple[str, Rows | None]] = makers.get(module, makers.get(pattern, []))
        for spelling, rows in [(pattern, None), *theirs]:
            spelling = spelling.replace("#", number)
            for start in DOTTED:
                yield f"{start}{spelling}", module, rows
            for start in JOINED:
                yield f"{start}{spelling.replace('.', '_')}", module, rows


def _numbered(module: str) -> tuple[str, str]:
    """Return a module's name with `#` for its block's number, and that number."""
    found = _NUMBER.search(module)
    return (_NUMBER.sub(r"\1.#", module, count=1), found[2]) if found else (module, "")
