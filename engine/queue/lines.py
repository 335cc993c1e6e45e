"""Engines in the order in which they will be done."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from typing import Final

from engine.queue.engines import Engine, Entry

SLACK: Final = 64  # outdated entries of a heap, beyond as many as there are valid ones
LOOK: Final = 64  # engines that are looked at in one search


class Line:
    """Engines that are alike, by the time when they will be done: those without jobs first, and
    of these the emptiest.

    They are of one kind, take jobs, have a free slot or none, and hold a model, unless it is None.
    """

    def __init__(self, kind: str, model: str | None, *, free: bool) -> None:
        self._kind, self._model, self._free = kind, model, free
        self._heap: list[Entry] = []

    def copy(self) -> Line:
        """Return an independent copy."""
        twin = copy.copy(self)
        twin._heap = list(self._heap)
        return twin

    def push(self, engine: Engine, engines: Mapping[str, Engine]) -> None:
        """Add an engine, which is among all of them."""
        heappush(self._heap, engine.entry)
        if len(self._heap) > 2 * len(engines) + SLACK:
            self._heap = [entry for entry in set(self._heap) if self._find(entry, engines)]
            heapify(self._heap)

    def firsts(
        self, engines: Mapping[str, Engine], may: Callable[[Engine], bool], most: int
    ) -> list[Engine]:
        """Return the first few that are allowed, of the first `LOOK`."""
        kept: list[Entry] = []
        found: list[Engine] = []
        heap = self._heap
        while heap and len(found) < most and len(kept) < LOOK:
            entry = heappop(heap)
            engine = self._find(entry, engines)
            if engine and not (kept and kept[-1] == entry):
                kept.append(entry)
                if may(engine):
                    found.append(engine)
        for entry in kept:
            heappush(heap, entry)
        return found

    def _find(self, entry: Entry, engines: Mapping[str, Engine]) -> Engine | None:
        """Return the engine of an entry, or None if that is outdated."""
        engine = engines.get(entry[2])
        return engine if engine and engine.entry == entry and self._is_mine(engine) else None

    def _is_mine(self, engine: Engine) -> bool:
        facts = engine.facts
        if not facts.alive or engine.alone or engine.free is not self._free:
            return False
        return facts.kind == self._kind and (self._model is None or self._model in engine.held)
