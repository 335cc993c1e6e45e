"""What a file's weights take in memory once they are loaded, known from its header.

Standard library only.
"""

from collections.abc import Collection
from math import prod

from engine.files.gguf import BLOCKS
from engine.files.safetensors import FP8, Tensor


def held_bytes(tensors: Collection[Tensor], size: int, room: int, *, holds_fp8: bool = True) -> int:
    """Return the bytes that a module of these tensors takes; size: of a value that it computes in.

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

    return sum(
        _stored(each) if len(each.shape) == 2 and stays(each) else _cast(each, size)
        for each in tensors
    )


def _is_quantised(tensor: Tensor) -> bool:
    return tensor.dtype in BLOCKS or tensor.dtype in FP8


def _stored(tensor: Tensor) -> int:
    return tensor.end - tensor.start


def _cast(tensor: Tensor, size: int) -> int:
    return prod(tensor.shape) * size
