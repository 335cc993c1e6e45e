"""Whose turn it is: fair shares on two levels, and people who are passed over.

Between the priorities, moderators first; within one, between people (`engine.queue.fairness`).
Whoever is passed over in one choice is restored at its end. Whose next job may run only on engines
that are busy is parked, in the line of all who wait for the same engines: they keep their turn.
Once one of these engines may have room, the first of a line is unparked and tries again. The next
follows as soon as that one's job has started, or no longer waits in this line.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from heapq import heapify, heappop, heappush
from itertools import islice, product
from typing import NamedTuple

from engine.queue.fairness import Share, in_order
from engine.queue.tasks import Priority


class Needs(NamedTuple):
    """What restricts the engines that may run a job: its kind of device, files, and models, which
    may not fit on some."""

    kind: str
    files: frozenset[str]
    models: tuple[str, ...]


Where = Needs | int  # or a job that some engines failed
# A person who was passed over: their start tag and job, and their priority's if nobody is left.
Passed = tuple[Priority, str, tuple[float, int], tuple[float, int] | None]


class Turns:
    """Orders people whose next job may start."""

    def __init__(self) -> None:
        self._priorities: Share[Priority] = Share()
        self._shares: dict[Priority, Share[str]] = {priority: Share() for priority in Priority}
        # Start tag and job of each who is parked, and what the job waits for.
        self._parked: dict[tuple[Priority, str], tuple[float, int, Where]] = {}
        # Heaps of them, with entries of some who are not parked any more.
        self._lines: dict[Priority, dict[Where, list[tuple[float, int, str]]]]
        self._lines = {priority: {} for priority in Priority}
        # Job of each who tries again, and the line whose others follow.
        self._unparked: dict[tuple[Priority, str], tuple[int, Where]] = {}

    def copy(self, names: Collection[str]) -> Turns:
        """Return an independent copy, of these people alone."""
        twin = Turns()
        twin._priorities = self._priorities.copy()
        twin._shares = {priority: share.copy(names) for priority, share in self._shares.items()}
        for priority, share in twin._shares.items():
            if not share:
                twin._priorities.deactivate(priority)
        for priority, name in product(Priority, names):
            if parked := self._parked.get((priority, name)):
                start, job, where = twin._parked[priority, name] = parked
                twin._lines[priority].setdefault(where, []).append((start, job, name))
            if unparked := self._unparked.get((priority, name)):
                twin._unparked[priority, name] = unparked
        for lines in twin._lines.values():
            for line in lines.values():
                heapify(line)
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
        for priority, lines in self._lines.items():
            parked = (
                name
                for start, job, name in in_order(lines.values())
                if self._parked.get((priority, name), ())[:2] == (start, job)
            )
            names.update(islice(parked, most))
        return names

    def start_of(self, priority: Priority, name: str) -> float:
        """Return the start tag that a person's next job has, or would have."""
        return self._shares[priority].start_of(name)

    def time_of(self, priority: Priority) -> float:
        """Return the virtual time of a priority."""
        return self._shares[priority].time

    def start_since(self, priority: Priority, name: str, since: float) -> float:
        """Return the start tag of a job that a person has had since a virtual time."""
        return self._shares[priority].start_since(name, since)

    def update(self, priority: Priority, name: str, job: int | None) -> None:
        """Record a person's next job that may start, or that there is none."""
        share, key = self._shares[priority], (priority, name)
        if parked := self._parked.get(key):
            if parked[1] == job:
                return
            del self._parked[key]
        if (unparked := self._unparked.get(key)) and unparked[0] != job:
            self._follow(key)
        if job is None:
            share.deactivate(name)
        else:
            share.activate(name, job)
        self._update(priority)

    def charge(self, priority: Priority, name: str, price: float) -> None:
        """Serve a person, who has no turn until `update`d."""
        self._shares[priority].charge(name, price)
        self._priorities.charge(priority, price)
        self._follow((priority, name))

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

    def park(self, priority: Priority, name: str, job: int, where: Where) -> None:
        """Pass a person over until an engine has room where their next job may run."""
        start, _ = self._shares[priority].pass_over(name)
        self._parked[priority, name] = start, job, where
        heappush(self._lines[priority].setdefault(where, []), (start, job, name))
        if (unparked := self._unparked.get((priority, name))) and unparked[1] == where:
            del self._unparked[priority, name]  # there is no room for the others either
        else:
            self._follow((priority, name))
        self._update(priority)

    def unpark(self, fits: Callable[[Where], bool] = lambda where: True) -> None:
        """Let the first of each line try again that an engine may serve now."""
        for priority, lines in self._lines.items():
            for where in list(lines):
                if fits(where):
                    self._unpark_first(priority, where)

    def _unpark_first(self, priority: Priority, where: Where) -> None:
        line = self._lines[priority].get(where, [])
        while line:
            start, job, name = heappop(line)
            if self._parked.get((priority, name)) == (start, job, where):
                del self._parked[priority, name]
                self._unparked[priority, name] = job, where
                self._shares[priority].restore(name, (start, job))
                self._update(priority)
                break
        if not line:
            self._lines[priority].pop(where, None)

    def _follow(self, key: tuple[Priority, str]) -> None:
        """Let the next of a person's line try again, where they are its first."""
        if unparked := self._unparked.pop(key, None):
            self._unpark_first(key[0], unparked[1])

    def _update(self, priority: Priority) -> None:
        """Activate a priority while a person in it is active."""
        if self._shares[priority]:
            self._priorities.activate(priority, priority)
        else:
            self._priorities.deactivate(priority)
