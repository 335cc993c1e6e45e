"""Whose turn it is: fair shares on two levels, and people who are passed over.

Between the priorities, moderators first; within one, between people (`engine.queue.fairness`).
Whoever is passed over in one choice is restored at its end. Whose next job may run only on engines
that are busy is parked: they keep their turn, and are next once one of these engines has room.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple

from engine.queue.fairness import Share
from engine.queue.tasks import Priority


class Needs(NamedTuple):
    """What restricts the engines that may run a job: a kind of device, files, and models that do
    not fit on some."""

    kind: str
    files: frozenset[str]
    too_large: tuple[str, ...] = ()


Where = Needs | int  # or a job that some engines failed
# A person who was passed over: their start tag and job, and their priority's if nobody is left.
Passed = tuple[Priority, str, tuple[float, int], tuple[float, int] | None]


class Turns:
    """Orders people whose next job may start."""

    def __init__(self) -> None:
        self._priorities: Share[Priority] = Share()
        self._shares: dict[Priority, Share[str]] = {priority: Share() for priority in Priority}
        self._parked: dict[tuple[Priority, str], tuple[float, int, Where]] = {}
        self._lines: dict[Where, list[tuple[float, int, Priority, str]]] = {}  # of them, by tag

    def copy(self, names: Collection[str]) -> Turns:
        """Return an independent copy, of these people alone."""
        twin = Turns()
        twin._priorities = self._priorities.copy()
        twin._shares = {priority: share.copy(names) for priority, share in self._shares.items()}
        for priority, share in twin._shares.items():
            if not share:
                twin._priorities.deactivate(priority)
        twin._parked = {key: parked for key, parked in self._parked.items() if key[1] in names}
        twin._lines = {where: list(line) for where, line in self._lines.items()}
        return twin

    def next(self) -> tuple[Priority, str] | None:
        """Return whose turn it is, or None if nobody's."""
        if (priority := self._priorities.first()) is None:
            return None
        name = self._shares[priority].first()
        assert name is not None, "a priority is active while a person in it is"
        return priority, name

    def firsts(self, most: int) -> set[str]:
        """Return the people whose turns come first, of each priority and of those parked."""
        names = {name for share in self._shares.values() for name in share.firsts(most)}
        return names.union(name for _, name in islice(self._parked, most))

    def start_of(self, priority: Priority, name: str) -> float:
        """Return the start tag that a person's next job has, or would have."""
        return self._shares[priority].start_of(name)

    def update(self, priority: Priority, name: str, job: int | None) -> None:
        """Record a person's next job that may start, or that there is none."""
        share, key = self._shares[priority], (priority, name)
        if parked := self._parked.get(key):
            if parked[1] == job:
                return
            del self._parked[key]
        if job is None:
            share.deactivate(name)
        else:
            share.activate(name, job)
        self._update(priority)

    def charge(self, priority: Priority, name: str, price: float) -> None:
        """Serve a person, who has no turn until `update`d."""
        self._shares[priority].charge(name, price)
        self._priorities.charge(priority, price)

    def correct(self, priority: Priority, name: str, charged: float, cost: float) -> None:
        """Replace what a person was charged by the real cost of a job that ended."""
        self._shares[priority].correct(name, cost - charged)
        self._shares[priority].advance(cost)
        self._priorities.correct(priority, cost - charged)

    def pass_over(self, priority: Priority, name: str) -> Passed:
        """Pass a person over in this choice; return what `restore` takes."""
        entry, share = self._shares[priority].pass_over(name), self._shares[priority]
        return priority, name, entry, None if share else self._priorities.pass_over(priority)

    def restore(self, passed: Passed) -> None:
        """Restore a person's turn."""
        priority, name, entry, whole = passed
        self._shares[priority].restore(name, entry)
        if whole:
            self._priorities.restore(priority, whole)
        self._update(priority)  # the last of the others may have been parked meanwhile

    def park(self, priority: Priority, name: str, where: Where) -> None:
        """Pass a person over until an engine has room where their next job may run."""
        start, job = self._shares[priority].pass_over(name)
        self._parked[priority, name] = start, job, where
        heappush(self._lines.setdefault(where, []), (start, job, priority, name))
        self._update(priority)

    def unpark_first(self, where: Where | None) -> None:
        """Give the first of those who were parked for some engines their turn again."""
        while where is not None and (line := self._lines.get(where)):
            start, job, priority, name = heappop(line)
            if not line:
                del self._lines[where]
            if self._parked.get((priority, name)) == (start, job, where):
                del self._parked[priority, name]
                self._shares[priority].restore(name, (start, job))
                self._update(priority)
                return

    def unpark(self, fits: Callable[[Where], bool] = lambda where: True) -> None:
        """Give the first of those turns again whom an engine may serve now, of each line.

        Once their job starts, whoever is behind them follows (`unpark_first`).
        """
        for where in list(self._lines):
            if fits(where):
                self.unpark_first(where)

    def _update(self, priority: Priority) -> None:
        """Activate a priority while a person in it is active."""
        if self._shares[priority]:
            self._priorities.activate(priority, priority)
        else:
            self._priorities.deactivate(priority)
