"""A Brownian path in σ, as torchsde's `BrownianTree` draws it: ComfyUI's noise of SDE samplers.

The path is halved again and again: where it is in the middle of a stretch depends on both ends and
on a number drawn for that stretch alone. So it is the same wherever it is looked at. Lévy's
construction; Li et al. (2020), "Scalable gradients for stochastic differential equations",
arXiv:2001.01328, section 4.

Own code instead of torchsde 0.2.6 of 2023: that brings SciPy and trampoline along for the solvers
beside it, draws from no generator but torch's on one device, and finds each end of a step anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

DIGITS: Final = 6  # after the point: places on the path that differ by less are one
POOL: Final = 24  # words of entropy that seeds are mixed from, torchsde's default


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    """A stretch of the path, how far the path moves on it, and its place in the tree."""

    low: float
    high: float
    moved: Tensor
    number: int = 0  # among those of its depth
    depth: int = 0


class BrownianPath:
    """A path from σ `low` to `high` that is walked downwards, from `high` on.

    randn: returns the normal numbers of a seed, in the shape of latents.
    """

    def __init__(self, seed: int, low: float, high: float, randn: Callable[[int], Tensor]) -> None:
        self._at = round(high, DIGITS)
        self._seed, self._randn = seed, randn
        first = int(np.random.SeedSequence(seed, pool_size=POOL).generate_state(1)[0])
        moved = randn(first) * math.sqrt(high - low)
        self._shape = moved.shape
        # What is still to be walked, the next stretch last.
        self._ahead = [_Stretch(round(low, DIGITS), self._at, moved)]

    def is_at_or_above(self, sigma: float) -> bool:
        """Return whether a σ is still to be reached."""
        return self._at >= round(sigma, DIGITS)

    def walk(self, sigma: float) -> Tensor:
        """Walk down to a σ; return how far the path has moved from there to where it was."""
        goal, moved = round(sigma, DIGITS), torch.zeros(self._shape)
        while self._ahead and self._ahead[-1].high > goal:
            stretch = self._ahead.pop()
            if stretch.low >= goal:
                moved = moved + stretch.moved
            else:
                self._ahead += self._halves(stretch)
        self._at = min(self._at, goal)
        return moved

    def _halves(self, stretch: _Stretch) -> tuple[_Stretch, _Stretch]:
        """Split a stretch; the number of its middle is drawn by a seed of its own."""
        low, high, depth = stretch.low, stretch.high, stretch.depth
        middle = round((high + low) / 2, DIGITS)
        key = stretch.number, depth
        sequence = np.random.SeedSequence(self._seed, spawn_key=key, pool_size=POOL)
        noise = self._randn(int(sequence.generate_state(1)[0]))
        before, after, whole = middle - low, high - middle, high - low
        lower = stretch.moved * (before / whole) + noise * math.sqrt(before * after / whole)
        number, depth = 2 * stretch.number, depth + 1
        return (
            _Stretch(low, middle, lower, number, depth),
            _Stretch(middle, high, stretch.moved - lower, number + 1, depth),
        )
