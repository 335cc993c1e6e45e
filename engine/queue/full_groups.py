"""People whose jobs wait for a full group: one of which as many jobs run as may.

There is one line for each group, limit and priority, by start tags. When a job of the group ends,
the first of each line is woken, and has a turn as others have. The next is woken, if there is still
room, once that one's job has started, is passed over or parked, or no longer needs the group. So an
end costs the same however many wait.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final

from engine.queue.fairness import in_order
from engine.queue.tasks import Cap, Caps, Priority
from engine.queue.turns import Turns

SLACK: Final = 64  # outdated entries of a line, beyond as many as there are people who wait

_Who = tuple[Priority, str]


@dataclass(frozen=True, slots=True)
class _Wait:
    """Since which virtual time a person waits; the start tag and job by which they are in the line,
    None for one who was woken."""

    since: float
    entry: tuple[float, int] | None


class FullGroups:
    """The lines of those who wait for full groups."""

    def __init__(self) -> None:
        self._waits: dict[_Who, dict[Cap, _Wait]] = {}
        # Heaps of start tags, jobs and people, with entries of some who do not wait any more.
        self._lines: dict[str, dict[tuple[Priority, Cap], list[tuple[float, int, str]]]] = {}
        self._leading: dict[_Who, set[Cap]] = {}  # who was woken, and is followed by the next

    def copy(self, names: Collection[str]) -> FullGroups:
        """Return an independent copy, of these people alone."""
        twin = FullGroups()
        for priority in Priority:
            for who in ((priority, name) for name in names):
                if waits := self._waits.get(who):
                    twin._waits[who] = dict(waits)
                for cap, wait in (waits or {}).items():
                    if wait.entry:
                        twin._line(priority, cap).append((*wait.entry, who[1]))
                if leading := self._leading.get(who):
                    twin._leading[who] = set(leading)
        for lines in twin._lines.values():
            for line in lines.values():
                heapify(line)
        return twin

    def firsts(self, most: int) -> set[str]:
        """Return those who were woken, and so many of each line, the first of them first."""
        names = {name for _, name in self._leading}
        for lines in self._lines.values():
            for (priority, cap), line in lines.items():
                valid = (each for each in in_order([line]) if self._is_valid(priority, cap, each))
                names.update(name for _, _, name in islice(valid, most))
        return names

    def lines_of(self, group: str) -> list[tuple[Priority, Cap]]:
        """Return the priority and limit of each line of a group."""
        return list(self._lines.get(group, ()))

    def note(
        self, turns: Turns, priority: Priority, name: str, full: Mapping[Cap, int], wanted: Caps
    ) -> list[Cap]:
        """Record for which full groups a person waits, each with the job, in place of those before.

        wanted: the groups of the job that may start. Returns the groups of which the next person is
        to be woken, since this one does not need them any more.
        """
        who = priority, name
        before, waits = self._waits.pop(who, {}), dict[Cap, _Wait]()
        for cap, job in full.items():
            wait = before.get(cap)
            since = wait.since if wait else turns.time_of(priority)
            waits[cap] = _Wait(since, (turns.start_since(priority, name, since), job))
            if waits[cap] != wait:
                self._push(priority, cap, (turns.start_since(priority, name, since), job, name))
        for cap in before.keys() - full.keys():
            if cap in wanted:
                waits[cap] = _Wait(before[cap].since, None)
        if waits:
            self._waits[who] = waits
        leading = self._leading.pop(who, set())
        if kept := leading & waits.keys() - full.keys():
            self._leading[who] = kept
        return sorted(leading - waits.keys())

    def leave(self, priority: Priority, name: str) -> list[Cap]:
        """Return the groups of which the next is to be woken, since a person's job cannot start."""
        return sorted(self._leading.pop((priority, name), ()))

    def wake(self, priority: Priority, cap: Cap) -> list[str]:
        """Wake the first of a line; return them, or nobody."""
        line = self._line(priority, cap)
        while line:
            entry = heappop(line)
            if self._is_valid(priority, cap, entry):
                who = priority, entry[-1]
                self._waits[who][cap] = _Wait(self._waits[who][cap].since, None)
                self._leading.setdefault(who, set()).add(cap)
                return [entry[-1]]
        del self._lines[cap[0]][priority, cap]
        if not self._lines[cap[0]]:
            del self._lines[cap[0]]
        return []

    def _line(self, priority: Priority, cap: Cap) -> list[tuple[float, int, str]]:
        return self._lines.setdefault(cap[0], {}).setdefault((priority, cap), [])

    def _push(self, priority: Priority, cap: Cap, entry: tuple[float, int, str]) -> None:
        line = self._line(priority, cap)
        heappush(line, entry)
        if len(line) > 2 * len(self._waits) + SLACK:
            line[:] = {each for each in line if self._is_valid(priority, cap, each)} | {entry}
            heapify(line)

    def _is_valid(self, priority: Priority, cap: Cap, entry: tuple[float, int, str]) -> bool:
        start, job, name = entry
        wait = self._waits.get((priority, name), {}).get(cap)
        return wait is not None and wait.entry == (start, job)
