"""Token buckets: how often somebody may do something, told the time and never looking it up.

A bucket holds a minute's worth and fills evenly, so that a handful at once is fine and a flood is
not (J. Turner: New directions in communications, IEEE Communications Magazine 24(10), 1986).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

MINUTE: Final = 60.0
KEPT: Final = 10_000  # buckets; of more, those that were used longest ago are forgotten (full)


@dataclass(slots=True)
class Rates:
    """Keep a bucket for each key that was used in the last minute or so."""

    _buckets: OrderedDict[Hashable, tuple[float, float]] = field(default_factory=OrderedDict)

    def wait(self, key: Hashable, per_minute: float, now: float) -> float:
        """Return the seconds until there is one to take: 0 where there is one now."""
        return max(0.0, 1.0 - self._level(key, per_minute, now)) * MINUTE / per_minute

    def take(self, key: Hashable, per_minute: float, now: float) -> None:
        """Take one, whether there is one or not."""
        self._buckets[key] = (self._level(key, per_minute, now) - 1.0, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)

    def _level(self, key: Hashable, per_minute: float, now: float) -> float:
        level, at = self._buckets.get(key, (per_minute, now))
        return min(per_minute, level + max(0.0, now - at) * per_minute / MINUTE)
