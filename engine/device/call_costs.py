"""How many rows a call of the network should have, from measured costs of calls.

Pure numbers, without torch: `engine.device.probe` measures them, `engine.pipeline.batching` decides
by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CHEAP: Final = 1.25  # rows that cost no more than this much of a call are nearly free
GAIN: Final = 1.8  # twice the rows at less than this much of the cost are worth waiting for
LARGEST: Final = 16  # rows


@dataclass(frozen=True, slots=True)
class Buckets:
    """What a call costs by its number of rows: 1, 2, 4 …, as far as was measured, in seconds.

    The figures decide the last bits of pictures (through `canonical`), and so have to be the same
    for as long as seeds are to hold.
    """

    seconds: Mapping[int, float]
    _canonical: dict[int, int] = field(default_factory=dict, init=False, compare=False, repr=False)

    def cost(self, rows: int) -> float:
        """Return the seconds of a call: between two figures, and beyond the last, by the row."""
        known = sorted(self.seconds)
        below = max((size for size in known if size <= rows), default=known[0])
        above = min((size for size in known if size > rows), default=0)
        if not above:
            return self.seconds[below] * rows / below
        share = (rows - below) / (above - below)
        return self.seconds[below] + (self.seconds[above] - self.seconds[below]) * share

    def canonical(self, rows: int) -> int:
        """Return the rows of every call, in exact mode, for pictures that bring `rows` each.

        The most that is nearly free: where batching gains much, padding is cheap; where it gains
        nothing, it is one picture's rows.
        """
        if rows not in self._canonical:
            within = CHEAP * self.cost(rows)
            cheap = [size for size, cost in self.seconds.items() if cost <= within]
            self._canonical[rows] = max([rows, *cheap])
        return self._canonical[rows]

    def single(self, rows: int) -> Buckets:
        """Return the costs for calls that may have only one picture, of so many rows."""
        return Buckets({1: self.cost(rows) / rows})

    def widest(self) -> int:
        """Return the most rows that still gain something over calls of half as many."""
        best = min(self.seconds)
        while best * 2 in self.seconds and self.seconds[best * 2] < GAIN * self.seconds[best]:
            best *= 2
        return best


# What is taken before anything was measured: every row costs the same.
UNMEASURED: Final = Buckets({1: 1.0})
