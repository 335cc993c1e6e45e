"""The memory ladder: fallbacks when memory runs out, tried from the cheapest to the most expensive.

A picture fails with `OutOfMemory` only after the last of them.
"""

import gc
import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from enum import StrEnum
from typing import Final, TypeVar

from engine.device.backends import empty_cache, is_out_of_memory
from engine.errors import OutOfMemory
from engine.events import Stage
from engine.sentences import Sentence

log = logging.getLogger(__name__)

NO_MEMORY: Final = Sentence("out_of_memory")

T = TypeVar("T")


class Rung(StrEnum):
    """The fallbacks, the cheapest first."""

    EMPTY_CACHE = "empty cache"
    BATCH_OF_ONE = "batch of one"
    TILED_ENCODE = "tiled encode"
    TILED_DECODE = "tiled decode"
    OFFLOAD = "offload"


FIRST: Final = 60.0  # seconds until what did not fit is tried again
LONGEST: Final = 3600.0  # seconds, after several times


class Shortages:
    """What did not fit in memory, or is broken: recorded for a minute, and twice as long each
    further time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Hashable, tuple[float, float]] = {}  # what → until, seconds recorded

    def __contains__(self, what: Hashable) -> bool:
        """Whether it is too early to try again."""
        return what in self._known and self._clock() < self._known[what][0]

    def add(self, what: Hashable) -> None:
        """Record a shortage; further ones before the next try change nothing."""
        if what in self:
            return
        now = self._clock()
        # What has fitted for an hour since is forgotten: its next shortage is a first one.
        self._known = {key: its for key, its in self._known.items() if now < its[0] + LONGEST}
        _, before = self._known.get(what, (now, FIRST / 2))
        wait = min(LONGEST, 2 * before)
        self._known[what] = now + wait, wait


Way = tuple[Rung | None, Callable[[], T]]


class Ladder:
    """Tries one way after another, and counts the fallbacks.

    make_room: frees what is not in use, with the first fallback; short: the shortages of all
    models.
    """

    def __init__(
        self,
        make_room: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.make_room = make_room
        self.short = Shortages(clock)
        self.counts: Counter[Rung] = Counter()

    def run(self, stage: Stage, way: Callable[[], T], *more: Way[T]) -> T:
        """Call `way`, again with an empty cache if memory runs out, then `more` ways in turn.

        Raises as `climb` does.
        """
        return self.climb(stage, [(None, way), (Rung.EMPTY_CACHE, way), *more])

    def climb(self, stage: Stage, ways: Sequence[Way[T]]) -> T:
        """Return the result of the first way that does not run out of memory.

        Raises `OutOfMemory` if all do; any other error of a way at once.
        """
        for rung, way in ways:
            self.step(stage, rung)
            try:
                return way()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Only outside the handler can the failed way's tensors be freed.
            gc.collect()
            empty_cache()
        raise OutOfMemory(NO_MEMORY)

    def step(self, stage: Stage, rung: Rung | None) -> None:
        """Count a fallback that is tried next, and make room where that is what it does."""
        if rung:
            self.counts[rung] += 1
            log.warning("out of memory (%s): %s", stage, rung)
        if rung is Rung.EMPTY_CACHE:
            self.make_room()
