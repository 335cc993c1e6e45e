"""The order of the queue: plain code, to which times are told. It never waits and never looks up.

Two shares, one in the other (`engine.queue.fairness`): moderators and people take turns, moderators
first, so that a moderator goes ahead of everybody and all moderators together get at most half
of an engine that others want, too; within each, every person gets the same. What is shared are
seconds of the engine: estimated before a job runs, corrected by what it took.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from heapq import heappop, heappush
from typing import Final

from engine.errors import QueueFull, TooManyWaiting
from engine.queue.estimates import Meter, Speeds, Work
from engine.queue.fairness import Share

DEAREST: Final = 4.0  # a job is charged this many times its estimate at most: hiccups happen

Caps = tuple[tuple[str, int], ...]  # groups that a job counts in, how many of each may run


class Priority(IntEnum):
    """Say whose jobs go first."""

    MODERATOR = 0
    PERSON = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Hold what the queue needs to know of a job; of two, the lower number was asked for first.

    caps: of a person in a place, and of a place; alone: nothing may run beside it.
    """

    job: int
    person: str
    work: Work
    priority: Priority = Priority.PERSON
    caps: Caps = ()
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hold how many jobs a person may have running and waiting, and how many may wait in all."""

    running: int = 4
    waiting: int = 20
    length: int = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """Say where a job stands: its place in line, counted from 1 (0: it runs), and the second at
    which its pictures are expected (None: something before it was never measured)."""

    job: int
    position: int
    ends_at: float | None


@dataclass(slots=True)
class _Run:
    """Hold a running job: the seconds that were charged, and those that its model still loads."""

    task: Task
    started: float
    charged: float
    loading: float
    drawn: float | None = None  # seconds of the engine that it had when decoding began

    @property
    def seconds(self) -> float:
        return self.charged + self.loading


@dataclass(slots=True)
class _Person:
    lines: dict[Priority, OrderedDict[int, Task]] = field(default_factory=dict)
    waiting: int = 0
    running: int = 0
    admitted: int = 0  # about to be submitted: their jobs are being committed

    def copy(self) -> _Person:
        lines = {priority: line.copy() for priority, line in self.lines.items()}
        return _Person(lines, self.waiting, self.running, self.admitted)


class Order:
    """Choose what runs next; see the module for how. Times are seconds of any one clock."""

    def __init__(self, limits: Limits | None = None, speeds: Speeds | None = None) -> None:
        self.limits = limits or Limits()
        self.speeds = Speeds() if speeds is None else speeds
        self._pauses: dict[str, str] = {}  # who paused → why
        self._people: dict[str, _Person] = {}
        self._waiting: dict[int, Task] = {}
        self._running: dict[int, _Run] = {}
        self._together: Counter[str] = Counter()  # running jobs, by the groups of their caps
        self._held: dict[str, set[str]] = {}  # who waits for a group to have room
        self._warm: set[str] = set()  # models that are loaded, or are about to be
        self._admitted = 0
        self._meter = Meter()
        self._forget()

    @property
    def waiting(self) -> int:
        """Return how many jobs wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Return how many jobs run."""
        return len(self._running)

    @property
    def reason(self) -> str | None:
        """Return why nothing starts, or None when the queue is not paused."""
        return next(iter(self._pauses.values()), None)

    def is_waiting(self, job: int) -> bool:
        """Say whether a job waits."""
        return job in self._waiting

    def admit(self, person: str) -> None:
        """Keep a place for a job that is being committed, or raise `UserError` with the reason.

        `unadmit` gives the place back, after `submit` or without one.
        """
        if len(self._waiting) + self._admitted >= self.limits.length:
            raise QueueFull(self.limits.length)
        known = self._people.get(person) or _Person()
        if known.waiting + known.admitted >= self.limits.waiting:
            raise TooManyWaiting(self.limits.waiting)
        known.admitted += 1
        self._people[person] = known
        self._admitted += 1

    def unadmit(self, person: str) -> None:
        """Give back a place that `admit` kept."""
        self._people[person].admitted -= 1
        self._admitted -= 1
        self._tidy(person)

    def submit(self, task: Task) -> None:
        """Let a job wait for its turn, admitted or not; one that is known is left as it is."""
        if task.job in self._waiting or task.job in self._running:
            return
        person = self._people.setdefault(task.person, _Person())
        person.lines.setdefault(task.priority, OrderedDict())[task.job] = task
        person.waiting += 1
        self._waiting[task.job] = task
        self._place(task.person)

    def choose(self, now: float, slots: int) -> Task | None:
        """Start the job whose turn it is; None while nothing may start.

        Where that job is to run alone, nobody is let past it until all that runs has ended.
        """
        if not self.wants(slots):
            return None
        while True:
            if (level := self._levels.first()) is None:
                return None
            name = self._shares[level].first()
            assert name is not None, "a level is in while somebody of it is"
            if task := self._startable(name, level):
                break
            self._place(name)  # a group of theirs was filled meanwhile
        if task.alone and self._running:
            return None
        person = self._people[name]
        del person.lines[level][task.job]
        self._together.update(group for group, _ in task.caps)
        del self._waiting[task.job]
        person.waiting -= 1
        person.running += 1
        seconds = self.speeds.seconds(task.work)
        self._running[task.job] = _Run(task, now, seconds, self._loading(task.work.model))
        self._meter.start(task.job, task.work.width, now)
        self._shares[level].charge(name, seconds)
        self._levels.charge(level, seconds)
        self._place(name)
        return task

    def wants(self, slots: int) -> bool:
        """Say whether somebody waits and nothing keeps all of them from starting."""
        if self._pauses or len(self._running) >= slots:
            return False
        return bool(self._waiting) and not any(run.task.alone for run in self._running.values())

    def begun(self, job: int, now: float, *, loaded: bool) -> None:
        """Say that a job begins only now; what went before is nobody's work, and nobody pays.

        `loaded` says that its model was loaded meanwhile, which teaches how long that takes.
        """
        if run := self._running.get(job):
            if loaded:
                self.speeds.learn_loading(run.task.work.model, now - run.started)
            run.loading = 0.0
            self._meter.restart(job, now)

    def drawn(self, job: int, now: float) -> None:
        """Say that a job's steps are done, and that decoding begins."""
        if (run := self._running.get(job)) and run.drawn is None:
            run.drawn = self._meter.used(job, now)

    def cooled(self) -> None:
        """Say that the engine died: whatever model comes next has to be loaded."""
        self._warm.clear()

    def done(self, job: int, now: float, *, finished: bool = True) -> None:
        """End a running job; `finished` says that all its work was done, so that it teaches."""
        if job not in self._running:
            return
        run = self._running.pop(job)
        task, charged = run.task, run.charged
        used = self._meter.stop(job, now)
        if finished:
            self.speeds.learn(task.work, used, None if run.drawn is None else used - run.drawn)
        elif run.loading:
            self._warm.discard(task.work.model)  # nobody saw it being loaded
        pays = min(used, DEAREST * charged)
        self._shares[task.priority].correct(task.person, pays - charged)
        self._shares[task.priority].done(pays)
        self._levels.correct(task.priority, pays - charged)
        self._people[task.person].running -= 1
        self._make_room(task)
        self._place(task.person)
        self._tidy(task.person)

    def cancel(self, job: int) -> bool:
        """Take a job out of the line; return False if it does not wait there."""
        task = self._waiting.pop(job, None)
        if task is None:
            return False
        person = self._people[task.person]
        del person.lines[task.priority][job]
        person.waiting -= 1
        self._place(task.person)
        self._tidy(task.person)
        return True

    def pause(self, reason: str, by: str = "") -> bool:
        """Start nothing more until everybody who paused has resumed; what runs goes on.

        Return whether that is news.
        """
        before = self._pauses.get(by)
        self._pauses[by] = reason
        return before != reason

    def resume(self, by: str = "") -> bool:
        """Take back a pause; return whether there was one."""
        return self._pauses.pop(by, None) is not None

    def forecast(self, now: float, slots: int) -> Iterator[Place]:
        """Yield the place of every job, the first to end first, by playing the queue on a copy.

        The copy is made at once; it is as if nobody came any more, nothing were paused and there
        were one slot at least.
        """
        twin = self._copy()
        return twin._play(now, max(1, slots))

    def _play(self, now: float, slots: int) -> Iterator[Place]:
        known = all(self.speeds.knows(run.task.work.model) for run in self._running.values())
        ends = [
            (self._meter.end(job, run.seconds), job, 0, known) for job, run in self._running.items()
        ]
        ends.sort()
        position = 0
        while self._waiting or ends:
            while task := self.choose(now, slots):
                position += 1
                known = known and self.speeds.knows(task.work.model)
                end = self._meter.end(task.job, self._running[task.job].seconds)
                heappush(ends, (end, task.job, position, known))
            clock, job, place, measured = heappop(ends)
            now = max(now, self._meter.time(clock))
            self._running[job].loading = 0.0  # its model is there now
            self.done(job, now, finished=False)
            yield Place(job, place, now if measured else None)

    def _copy(self) -> Order:
        twin = Order(self.limits, self.speeds)
        twin._people = {name: person.copy() for name, person in self._people.items()}
        twin._waiting = dict(self._waiting)
        twin._running = {job: replace(run) for job, run in self._running.items()}
        twin._together = Counter(self._together)
        twin._held = {group: set(names) for group, names in self._held.items()}
        twin._warm = set(self._warm)
        twin._meter, twin._levels = self._meter.copy(), self._levels.copy()
        twin._shares = {level: share.copy() for level, share in self._shares.items()}
        return twin

    def _loading(self, model: str) -> float:
        """Return the seconds that a model takes before a job can begin; from then on none."""
        if model in self._warm:
            return 0.0
        self._warm.add(model)
        return self.speeds.loading(model)

    def _place(self, name: str) -> None:
        """Let a person be served while they have something waiting and may run more."""
        person = self._people[name]
        free = person.running < self.limits.running
        for level, share in self._shares.items():
            if free and (task := self._startable(name, level)):
                share.enter(name, task.job)
            else:
                share.leave(name)
            if share:
                self._levels.enter(level, level)
            else:
                self._levels.leave(level)

    def _startable(self, name: str, level: Priority) -> Task | None:
        """Return a person's first job whose groups have room; note what the others wait for."""
        for task in self._people[name].lines.get(level, {}).values():
            full = [group for group, most in task.caps if self._together[group] >= most]
            if not full:
                return task
            for group in full:
                self._held.setdefault(group, set()).add(name)
        return None

    def _make_room(self, task: Task) -> None:
        """Let those be served again who waited for the groups of a job that ended."""
        for group, _ in task.caps:
            self._together[group] -= 1
            if not self._together[group]:
                del self._together[group]
            for name in self._held.pop(group, ()):
                if name in self._people:
                    self._place(name)

    def _tidy(self, name: str) -> None:
        """Forget who has nothing here; and all that was, once nobody has."""
        person = self._people[name]
        if not (person.waiting or person.running or person.admitted):
            del self._people[name]
        if not self._people:
            self._forget()

    def _forget(self) -> None:
        self._held.clear()
        self._levels: Share[Priority] = Share()
        self._shares: dict[Priority, Share[str]] = {priority: Share() for priority in Priority}
