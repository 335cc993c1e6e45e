"""The order of the queue: synchronous code that is given the time.

Fair queueing on two levels (`engine.queue.fairness`): between the priorities, moderators first, so
that a moderator's job is next, and all moderators together get at most half of the engine while
others wait; within a priority, equal shares for all people. A job costs seconds of the engine:
estimated before it runs, corrected when it ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from engine.errors import UserError
from engine.queue.engines import Facts
from engine.queue.estimates import Speeds
from engine.queue.placement import Found, Placement
from engine.queue.tasks import Limits, Priority, Task
from engine.queue.turns import Passed, Turns, Where
from engine.sentences import Sentence

LOOK: Final = 8  # people who may be passed over in one choice, for the engines' sake
SUSPECTS: Final = 64  # of them whose jobs are to run alone
TRIES: Final = 3  # engines that may fail a job
MOST: Final = 4.0  # times its estimate that a job is charged; more is taken for a stall


@dataclass(slots=True)
class _Run:
    """A running job; charged: estimated seconds of its work; loading: those of its models.

    price: what its owner is charged, the seconds that the work takes on all engines in the mean;
    began: how many models have begun to draw; waits: since when it waits for the next, and the
    seconds of the engine that it had used by then.
    """

    task: Task
    charged: float
    price: float
    loading: tuple[float, ...]
    waits: tuple[float, float]
    began: int = 0
    drawn: float | None = None  # seconds of the engine used before decoding

    @property
    def seconds(self) -> float:
        return self.charged + sum(self.loading[self.began :])


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
        self._blocked: dict[str, dict[str, None]] = {}  # full group → people whose jobs wait for it
        self.engines = Placement()
        self._failed: dict[int, int] = {}  # job → how many engines failed it
        self._reserved = 0
        self._turns = Turns()

    @property
    def waiting(self) -> int:
        """Return how many jobs wait."""
        return len(self._waiting)

    def tasks(self) -> list[Task]:
        """Return what waits, the first submitted first."""
        return list(self._waiting.values())

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
        if not self.wants(slots):
            return None
        reserved: set[str] = set()
        passed: list[Passed] = []
        looked = 0  # people in `passed` whose jobs need no engine to themselves
        waits: _Waiting | None = (
            None  # the first who waits for a full engine, though others have room
        )
        try:
            while (found := self._next()) and looked < LOOK and len(passed) < SUSPECTS:
                priority, name, task = found
                if waits and not waits.lets_pass(priority, self._turns.start_of(priority, name)):
                    break
                if waits and not task.alone and not self.engines.holds_with_room(task):
                    passed.append(self._turns.pass_over(priority, name))
                    looked += 1
                    continue
                engine = self.engines.find(task, self.speeds, now, reserved)
                if engine and not engine.better:
                    self._start(priority, name, task, engine.engine, now)
                    return task
                if engine:
                    if waits is None:
                        until = self._turns.start_of(priority, name)
                        until += self.speeds.seconds(task.work)
                        waits = _Waiting(priority, name, task, engine, until)
                    passed.append(self._turns.pass_over(priority, name))
                    looked += 1
                elif task.alone:
                    # More of them wait for the engines of those before them.
                    if len(reserved) < LOOK:
                        held = self.engines.reserve(task, reserved)
                        reserved |= set() if held is None else {held}
                    if not self.engines.has_room_beside(reserved):
                        break
                    passed.append(self._turns.pass_over(priority, name))
                elif (where := self._where(task)) is None:
                    break
                else:
                    self._turns.park(priority, name, where)
        finally:
            for each in reversed(passed):
                self._turns.restore(each)
        if not waits or waits.found.engine in reserved:
            return None
        if (len(self._waiting) - 1) * self.speeds.seconds(waits.task.work) < waits.found.better:
            return None  # all that waits is done sooner there
        self._start(waits.priority, waits.name, waits.task, waits.found.engine, now)
        return waits.task

    def _next(self) -> tuple[Priority, str, Task] | None:
        """Return whose turn it is, and their next job."""
        while turn := self._turns.next():
            priority, name = turn
            if task := self._first_startable(name, priority):
                return priority, name, task
            self._update(name)  # a group was filled meanwhile
        return None

    def _start(self, priority: Priority, name: str, task: Task, engine: str, now: float) -> None:
        where = self._where(task)
        person = self._people[name]
        del person.tasks[priority][task.job]
        self._grouped.update(group for group, _ in task.caps)
        del self._waiting[task.job]
        person.waiting -= 1
        person.running += 1
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
        self._turns.unpark_first(where)  # there may be room for the next one, too

    def _where(self, task: Task) -> Where | None:
        """Return what restricts the engines that may run a task, or None where nothing does."""
        if task.job in self.engines.avoided:
            return task.job
        classes = self.engines.classes_for(task)
        return (classes, task.work.models) if self.engines.unfit(task) else classes

    def _serves(self, engine: str, where: Where) -> bool:
        """Whether an engine that has room may be one that people were parked for."""
        return not isinstance(where, frozenset) or self.engines.frees(engine, where)

    def put(self, name: str, facts: Facts) -> None:
        """Add an engine, or record what it tells now."""
        if self.engines.put(name, facts):
            self._turns.unpark_all()

    def remove(self, name: str) -> None:
        """Remove an engine; nothing starts there any more."""
        self.engines.remove(name)
        self._turns.unpark_all()

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

    def lacks(self, job: int) -> frozenset[str]:
        """Return what a running job needs that no engine has which takes jobs."""
        task, facts = self._running[job].task, self.engines.facts(self.engines.engine_of(job))
        if not facts.alive or facts.has is None or task.needs <= facts.has:
            return frozenset()
        return self.engines.lacking(task)

    def reason_for(self, job: int) -> str | None:
        """Return why a waiting job cannot start, whosever turn it is; None where it can."""
        if self.reason or not (missing := self.engines.lacking(self._waiting[job])):
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
        return not self._pauses and bool(self._waiting) and self.engines.has_room

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

    def done(self, job: int, now: float, *, finished: bool = True, measured: bool = True) -> None:
        """End a running job; finished: all its work was done, which measures its model.

        measured: unless the times are estimates themselves.
        """
        if job not in self._running:
            return
        run = self._running.pop(job)
        task, charged = run.task, run.price
        kind, engine = self.engines.kind_of(job), self.engines.engine_of(job)
        # What it waited for may not have been loaded.
        waited = [*zip(task.work.models, run.loading, strict=True)][run.began :]
        lost = () if finished else {model for model, seconds in waited if seconds}
        used = self.engines.stop(job, now, lost)
        if finished and measured:
            drawn = None if run.drawn is None else used - run.drawn
            self.speeds.learn(task.work, used, drawn, kind)
        # A slower engine's seconds count for less, so that equal work costs the same everywhere.
        cost = min(used, MOST * run.charged) * (charged / run.charged if run.charged else 1.0)
        self._turns.correct(task.priority, task.person, charged, cost)
        self._people[task.person].running -= 1
        self._leave_groups(task)
        self._update(task.person)
        self._remove_idle(task.person)
        self._turns.unpark(lambda where: self._serves(engine, where))

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
        """Return an independent copy, without those people who come after `most` others."""
        people = self._people
        if len(self._waiting) > most:
            names = self._turns.firsts(most)
            names.update(run.task.person for run in self._running.values())
            for blocked in self._blocked.values():
                names.update(islice(blocked, most))
            people = {name: people[name] for name in names if name in people}
        twin = Order(self.limits, self.speeds)
        for name, person in people.items():
            tasks = {priority: dict(each) for priority, each in person.tasks.items() if each}
            twin._people[name] = _Person(tasks, person.waiting, person.running, person.reserved)
            for each in tasks.values():
                twin._waiting.update(each)
        twin._running = dict(self._running)
        twin._grouped = Counter(self._grouped)
        twin._blocked = {
            group: dict.fromkeys(name for name in names if name in people)
            for group, names in self._blocked.items()
        }
        twin.engines = self.engines.copy()
        twin._turns = self._turns.copy(None if people is self._people else people)
        return twin

    def _update(self, name: str) -> None:
        """Activate a person in each priority where a job of theirs may start; else deactivate."""
        person = self._people[name]
        free = person.running < self.limits.running
        for priority in Priority:
            task = self._first_startable(name, priority) if free else None
            self._turns.update(priority, name, task.job if task else None)

    def _first_startable(self, name: str, priority: Priority) -> Task | None:
        """Return a person's first job whose groups have room; record the full groups of others."""
        for task in self._people[name].tasks.get(priority, {}).values():
            full = [group for group, most in task.caps if self._grouped[group] >= most]
            if not full:
                return task
            for group in full:
                self._blocked.setdefault(group, {})[name] = None
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
            self._blocked.clear()
            self._turns = Turns()
