"""The normal numbers of CUDA's generator, computed on the processor: Philox 4×32-10.

Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3". Each number is a function of
the seed, of the draw and of its place, so that any part of a draw can be had alone.

PyTorch starts a thread for each number of a tensor, and a thread takes the first of the four
numbers that its counter gives. So many threads at once has a GPU only up to a size: its
multiprocessors × the threads of each (a GeForce 3060 43,008, a 4090 196,608, an H100 270,336).
This module takes it that there are always enough, as A1111's "NV" does. A tensor of more values
than that has other numbers on that GPU, since a thread there takes several: a large picture's, or a
batch's as a whole.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Words = npt.NDArray[np.uint64]  # of 32 bits each

ROUNDS: Final = 10
MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL: Final = (0x9E3779B9, 0xBB67AE85)  # added to the key after each round
LOW: Final = np.uint64(2**32 - 1)
HALF: Final = np.uint64(32)
UNIT: Final = np.float32(2**-32)
TURN: Final = np.float32(2**-32 * 2 * np.pi)
PART: Final = 2**14  # numbers at a time, which stay in a processor's cache


def cuda_randn(seed: int, draw: int, first: int, count: int) -> Tensor:
    """Return `count` numbers, fp32, from place `first` on, of a generator's draw (from 0).

    They are `torch.randn` of a CUDA generator that was seeded with `seed`, up to some 10⁻⁶.
    """
    found = np.empty(count, np.float32)
    for start in range(0, count, PART):
        places = np.arange(first + start, first + min(start + PART, count), dtype=np.uint64)
        found[start : start + PART] = _normal(*_words(seed, draw, places))
    return torch.from_numpy(found)


def _words(seed: int, draw: int, places: Words) -> tuple[Words, Words]:
    """Return the first two of the four words at each place."""
    high, low = places >> HALF, places & LOW
    a, b = (np.full_like(places, part) for part in (draw & 0xFFFFFFFF, draw >> 32))
    c, d = low, high
    keys = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(ROUNDS):
        first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b = (second >> HALF) ^ b ^ np.uint64(keys[0]), second & LOW
        c, d = (first >> HALF) ^ d ^ np.uint64(keys[1]), first & LOW
        keys = [(key + step) & 0xFFFFFFFF for key, step in zip(keys, WEYL, strict=True)]
    return a, b


def _normal(first: Words, second: Words) -> npt.NDArray[np.float32]:
    """Make normal numbers of words: Box & Muller (1958), the sine, CUDA's first."""
    uniform = first.astype(np.float32) * UNIT + UNIT / 2
    angle = second.astype(np.float32) * TURN + TURN / 2
    radius = np.sqrt(np.float32(-2) * np.log(uniform))
    return np.asarray(radius * np.sin(angle), np.float32)
