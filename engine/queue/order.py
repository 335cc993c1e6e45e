"""The order of the queue: synchronous code that is given the time.

Fair queueing on two levels (`engine.queue.fairness`): between the priorities, what an owner put
ahead first, then moderators, so that such a job is next, and all of a priority together get no more
of the engine than all of another while both wait; within a priority, equal shares for all people. A
job costs seconds of the engine: estimated before it runs, corrected when it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.queue.engines import Facts
from engine.queue.estimates import Speeds
from engine.queue.full_groups import FullGroups
from engine.queue.people import People
from engine.queue.placement import Found, Placement
from engine.queue.tasks import Cap, Limits, Priority, Task
from engine.queue.turns import Needs, Passed, Turns, Where
from engine.sentences import Sentence

LOOKED: Final = 8  # people who may be passed over in one choice since their jobs had better wait
PASSED: Final = 64  # people who may be passed over in one choice, with those whose jobs run alone
RESERVED: Final = 8  # engines that are reserved at once for jobs that are to run alone
PARKED: Final = 1000  # people who may be parked in one choice, some 10 ms
TRIES: Final = 3  # engines that may fail a job
MOST: Final = 4.0  # times its estimate that a job is charged; more is taken for a stall


@dataclass(slots=True)
class _Run:
    """A running job; estimate: seconds of its work on its engine; loading: those of its models.

    price: what its owner is charged, the seconds that the work takes on all engines in the mean;
    began: how many models have begun to draw; waits: since when it waits for the next, and the
    seconds of the engine that it had used by then.
    """

    task: Task
    estimate: float
    price: float
    loading: tuple[float, ...]
    waits: tuple[float, float]
    began: int = 0
    drawn: float | None = None  # seconds of the engine used before decoding

    @property
    def seconds(self) -> float:
        """Return the estimated seconds of its engine that it takes in all."""
        return self.estimate + sum(self.loading[self.began :])

    def cost_of(self, used: float) -> float:
        """Return what its owner is charged in the end, for so many seconds of its engine.

        A slower engine's seconds count for less, so that equal work costs the same everywhere.
        """
        return self.price * min(MOST, used / self.estimate) if self.estimate else 0.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Whose job had better wait for a full engine, and which other engine has room for it."""

    priority: Priority
    name: str
    task: Task
    found: Found
    until: float  # start tag of those who may pass

    def lets_pass(self, priority: Priority, start: float) -> bool:
        return priority == self.priority and start <= self.until


@dataclass(slots=True)
class _Choice:
    """What one choice has come to.

    passed: who was passed over; looked: how many of them whose jobs need no engine to themselves;
    parked: how many others were parked; reserved: engines for jobs that are to run alone; waits:
    the first whose job had better wait for a full engine beside free ones.
    """

    passed: list[Passed] = field(default_factory=list)
    looked: int = 0
    parked: int = 0
    reserved: set[str] = field(default_factory=set)
    waits: _Waiting | None = None


