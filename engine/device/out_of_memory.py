"""Ways around a lack of memory, tried from the cheapest to the dearest before a picture fails."""

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
    """Name the ways, the cheapest first."""

    EMPTY_CACHE = "empty cache"
    BATCH_OF_ONE = "batch of one"
    TILED_ENCODE = "tiled encode"
    TILED_DECODE = "tiled decode"
    OFFLOAD = "offload"


FIRST: Final = 60.0  # seconds until what had no room is tried again
LONGEST: Final = 3600.0  # seconds, after it had none several times


class Shortages:
    """Remember what memory was too short for: for a minute, and each time again twice as long."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Hashable, tuple[float, float]] = {}  # what → until when, and how long

    def __contains__(self, what: Hashable) -> bool:
        """Return whether it is too early to try again."""
        return what in self._known and self._clock() < self._known[what][0]

    def add(self, what: Hashable) -> None:
        """Note a lack of memory; more notes before the next try change nothing."""
        if what in self:
            return
        now = self._clock()
        # What went well for an hour after its time is no more likely to fail than anything else.
        self._known = {key: its for key, its in self._known.items() if now < its[0] + LONGEST}
        _, before = self._known.get(what, (now, FIRST / 2))
        wait = min(LONGEST, 2 * before)
        self._known[what] = now + wait, wait


Way = tuple[Rung | None, Callable[[], T]]


class Ladder:
    """Try one way after another, and count the rungs.

    `make_room` frees what is not in use when memory runs out for the first time; `short` remembers
    for all models what there was no room for.
    """

    def __init__(
        self,
        make_room: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.make_room = make_room
        self.short = Shortages(clock)
        self.counts: Counter[Rung] = Counter()

    def climb(self, stage: Stage, ways: Sequence[Way[T]]) -> T:
        """Return what the first way gives that does not run out of memory.

        Raises `OutOfMemory` when all do, and at once whatever else a way raises.
        """
        for rung, way in ways:
            if rung:
                self._take(rung, stage)
            if rung is Rung.EMPTY_CACHE:
                self.make_room()
            try:
                return way()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Only here, outside the handler, are the failed way's tensors free to go.
            gc.collect()
            empty_cache()
        raise OutOfMemory(NO_MEMORY)

    def _take(self, rung: Rung, stage: Stage) -> None:
        self.counts[rung] += 1
        log.warning("out of memory (%s): %s", stage, rung)
