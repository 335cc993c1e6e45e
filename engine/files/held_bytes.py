"""What a file's weights take in memory once they are loaded, known from its header.

Standard library only.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from math import prod
from typing import Final

from engine.files.gguf import BLOCKS
from engine.files.safetensors import FP8, Tensor

# The members of a list of blocks are numbered; lists within a block do not count.
BLOCK: Final = re.compile(r"(.+?\.\d+)\.")
SMALL: Final = 16  # blocks of less than the largest one's sixteenth are not worth moving


def held_bytes(tensors: Collection[Tensor], size: int, room: int, *, holds_fp8: bool = True) -> int:
    """Return the bytes that a module of these tensors takes; see `each_held`."""
    return sum(each_held(tensors, size, room, holds_fp8=holds_fp8))


def each_held(
    tensors: Collection[Tensor], size: int, room: int, *, holds_fp8: bool = True
) -> list[int]:
    """Return the bytes that each tensor of a module takes; size: of a value that it computes in.

    As `engine.loading.modules.fill` decides it. Matrices in fp8 and in GGUF's quantisations stay as
    they are, and are cast at each use. All else is cast once: where all would take more than
    `room`, matrices whose values are smaller than those of computation stay as they are, too.
    holds_fp8: whether fp8 may stay; else it is cast.
    """
    whole = sum(_stored(each) if _is_quantised(each) else _cast(each, size) for each in tensors)

    def stays(tensor: Tensor) -> bool:
        if _is_quantised(tensor):
            return holds_fp8 or tensor.dtype in BLOCKS
        return whole > room and _stored(tensor) < _cast(tensor, size)

    return [
        _stored(each) if len(each.shape) == 2 and stays(each) else _cast(each, size)
        for each in tensors
    ]


def blocks(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of a module's blocks by their names, from those of its tensors by theirs.

    Blocks are the members of the lists in it that are large enough to be moved one by one. What has
    a number but no first one beside it is none: makers and diffusers name such layers differently.
    """
    found: dict[str, int] = defaultdict(int)
    for name, size in sizes.items():
        if block := BLOCK.match(name):
            found[block[1]] += size
    largest = max(found.values(), default=0)
    return {
        name: size
        for name, size in found.items()
        if size * SMALL >= largest and f"{name.rpartition('.')[0]}.0" in found
    }


def grouped_bytes(whole: int, of_blocks: Iterable[int]) -> int:
    """Return the bytes that a module takes with only two of its blocks on the device.

    whole: its bytes; of_blocks: those of its blocks, of which the two largest count.
    """
    return whole - sum(sorted(of_blocks, reverse=True)[2:])


def _is_quantised(tensor: Tensor) -> bool:
    return tensor.dtype in BLOCKS or tensor.dtype in FP8


def _stored(tensor: Tensor) -> int:
    return tensor.end - tensor.start


def _cast(tensor: Tensor, size: int) -> int:
    return prod(tensor.shape) * size