class Order:
    """Chooses the jobs to run. Times are in seconds, of any one clock."""

    def __init__(self, limits: Limits | None = None, speeds: Speeds | None = None) -> None:
        self.speeds = Speeds() if speeds is None else speeds
        self.people = People(limits or Limits())
        self.engines = Placement()
        self._turns = Turns()
        self._full_groups = FullGroups()
        self._running: dict[int, _Run] = {}
        self._failed: dict[int, int] = {}  # job → how many engines failed it
        self._pauses: dict[str, str] = {}  # by whom → reason
        self._reserved: set[str] = set()  # engines, for jobs that are to run alone
        self.cut_short = False  # the last choice ended before all were looked at

    @property
    def waiting(self) -> int:
        """Return how many jobs wait."""
        return self.people.count

    def tasks(self) -> list[Task]:
        """Return what waits, the first requested first."""
        return list(self.people.waiting.values())

    @property
    def running(self) -> int:
        """Return how many jobs run."""
        return len(self._running)

    @property
    def demand(self) -> int:
        """Return how many engines the jobs at hand can use.

        That is all of them while a job waits for a kind of device that no engine has which takes
        jobs, and one may have that has not started.
        """
        if any(map(self.engines.may_be_starting, self.people.kinds)):
            return len(self.engines)
        return self.waiting + self.running

    @property
    def reason(self) -> str | None:
        """Return why nothing starts, or None when the queue is not paused."""
        return next(iter(self._pauses.values()), None)

    def is_waiting(self, job: int) -> bool:
        """Whether a job waits."""
        return job in self.people.waiting

    def reserve(self, person: str) -> None:
        """Reserve room for a job that is being committed; raises `UserError` where too many wait.

        `release` ends the reservation, with or without a `submit` before.
        """
        self.people.reserve(person)

    def release(self, person: str) -> None:
        """End a reservation of `reserve`."""
        self.people.release(person)
        self._reset_idle()

    def submit(self, task: Task) -> None:
        """Add a job, with or without a reservation; a job that is here already is unchanged."""
        if task.job in self.people.waiting or task.job in self._running:
            return
        self.people.add(task)
        self._update(task.person)

    def choose(self, now: float, slots: int) -> Task | None:
        """Start the next job, on the engine that `placed` tells; None while nothing may start.

        slots: of the engine, where `put` told of none. A job that is to run alone waits for an
        engine without jobs: nothing starts on the one that will be free first, nor passes it where
        there is one engine. A person whose next job may run on busy engines only is passed over,
        keeps their turn, and is next as soon as one of these has room. One whose job had better
        wait for a full engine that holds its model may be passed by those whose turn comes within
        this one job of theirs; where there is nobody, it starts on an engine that has room, unless
        all that waits would be done sooner by waiting. So nobody falls behind by more than one job
        of their own for either.
        """
        self.cut_short = False
        if not self.wants(slots):
            return None
        choice = _Choice()
        try:
            task = self._start_first(choice, now)
        finally:
            for each in reversed(choice.passed):
                self._turns.restore(each)
        if task:
            return task
        gone, self._reserved = self._reserved - choice.reserved, choice.reserved
        if gone:  # they may be what people were parked for
            self._turns.unpark(lambda where: any(self._serves(each, where) for each in gone))
            return self.choose(now, slots)
        return self._start_anyway(choice.waits, now)

    def _start_first(self, choice: _Choice, now: float) -> Task | None:
        """Start the first job in turn that may start now, beside those that had better wait."""
        while (found := self._next()) and choice.looked < LOOKED and len(choice.passed) < PASSED:
            self.cut_short = choice.parked == PARKED
            if self.cut_short:
                break
            priority, name, task = found
            waits = choice.waits
            if waits and not waits.lets_pass(priority, self._turns.start_of(priority, name)):
                break
            if waits and not task.alone and not self.engines.holds_with_room(task):
                choice.looked += 1
                self._pass_over(choice, priority, name)
                continue
            engine = self.engines.find(task, self.speeds, now, choice.reserved)
            if engine and not engine.better:
                self._start(priority, name, task, engine.engine, now)
                return task
            if engine:
                choice.waits = waits or self._waiting(priority, name, task, engine)
                choice.looked += 1
                self._pass_over(choice, priority, name)
            elif not self._set_aside(choice, priority, name, task):
                break
        return None

    def _waiting(self, priority: Priority, name: str, task: Task, found: Found) -> _Waiting:
        until = self._turns.start_of(priority, name) + self.speeds.seconds(task.work)
        return _Waiting(priority, name, task, found, until)

    def _set_aside(self, choice: _Choice, priority: Priority, name: str, task: Task) -> bool:
        """Set aside a person for whose job no engine has room; return whether others may go on."""
        if task.alone:
            # More of them wait for the engines of those before them.
            if len(choice.reserved) < RESERVED:
                held = self.engines.reserve(task, choice.reserved)
                choice.reserved |= set() if held is None else {held}
            if not self.engines.has_room_beside(choice.reserved):
                return False
            self._pass_over(choice, priority, name)
            return True
        if (where := self._where(task)) is None:
            return False
        self._turns.park(priority, name, task.job, where)
        self._follow(priority, name)
        choice.parked += 1
        return True

    def _start_anyway(self, waits: _Waiting | None, now: float) -> Task | None:
        """Start a job that had better wait, unless all that waits is done sooner by waiting."""
        if not waits or waits.found.engine in self._reserved:
            return None
        if (self.waiting - 1) * self.speeds.seconds(waits.task.work) < waits.found.better:
            return None
        self._start(waits.priority, waits.name, waits.task, waits.found.engine, now)
        return waits.task

    def _next(self) -> tuple[Priority, str, Task] | None:
        """Return whose turn it is, and their next job."""
        while turn := self._turns.next():
            priority, name = turn
            task, full = self.people.next_task(name, priority)
            if full or not task:
                self._update(name)  # a group was filled meanwhile
            if task:
                return priority, name, task
        return None

    def _pass_over(self, choice: _Choice, priority: Priority, name: str) -> None:
        """Pass a person over in this choice, whose place in a group others may take."""
        choice.passed.append(self._turns.pass_over(priority, name))
        self._follow(priority, name)

    def _follow(self, priority: Priority, name: str) -> None:
        """Let others of a person's groups try, since that one's job cannot start now."""
        for cap in self._full_groups.leave(priority, name):
            self._update(*self._wake_next(priority, cap))

    def _wake_next(self, priority: Priority, cap: Cap) -> list[str]:
        return [] if self.people.is_full(cap) else self._full_groups.wake(priority, cap)

    def _start(self, priority: Priority, name: str, task: Task, engine: str, now: float) -> None:
        self.people.start(task)
        kind = self.engines.facts(engine).kind
        price, seconds = self.speeds.seconds(task.work), self.speeds.seconds(task.work, kind)
        loads = self.engines.start(task, engine, seconds, now)
        loading = tuple(
            self.speeds.loading(model, kind) if loaded else 0.0
            for model, loaded in zip(task.work.models, loads, strict=True)
        )
        self.engines.add_loading(task.job, sum(loading))
        self._running[task.job] = _Run(task, seconds, price, loading, (now, 0.0))
        self._turns.charge(priority, name, price)
        self._update(name)

    def _where(self, task: Task) -> Where | None:
        """Return what restricts the engines that may run a task, or None where nothing does."""
        if task.job in self.engines.avoided:
            return task.job
        if self.engines.classes_for(task) is None and not self.engines.unfit(task):
            return None
        return Needs(task.kind, task.needs, task.work.models)

    def _serves(self, engine: str, where: Where) -> bool:
        """Whether an engine that has room may be one that people were parked for."""
        return isinstance(where, int) or self.engines.frees(engine, *where)

    def count_elsewhere(self, running: Mapping[str, int]) -> bool:
        """Record how many jobs of each person other processes run; return whether that changed."""
        before, self.people.elsewhere = self.people.elsewhere, running
        changed = {name for name, _ in before.items() ^ running.items()}
        for name in changed:
            self._update(name)
        return bool(changed)

    def put(self, name: str, facts: Facts) -> None:
        """Add an engine, or record what it tells now."""
        if self.engines.put(name, facts):
            self._turns.unpark()

    def remove(self, name: str) -> None:
        """Remove an engine; nothing starts there any more."""
        self.engines.remove(name)
        self._turns.unpark()

    def revive(self) -> None:
        """Take it, for a look ahead, that nothing starts, and that all take jobs if none does."""
        self.engines.revive()
        self._turns.unpark()

    def avoid(self, job: int, *, alike: bool = False) -> bool:
        """Let a running job start elsewhere the next time; return whether that is possible.

        alike: on another kind of device, if there is one. Where it is not possible, or `TRIES`
        engines failed the job, it may start anywhere.
        """
        if not self.engines.several:
            return False
        task, name = self._running[job].task, self.engines.engine_of(job)
        avoided = self.engines.avoided.setdefault(job, set())
        failed = self._failed[job] = self._failed.get(job, 0) + 1
        avoided.add(name)
        if alike and self.engines.could_run(task, others := avoided | self.engines.alike(name)):
            avoided |= others
            return True
        return failed < TRIES and self.engines.could_run(task, avoided)

    def too_large(self, job: int) -> None:
        """Record that the model that a running job waits for does not fit on its engine."""
        name, run = self.engines.engine_of(job), self._running[job]
        if self.engines.several and self.engines.jobs(name) == 1:  # it may fit once others ended
            models = run.task.work.models
            self.engines.too_large(name, models[min(run.began, len(models) - 1)])
            self._turns.unpark()

    def lacks(self, job: int) -> frozenset[str]:
        """Return what a running job needs that no engine has which takes jobs."""
        task, facts = self._running[job].task, self.engines.facts(self.engines.engine_of(job))
        if not facts.alive or facts.has is None or task.needs <= facts.has:
            return frozenset()
        return self.engines.lacking(task)

    def reason_for(self, job: int) -> str | None:
        """Return why a waiting job cannot start, whosever turn it is; None where it can."""
        if self.reason or not (missing := self.engines.lacking(self.people.waiting[job])):
            return self.reason
        return Sentence("on_an_engine_away", names=", ".join(sorted(missing)))

    def forget(self, job: int) -> None:
        """Forget which engines failed a job."""
        self.engines.avoided.pop(job, None)
        self._failed.pop(job, None)

    def placed(self, job: int) -> str:
        """Return the engine of a running job: "" where `put` told of none."""
        return self.engines.engine_of(job)

    def wants(self, slots: int) -> bool:
        """Whether jobs wait, and neither slots, a pause nor a job that runs alone block all."""
        self.engines.resize(slots)
        return not self._pauses and bool(self.people.count) and self.engines.has_room

    def loading_began(self, job: int, now: float) -> None:
        """Record that a job waits for its next model; until it is there nobody is charged."""
        if run := self._running.get(job):
            run.waits = now, self.engines.meter_of(job).used(job, now) if run.began else 0.0

    def drawing_began(self, job: int, now: float, *, loaded: bool) -> None:
        """Record that a job's model is there; the time until now is not charged to anybody.

        loaded: the model was loaded meanwhile, which measures loading.
        """
        if run := self._running.get(job):
            since, used = run.waits
            models = run.task.work.models
            if run.began < len(models):
                if loaded:
                    kind = self.engines.kind_of(job)
                    self.speeds.learn_loading(models[run.began], now - since, kind)
                self.engines.add_loading(job, -run.loading[run.began])
            run.began += 1
            self.engines.meter_of(job).restart(job, now, used)

    def decoding_began(self, job: int, now: float) -> None:
        """Record that a job's steps are done."""
        if (run := self._running.get(job)) and run.drawn is None:
            run.drawn = self.engines.meter_of(job).used(job, now)

    def lost(self, job: int) -> None:
        """Record that a running job's engine died, which is to be tried elsewhere."""
        self.engine_died(self.engines.engine_of(job))
        self.avoid(job)

    def engine_died(self, engine: str = "") -> None:
        """Record that an engine has to load all models again."""
        self.engines.died(engine)
        self._turns.unpark()

    def done(self, job: int, now: float, *, finished: bool = True, measured: bool = True) -> None:
        """End a running job; finished: all its work was done, which measures its model.

        measured: unless the times are estimates themselves.
        """
        if job not in self._running:
            return
        run = self._running.pop(job)
        task = run.task
        kind, engine = self.engines.kind_of(job), self.engines.engine_of(job)
        # What it waited for may not have been loaded.
        waited = [*zip(task.work.models, run.loading, strict=True)][run.began :]
        lost = () if finished else {model for model, seconds in waited if seconds}
        used = self.engines.stop(job, now, lost)
        if finished and measured:
            drawn = None if run.drawn is None else used - run.drawn
            self.speeds.learn(task.work, used, drawn, kind)
        self._turns.correct(task.priority, task.person, run.price, run.cost_of(used))
        self.people.end(task)
        self._update(task.person)
        for group, _ in task.caps:
            for priority, cap in self._full_groups.lines_of(group):
                self._update(*self._wake_next(priority, cap))
        self._reset_idle()
        self._turns.unpark(lambda where: self._serves(engine, where))

    def put_ahead(self, job: int) -> bool:
        """Let a waiting job be next, within all limits; return whether anything changed."""
        task = self.people.waiting.get(job)
        if task is None or task.priority is Priority.AHEAD:
            return False
        self.people.put_ahead(task)
        self._update(task.person)
        return True

    def cancel(self, job: int) -> bool:
        """Remove a waiting job; return False if there is none."""
        if (task := self.people.waiting.get(job)) is None:
            return False
        self.people.cancel(task)
        self._update(task.person)
        self._reset_idle()
        return True

    def pause(self, reason: str, by: str = "") -> bool:
        """Start no more jobs until every pause is resumed; return whether anything changed."""
        before = self._pauses.get(by)
        self._pauses[by] = reason
        return before != reason

    def resume(self, by: str = "") -> bool:
        """End a pause; return whether there was one."""
        return self._pauses.pop(by, None) is not None

    def runs(self) -> Iterable[tuple[Task, float]]:
        """Yield what runs, with the estimated seconds of its engine that it takes in all."""
        for run in self._running.values():
            yield run.task, run.seconds

    def start_of(self, priority: Priority, person: str) -> float:
        """Return the start tag that a person's next job has, or would have."""
        return self._turns.start_of(priority, person)

    def seconds_of(self, job: int) -> float:
        """Return the estimated seconds of its engine that a running job takes in all."""
        return self._running[job].seconds

    def copy(self, most: int) -> Order:
        """Return an independent copy, of those people whose jobs wait, and not behind `most`."""
        if self.waiting > most:
            names = self._turns.firsts(most) | self._full_groups.firsts(most)
            running = (run.task.person for run in self._running.values())
            names.update(filter(self.people.waits, running))
        else:
            names = {task.person for task in self.people.waiting.values()}
        twin = Order(speeds=self.speeds)
        twin.people, twin._turns = self.people.copy(names), self._turns.copy(names)
        twin._full_groups = self._full_groups.copy(names)
        twin.engines, twin._running = self.engines.copy(), dict(self._running)
        twin._reserved = self._reserved
        return twin

    def _update(self, *names: str) -> None:
        """Activate people in each priority where a job of theirs may start; else deactivate them.

        Whoever no longer needs room of a full group leaves it to the next who waits for it.
        """
        left = deque(names)
        while left:
            name = left.popleft()
            for priority in Priority:
                task, full = self.people.next_task(name, priority)
                self._turns.update(priority, name, task.job if task else None)
                wanted = task.caps if task else ()
                for cap in self._full_groups.note(self._turns, priority, name, full, wanted):
                    left += self._wake_next(priority, cap)

    def _reset_idle(self) -> None:
        """Reset the shares when nobody is left."""
        if not self.people:
            self._turns, self._full_groups = Turns(), FullGroups()
