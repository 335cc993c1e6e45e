"""The order of the queue: synchronous code that is given the time.

Fair queueing on two levels (`engine.queue.fairness`): between the priorities, moderators first, so
that a moderator's job is next, and all moderators together get at most half of the engine while
others wait; within a priority, equal shares for all people. A job costs seconds of the engine:
estimated before it runs, corrected when it ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Final

from engine.errors import UserError
from engine.queue.estimates import Meter, Speeds
from engine.queue.fairness import Share
from engine.queue.tasks import Forecast, Limits, Priority, Task
from engine.sentences import Sentence

MOST: Final = 4.0  # times its estimate that a job is charged; more is taken for a stall


@dataclass(slots=True)
class _Run:
    """A running job; charged: estimated seconds of its work; loading: those of its models.

    began: how many of them have begun to draw; waits: since when it waits for the next, and the
    seconds of the engine that it had used by then.
    """

    task: Task
    charged: float
    loading: tuple[float, ...]
    waits: tuple[float, float]
    began: int = 0
    drawn: float | None = None  # seconds of the engine used before decoding

    @property
    def seconds(self) -> float:
        return self.charged + sum(self.loading[self.began :])


@dataclass(slots=True)
class _Person:
    tasks: dict[Priority, dict[int, Task]] = field(default_factory=dict)  # waiting, in order
    waiting: int = 0
    running: int = 0
    reserved: int = 0  # jobs that are being committed, to be submitted then


class Order:
    """Chooses the jobs to run. Times are in seconds, of any one clock."""

    def __init__(self, limits: Limits | None = None, speeds: Speeds | None = None) -> None:
        self.limits = limits or Limits()
        self.speeds = Speeds() if speeds is None else speeds
        self._pauses: dict[str, str] = {}  # by whom → reason
        self._people: dict[str, _Person] = {}
        self._waiting: dict[int, Task] = {}
        self._running: dict[int, _Run] = {}
        self._grouped: Counter[str] = Counter()  # running jobs by the groups of their caps
        self._blocked: dict[str, set[str]] = {}  # full group → people whose jobs wait for it
        self._loaded: set[str] = set()  # models, or being loaded
        self._reserved = 0
        self._meter = Meter()
        self._reset()

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
        """Whether a job waits."""
        return job in self._waiting

    def reserve(self, person: str) -> None:
        """Reserve room for a job that is being committed; raises `UserError` where too many wait.

        `release` ends the reservation, with or without a `submit` before.
        """
        if len(self._waiting) + self._reserved >= self.limits.length:
            raise UserError(Sentence("queue_full", length=self.limits.length))
        known = self._people.get(person) or _Person()
        if known.waiting + known.reserved >= self.limits.waiting:
            raise UserError(Sentence("too_many_waiting", most=self.limits.waiting))
        known.reserved += 1
        self._people[person] = known
        self._reserved += 1

    def release(self, person: str) -> None:
        """End a reservation of `reserve`."""
        self._people[person].reserved -= 1
        self._reserved -= 1
        self._remove_idle(person)

    def submit(self, task: Task) -> None:
        """Add a job, with or without a reservation; a job that is here already is unchanged."""
        if task.job in self._waiting or task.job in self._running:
            return
        person = self._people.setdefault(task.person, _Person())
        person.tasks.setdefault(task.priority, {})[task.job] = task
        person.waiting += 1
        self._waiting[task.job] = task
        self._update(task.person)

    def choose(self, now: float, slots: int) -> Task | None:
        """Start the next job and return it; None while nothing may start.

        A job that is to run alone is not overtaken: nothing starts until all running jobs ended.
        """
        if not self.wants(slots):
            return None
        while True:
            if (priority := self._priorities.first()) is None:
                return None
            name = self._shares[priority].first()
            assert name is not None, "a priority is active while a person in it is"
            if task := self._first_startable(name, priority):
                break
            self._update(name)  # a group was filled meanwhile
        if task.alone and self._running:
            return None
        person = self._people[name]
        del person.tasks[priority][task.job]
        self._grouped.update(group for group, _ in task.caps)
        del self._waiting[task.job]
        person.waiting -= 1
        person.running += 1
        seconds = self.speeds.seconds(task.work)
        loading = tuple(map(self._loading, task.work.models))
        self._running[task.job] = _Run(task, seconds, loading, (now, 0.0))
        self._meter.start(task.job, task.work.width, now)
        self._shares[priority].charge(name, seconds)
        self._priorities.charge(priority, seconds)
        self._update(name)
        return task

    def wants(self, slots: int) -> bool:
        """Whether jobs wait, and neither slots, a pause nor a job that runs alone block all."""
        if self._pauses or len(self._running) >= slots:
            return False
        return bool(self._waiting) and not any(run.task.alone for run in self._running.values())

    def loading_began(self, job: int, now: float) -> None:
        """Record that a job waits for its next model; until it is there nobody is charged."""
        if run := self._running.get(job):
            run.waits = now, self._meter.used(job, now) if run.began else 0.0

    def drawing_began(self, job: int, now: float, *, loaded: bool) -> None:
        """Record that a job's model is there; the time until now is not charged to anybody.

        loaded: the model was loaded meanwhile, which measures loading.
        """
        if run := self._running.get(job):
            since, used = run.waits
            models = run.task.work.models
            if loaded and run.began < len(models):
                self.speeds.learn_loading(models[run.began], now - since)
            run.began += 1
            self._meter.restart(job, now, used)

    def decoding_began(self, job: int, now: float) -> None:
        """Record that a job's steps are done."""
        if (run := self._running.get(job)) and run.drawn is None:
            run.drawn = self._meter.used(job, now)

    def engine_died(self) -> None:
        """Record that all models have to be loaded again."""
        self._loaded.clear()

    def done(self, job: int, now: float, *, finished: bool = True) -> None:
        """End a running job; finished: all its work was done, which measures its model."""
        if job not in self._running:
            return
        run = self._running.pop(job)
        task, charged = run.task, run.charged
        used = self._meter.stop(job, now)
        if finished:
            self.speeds.learn(task.work, used, None if run.drawn is None else used - run.drawn)
        else:  # what it waited for may not have been loaded
            waited = [*zip(task.work.models, run.loading, strict=True)][run.began :]
            self._loaded -= {model for model, seconds in waited if seconds}
        cost = min(used, MOST * charged)
        self._shares[task.priority].correct(task.person, cost - charged)
        self._shares[task.priority].advance(cost)
        self._priorities.correct(task.priority, cost - charged)
        self._people[task.person].running -= 1
        self._leave_groups(task)
        self._update(task.person)
        self._remove_idle(task.person)

    def cancel(self, job: int) -> bool:
        """Remove a waiting job; return False if there is none."""
        if (task := self._waiting.pop(job, None)) is None:
            return False
        person = self._people[task.person]
        del person.tasks[task.priority][job]
        person.waiting -= 1
        self._update(task.person)
        self._remove_idle(task.person)
        return True

    def pause(self, reason: str, by: str = "") -> bool:
        """Start no more jobs until every pause is resumed; return whether anything changed."""
        before = self._pauses.get(by)
        self._pauses[by] = reason
        return before != reason

    def resume(self, by: str = "") -> bool:
        """End a pause; return whether there was one."""
        return self._pauses.pop(by, None) is not None

    def forecast(self, now: float, slots: int) -> Iterator[Forecast]:
        """Yield the forecast of every job, by end, from a simulation on a copy made at once.

        It assumes no further jobs, no pause and at least one slot.
        """
        return self._copy()._simulate(now, max(1, slots))

    def _simulate(self, now: float, slots: int) -> Iterator[Forecast]:
        running = self._running.items()
        measured = all(self.speeds.has_measured(run.task.work.measured_as) for _, run in running)
        ends = [(self._meter.end(job, run.seconds), job, 0, measured) for job, run in running]
        ends.sort()
        position = 0
        while self._waiting or ends:
            while task := self.choose(now, slots):
                position += 1
                measured = measured and self.speeds.has_measured(task.work.measured_as)
                end = self._meter.end(task.job, self._running[task.job].seconds)
                heappush(ends, (end, task.job, position, measured))
            virtual_end, job, place, sure = heappop(ends)
            now = max(now, self._meter.time(virtual_end))
            self._running[job].began = len(self._running[job].loading)  # its models are loaded
            self.done(job, now, finished=False)
            yield Forecast(job, place, now if sure else None)

    def _copy(self) -> Order:
        twin = Order(self.limits, self.speeds)
        twin._people = {
            name: replace(person, tasks={key: dict(tasks) for key, tasks in person.tasks.items()})
            for name, person in self._people.items()
        }
        twin._waiting = dict(self._waiting)
        twin._running = {job: replace(run) for job, run in self._running.items()}
        twin._grouped = Counter(self._grouped)
        twin._blocked = {group: set(names) for group, names in self._blocked.items()}
        twin._loaded = set(self._loaded)
        twin._meter, twin._priorities = self._meter.copy(), self._priorities.copy()
        twin._shares = {priority: share.copy() for priority, share in self._shares.items()}
        return twin

    def _loading(self, model: str) -> float:
        """Return the seconds of loading a model, 0 if it is loaded; count it as loaded then."""
        if model in self._loaded:
            return 0.0
        self._loaded.add(model)
        return self.speeds.loading(model)

    def _update(self, name: str) -> None:
        """Activate a person in each priority where a job of theirs may start; else deactivate."""
        person = self._people[name]
        free = person.running < self.limits.running
        for priority, share in self._shares.items():
            if free and (task := self._first_startable(name, priority)):
                share.activate(name, task.job)
            else:
                share.deactivate(name)
            if share:
                self._priorities.activate(priority, priority)
            else:
                self._priorities.deactivate(priority)

    def _first_startable(self, name: str, priority: Priority) -> Task | None:
        """Return a person's first job whose groups have room; record the full groups of others."""
        for task in self._people[name].tasks.get(priority, {}).values():
            full = [group for group, most in task.caps if self._grouped[group] >= most]
            if not full:
                return task
            for group in full:
                self._blocked.setdefault(group, set()).add(name)
        return None

    def _leave_groups(self, task: Task) -> None:
        """Count a job that ended out of its groups, and update the people who waited for them."""
        for group, _ in task.caps:
            self._grouped[group] -= 1
            if not self._grouped[group]:
                del self._grouped[group]
            for name in self._blocked.pop(group, ()):
                if name in self._people:
                    self._update(name)

    def _remove_idle(self, name: str) -> None:
        """Remove a person without jobs; reset the shares when nobody is left."""
        person = self._people[name]
        if not (person.waiting or person.running or person.reserved):
            del self._people[name]
        if not self._people:
            self._reset()

    def _reset(self) -> None:
        self._blocked.clear()
        self._priorities: Share[Priority] = Share()
        self._shares: dict[Priority, Share[str]] = {priority: Share() for priority in Priority}
