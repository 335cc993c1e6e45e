"""What a file's weights take in memory once they are loaded, known from its header.

Standard library only.
"""

from collections.abc import Collection
from math import prod

from engine.files.gguf import BLOCKS
from engine.files.safetensors import FP8, Tensor


def held_bytes(tensors: Collection[Tensor], size: int, room: int) -> int:
    """Return the bytes that a module of these tensors takes; size: of a value that it computes in.

    As `engine.loading.modules.fill` decides it. Matrices in fp8 and in GGUF's quantisations stay as
    they are, and are cast at each use. All else is cast once: where all would take more than
    `room`, matrices whose values are smaller than those of computation stay as they are, too.
    """
    whole = sum(_stored(each) if _is_quantised(each) else _cast(each, size) for each in tensors)
    return sum(
        _stored(each)
        if len(each.shape) == 2
        and (_is_quantised(each) or (whole > room and _stored(each) < _cast(each, size)))
        else _cast(each, size)
        for each in tensors
    )


def _is_quantised(tensor: Tensor) -> bool:
    return tensor.dtype in BLOCKS or tensor.dtype in FP8


def _stored(tensor: Tensor) -> int:
    return tensor.end - tensor.start


def _cast(tensor: Tensor, size: int) -> int:
    return prod(tensor.shape) * size
