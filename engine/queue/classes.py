"""Which engines can run a job, by their kind of device and the files that they have.

Engines that take jobs, of one kind with the same files, are a class. A number is never used again.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Final, TypeVar

from engine.queue.engines import Engine, Facts, Files

K = TypeVar("K")

KEPT: Final = 4096  # sets of files whose classes are remembered

Numbers = frozenset[int]


class Classes:
    """The classes of a queue's engines."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()  # engines that take jobs, by kind
        self._numbers: dict[tuple[str, Files], int] = {}
        self._sizes: Counter[int] = Counter()
        self._last = 0
        self._away: set[str] = set()  # engines that take no jobs
        self._starting: set[str] = set()
        self._able: dict[tuple[str, frozenset[str]], Numbers | None] = {}
        self._lacking: dict[frozenset[str], frozenset[str]] = {}

    def copy(self) -> Classes:
        """Return an independent copy."""
        twin = copy.copy(self)
        twin.kinds, twin._numbers = Counter(self.kinds), dict(self._numbers)
        twin._sizes, twin._away = Counter(self._sizes), set(self._away)
        twin._starting, twin._able = set(self._starting), dict(self._able)
        twin._lacking = dict(self._lacking)
        return twin

    def add(self, engine: Engine) -> None:
        """Add an engine by what it tells."""
        facts, name = engine.facts, engine.name
        if facts.alive:
            key = facts.kind, facts.has
            if key not in self._numbers:
                self._last += 1
                self._numbers[key] = self._last
            engine.number = self._numbers[key]
            self._sizes[engine.number] += 1
            self.kinds[facts.kind] += 1
        elif not engine.removed:
            self._away.add(name)
            if facts.starting:
                self._starting.add(name)
        self._forget()

    def remove(self, engine: Engine, facts: Facts) -> None:
        """Remove an engine, which has told these facts."""
        if facts.alive:
            _lower(self._sizes, engine.number)
            _lower(self.kinds, facts.kind)
            if engine.number not in self._sizes:
                del self._numbers[facts.kind, facts.has]
        self._away.discard(engine.name)
        self._starting.discard(engine.name)
        self._forget()

    def may_be_starting(self, kind: str) -> bool:
        """Whether no engine of a kind takes jobs, though others do, and one that starts may be."""
        return bool(kind and self.kinds and self._starting) and not self.kinds[kind]

    def able(self, kind: str, needs: frozenset[str]) -> Numbers | None:
        """Return the classes that may run a job which wants a kind, if any; None for all.

        Those of another kind are left out while one of this kind takes jobs or may be starting.
        Where none has what the job needs, none may run it as long as an engine is away that may
        have it; then any may, so that the job ends with what is missing.
        """
        if not (kind or needs):
            return None
        if (kind, needs) not in self._able:
            if len(self._able) >= KEPT:
                self._able.clear()
            self._able[kind, needs] = self._find(kind, needs)
        return self._able[kind, needs]

    def lacking(self, needs: frozenset[str]) -> frozenset[str]:
        """Return what of some files the engine lacks that takes jobs and lacks least."""
        if needs not in self._lacking:
            if len(self._lacking) >= KEPT:
                self._lacking.clear()
            nothing = frozenset[str]()
            lacks = (nothing if has is None else needs - has for _, has in self._numbers)
            self._lacking[needs] = min(lacks, key=len, default=nothing)
        return self._lacking[needs]

    def _find(self, kind: str, needs: frozenset[str]) -> Numbers | None:
        if self.may_be_starting(kind):
            return frozenset()
        able = [key for key in self._numbers if key[1] is None or needs <= key[1]]
        if not able and not self._away:
            return None
        able = [key for key in able if kind and key[0] == kind] or able
        if able and len(able) == len(self._numbers):
            return None
        return frozenset(self._numbers[key] for key in able)

    def _forget(self) -> None:
        self._able.clear()
        self._lacking.clear()


def _lower(count: Counter[K], key: K) -> None:
    count[key] -= 1
    if not count[key]:
        del count[key]
