"""Where a job runs: the engines, what each holds and has at work, and which costs a job least.

The order of the queue says whose turn it is (`engine.queue.order`); this says where. An engine that
may run a job and has a free slot costs it, in seconds:

    what the engine still has to do, as estimated
    + loading the job's model there, where it is not held, at the speed of that kind of device
    + what is lost by removing the model that was used least recently, if one has to go for it:
      its loading time × the chance that one of the next `WINDOW` jobs wants it, divided by the
      engines that hold it
    + the job itself, at the speed of that kind of device

and the least wins. So a job goes where its model is, until what waits there outweighs loading it
somewhere else: popular models spread. What a rare model removes is what is needed least, or held
elsewhere too, so it does not push the popular ones out everywhere. Where an engine that holds the
model is full and would still cost less, the job may wait for it (`engine.queue.order`).

Engines that are alike (one kind, the same files, the same models held) lie in one heap, by the time
when they will be done. A job is compared with the first of each heap, so a thousand engines cost no
more than the combinations of models that they hold.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from typing import Final

from engine.queue.estimates import Meter, Speeds
from engine.queue.tasks import Task

WINDOW: Final = 16  # jobs that an eviction is weighed by
FADING: Final = 0.98  # weight of earlier jobs in a model's popularity, with each job that starts
LARGEST: Final = 1e100  # of these weights, before they are scaled down
IDLE: Final = float("-inf")  # when an engine without jobs is done
SLACK: Final = 64  # outdated entries of a heap, beyond as many as there are valid ones

Files = frozenset[str] | None  # what an engine has; None: everything
Classes = frozenset[int]  # of engines: those of one kind of device with the same files


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an engine tells about itself (`engine.executors:Health` says what each means)."""

    slots: int
    alive: bool = True
    kind: str = ""
    held: tuple[str, ...] | None = None  # None: it does not tell
    has: Files = None


@dataclass(frozen=True, slots=True)
class Found:
    """An engine with room for a task; better: by how many seconds it costs less to wait for a full
    one.
    """

    engine: str
    better: float = 0.0


@dataclass(slots=True)
class _Engine:
    """An engine: what it told, and what was placed on it."""

    name: str
    facts: Facts
    meter: Meter = field(default_factory=Meter)
    # job → its models, its estimated seconds with loading
    running: dict[int, tuple[tuple[str, ...], float]] = field(default_factory=dict)
    held: dict[str, None] = field(default_factory=dict)  # the least recently used first
    room: int | None = None  # models that it has held at once; None: unknown
    busy_until: float = IDLE  # as estimated
    alone: bool = False  # its job must have it to itself
    group: _Group | None = None

    @property
    def free(self) -> bool:
        """Whether it takes another job."""
        return self.facts.alive and not self.alone and len(self.running) < self.facts.slots

    def backlog(self, now: float) -> float:
        """Return the seconds of what is at work; what is late is expected to be as late again."""
        return abs(self.busy_until - now) if self.running else 0.0

    def copy(self) -> _Engine:
        return replace(
            self,
            meter=self.meter.copy(),
            running=dict(self.running),
            held=dict(self.held),
            group=None,
        )

    def hold(self, model: str) -> None:
        """Count a model as used last, and as loaded in place of another where there is no room."""
        self.held.pop(model, None)
        self.held[model] = None
        while self.room is not None and len(self.held) > max(1, self.room):
            del self.held[next(iter(self.held))]

    def evicts(self, models: Collection[str]) -> str | None:
        """Return the model that would have to go first for some others."""
        missing = sum(model not in self.held for model in models)
        if not missing or self.room is None or len(self.held) + missing <= max(1, self.room):
            return None
        return next(iter(self.held), None)


class _Group:
    """Engines that are alike, by the time when they will be done."""

    def __init__(self, kind: str, has: Files, held: frozenset[str]) -> None:
        self.kind, self.has, self.held = kind, has, held
        self.size = 0
        # By whether they have a free slot.
        self._heaps: dict[bool, list[tuple[float, str]]] = {True: [], False: []}

    def push(self, engine: _Engine) -> None:
        heappush(self._heaps[engine.free], (engine.busy_until, engine.name))

    def first(
        self, engines: Mapping[str, _Engine], without: Collection[str], *, free: bool = True
    ) -> _Engine | None:
        """Return the allowed engine that is done first, with a free slot or of those without."""
        heap = self._heaps[free]
        found, kept = None, []
        while heap:
            until, name = heap[0]
            engine = engines.get(name)
            valid = engine and self._is_mine(engine, free) and engine.busy_until == until
            if valid and name not in without:
                found = engine
                break
            heappop(heap)
            if valid:
                kept.append((until, name))
        for entry in kept:
            heappush(heap, entry)
        return found

    def compact(self, engines: Mapping[str, _Engine]) -> None:
        for free, heap in self._heaps.items():
            if len(heap) > 2 * self.size + SLACK:
                mine = (engines.get(name) for name in {name for _, name in heap})
                heap[:] = [(e.busy_until, e.name) for e in mine if e and self._is_mine(e, free)]
                heapify(heap)

    def _is_mine(self, engine: _Engine, free: bool) -> bool:
        return engine.group is self and engine.facts.alive and engine.free is free


class Placement:
    """The engines of one queue. Times are in seconds, of the queue's clock.

    Until the first `put` there is one engine, called "", whose slots `resize` tells.
    """

    def __init__(self) -> None:
        self._engines: dict[str, _Engine] = {}
        self._groups: dict[tuple[str, Files, frozenset[str]], _Group] = {}
        self._where: dict[int, str] = {}  # running job → engine
        self._free: set[str] = set()  # engines with a free slot
        self._classes: dict[tuple[str, Files], int] = {}
        self._alive: Counter[int] = Counter()  # engines that take jobs, by class
        self._restricted = False  # whether any engine told which files it has
        self._holders: Counter[str] = Counter()
        self._popular: dict[str, float] = {}
        self._unit, self._total = 1.0, 0.0
        self.avoided: dict[int, set[str]] = {}  # job → engines that failed it
        self._put(_Engine("", Facts(slots=0)))

    def copy(self) -> Placement:
        """Return an independent copy."""
        twin = copy.copy(self)
        twin._engines, twin._groups, twin._free = {}, {}, set()
        twin._holders, twin._alive = Counter(), Counter()
        twin._where, twin._popular = dict(self._where), dict(self._popular)
        twin._classes = dict(self._classes)
        twin.avoided = {job: set(names) for job, names in self.avoided.items()}
        for engine in self._engines.values():
            twin._put(engine.copy())
        return twin

    @property
    def several(self) -> bool:
        """Whether engines were put here, so that there may be several."""
        return "" not in self._engines

    @property
    def has_room(self) -> bool:
        """Whether any engine has a free slot."""
        return bool(self._free)

    @property
    def slots(self) -> int:
        """Return how many jobs the engines that take jobs may run at once."""
        return sum(each.facts.slots for each in self._engines.values() if each.facts.alive)

    def resize(self, slots: int) -> None:
        """Set the slots of the one engine that nobody put here."""
        if (only := self._engines.get("")) and only.facts.slots != slots:
            self._put(replace(only, facts=replace(only.facts, slots=slots)))

    def put(self, name: str, facts: Facts) -> bool:
        """Add an engine, or record what it tells now; return whether other jobs may run there."""
        self._remove("")
        engine = self._engines.get(name) or _Engine(name, facts)
        before = name in self._engines and (engine.facts.alive, engine.facts.kind, engine.facts.has)
        self._take_out(name)
        if facts.held is not None and facts.alive:
            engine.room = max(engine.room or 0, len(facts.held))
            loading = {model: None for models, _ in engine.running.values() for model in models}
            engine.held = {**dict.fromkeys(facts.held), **loading}
        engine.facts = facts
        self._put(engine)
        return before != (facts.alive, facts.kind, facts.has)

    def remove(self, name: str) -> None:
        """Remove an engine; its jobs stay at work until they are `stop`ped."""
        if engine := self._engines.get(name):
            if engine.running:
                self._take_out(name)
                engine.facts = replace(engine.facts, alive=False)
                self._put(engine)
            else:
                self._remove(name)

    def died(self, name: str) -> None:
        """Record that an engine has to load its models again."""
        if engine := self._engines.get(name):
            self._take_out(name)
            engine.held.clear()
            self._put(engine)

    def engine_of(self, job: int) -> str:
        """Return the engine of a running job."""
        return self._where[job]

    def kind_of(self, job: int) -> str:
        """Return the kind of device that a running job is drawn on."""
        return self._engines[self._where[job]].facts.kind

    def meter_of(self, job: int) -> Meter:
        """Return what divides the time of a running job's engine."""
        return self._engines[self._where[job]].meter

    def classes_for(self, task: Task) -> Classes | None:
        """Return the classes of engines that may run a task; None for all that take jobs.

        Those of another kind of device than it wants are left out while one of its kind takes jobs.
        """
        if not (task.kind or (self._restricted and task.needs)):
            return None
        able = [
            (kind, number)
            for (kind, has), number in self._classes.items()
            if self._alive[number] and (has is None or task.needs <= has)
        ]
        wanted = [number for kind, number in able if kind == task.kind]
        return frozenset(wanted or [number for _, number in able])

    def could_run(self, task: Task, without: Collection[str]) -> bool:
        """Whether an engine that takes jobs could run a task, full or not, beside those named."""
        allowed = self.classes_for(task)
        return any(
            engine.facts.alive and self._may(engine, allowed) and name not in without
            for name, engine in self._engines.items()
        )

    def find(
        self, task: Task, speeds: Speeds, now: float, without: Collection[str] = ()
    ) -> Found | None:
        """Return the engine with room on which a task costs least, or None where none has room."""
        allowed = self.classes_for(task)
        without = self._beside(task, without)
        if task.alone:
            return self._find_empty(task, speeds, now, allowed, without)
        best, least, waiting = None, float("inf"), float("inf")
        own: dict[str, tuple[float, dict[str, float]]] = {}
        models = task.work.models
        for group in self._groups.values():
            if allowed is not None and self._class(group.kind, group.has) not in allowed:
                continue
            if group.kind not in own:
                seconds = speeds.seconds(task.work, group.kind)
                loads = {model: speeds.loading(model, group.kind) for model in models}
                own[group.kind] = seconds, loads
            seconds, loads = own[group.kind]
            missing = [model for model in models if model not in group.held]
            if not missing:
                full = group.first(self._engines, without, free=False)
                if full and not full.alone:
                    waiting = min(waiting, full.backlog(now) + seconds)
            if (engine := group.first(self._engines, without)) is None:
                continue
            cost = engine.backlog(now) + seconds
            cost += sum(loads[model] for model in missing)
            if cost < least and (victim := engine.evicts(models)):
                cost += self._worth(victim, speeds, group.kind)
            if cost < least:
                best, least = engine.name, cost
        return None if best is None else Found(best, max(0.0, least - waiting))

    def reserve(self, task: Task, without: Collection[str]) -> str | None:
        """Return the engine that will be empty first for a task that must have one to itself."""
        allowed, without = self.classes_for(task), self._beside(task, without)
        able = [
            engine
            for engine in self._engines.values()
            if engine.facts.alive and self._may(engine, allowed) and engine.name not in without
        ]
        return min(able, key=lambda each: each.busy_until).name if able else None

    def start(self, task: Task, name: str, seconds: float, now: float) -> tuple[bool, ...]:
        """Put a task to work on an engine; return for each of its models whether it has to load it.

        seconds: estimated, without loading.
        """
        engine = self._engines[name]
        models = task.work.models
        self._take_out(name)
        loads = tuple(model not in engine.held for model in models)
        for model in models:
            engine.hold(model)
        engine.running[task.job] = models, seconds
        engine.alone = task.alone
        engine.meter.start(task.job, task.work.width, now)
        engine.busy_until = max(now, engine.busy_until) + seconds
        self._where[task.job] = name
        self._put(engine)
        for model in models:
            self._count(model)
        return loads

    def add_loading(self, job: int, seconds: float) -> None:
        """Add the seconds of loading to what a job's engine has to do."""
        if seconds:
            engine = self._engines[self._where[job]]
            self._take_out(engine.name)
            models, own = engine.running[job]
            engine.running[job] = models, own + seconds
            engine.busy_until += seconds
            self._put(engine)

    def stop(self, job: int, now: float, lost: Collection[str] = ()) -> float:
        """End a job's work; return the seconds of its engine that it used.

        lost: models that may not have been loaded.
        """
        engine = self._engines[self._where.pop(job)]
        self._take_out(engine.name)
        used = engine.meter.stop(job, now)
        del engine.running[job]
        for model in lost:
            engine.held.pop(model, None)
        left = (
            max(0.0, seconds - engine.meter.used(other, now))
            for other, (_, seconds) in engine.running.items()
        )
        engine.busy_until = now + sum(left) if engine.running else IDLE
        engine.alone = False
        self._put(engine)
        return used

    def frees(self, name: str, wanted: Classes | None) -> bool:
        """Whether an engine with room is of one of some classes."""
        engine = self._engines.get(name)
        return bool(engine and engine.free and self._may(engine, wanted))

    def _find_empty(
        self,
        task: Task,
        speeds: Speeds,
        now: float,
        allowed: Classes | None,
        without: Collection[str],
    ) -> Found | None:
        """Return the engine without jobs on which a task costs least."""
        models, best, least = task.work.models, None, float("inf")
        for name in self._free:
            engine = self._engines[name]
            if engine.running or name in without or not self._may(engine, allowed):
                continue
            kind = engine.facts.kind
            cost = speeds.seconds(task.work, kind)
            cost += sum(speeds.loading(m, kind) for m in models if m not in engine.held)
            if victim := engine.evicts(models):
                cost += self._worth(victim, speeds, kind)
            if (cost, name) < (least, best or name):
                best, least = name, cost
        return None if best is None else Found(best)

    def _beside(self, task: Task, without: Collection[str]) -> Collection[str]:
        """Add the engines that failed a task to those it cannot have, if others could run it."""
        avoided = self.avoided.get(task.job)
        return {*without, *avoided} if avoided and self.could_run(task, avoided) else without

    def _may(self, engine: _Engine, allowed: Classes | None) -> bool:
        return allowed is None or self._class(engine.facts.kind, engine.facts.has) in allowed

    def _worth(self, model: str, speeds: Speeds, kind: str) -> float:
        """Return the seconds that an engine's removing a model is expected to cost."""
        share = self._popular.get(model, 0.0) / self._total if self._total else 0.0
        wanted = min(1.0, share * WINDOW / max(1, self._holders[model]))
        return speeds.loading(model, kind) * wanted

    def _count(self, model: str) -> None:
        """Count a start for a model's popularity."""
        self._popular[model] = self._popular.get(model, 0.0) + self._unit
        self._total = self._total + self._unit
        self._unit /= FADING
        if self._unit > LARGEST:
            self._popular = {m: w / self._unit for m, w in self._popular.items()}
            self._popular = {m: w for m, w in self._popular.items() if w > 1 / LARGEST}
            self._total, self._unit = sum(self._popular.values()), 1.0

    def _class(self, kind: str, has: Files) -> int:
        return self._classes.setdefault((kind, has), len(self._classes))

    def _put(self, engine: _Engine) -> None:
        """Enter an engine into all indexes."""
        if engine.name in self._engines:
            self._take_out(engine.name)
        facts, held = engine.facts, frozenset(engine.held)
        key = facts.kind, facts.has, held
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(*key)
        engine.group = group
        group.size += 1
        self._engines[engine.name] = engine
        self._holders.update(list(engine.held))
        if facts.alive:
            self._alive[self._class(facts.kind, facts.has)] += 1
        self._restricted = self._restricted or facts.has is not None
        if engine.free:
            self._free.add(engine.name)
        group.push(engine)
        group.compact(self._engines)

    def _take_out(self, name: str) -> None:
        """Take an engine out of the indexes, before it changes."""
        engine = self._engines.get(name)
        if engine is None or engine.group is None:
            return
        group, engine.group = engine.group, None
        group.size -= 1
        if not group.size:
            del self._groups[group.kind, group.has, group.held]
        self._holders.subtract(list(engine.held))
        if engine.facts.alive:
            self._alive[self._class(engine.facts.kind, engine.facts.has)] -= 1
        self._free.discard(name)

    def _remove(self, name: str) -> None:
        if name in self._engines:
            self._take_out(name)
            del self._engines[name]

    def facts(self, name: str) -> Facts:
        """Return what an engine told last."""
        return self._engines[name].facts

    def has_room_beside(self, reserved: Collection[str]) -> bool:
        """Whether any other engine has a free slot."""
        return len(self._free) > sum(name in self._free for name in reserved)

    def revive(self) -> None:
        """Take it that all engines take jobs, if none does: for a look ahead."""
        if not any(each.facts.alive and each.facts.slots for each in self._engines.values()):
            for engine in list(self._engines.values()):
                facts = replace(engine.facts, alive=True, slots=max(1, engine.facts.slots))
                self._put(replace(engine, facts=facts))


class Ends:
    """The ends of running jobs, in the order in which they are expected on all engines."""

    def __init__(self, engines: Placement) -> None:
        self._engines = engines
        # By engine: the virtual time at which a job ends, the job, its position, whether it is sure
        self._by_engine: dict[str, list[tuple[float, int, int, bool]]] = {}
        self._next: list[
            tuple[float, int, str, int]
        ] = []  # second of an engine's next end, its job
        self._changes: Counter[str] = (
            Counter()
        )  # of an engine's jobs; entries of before are outdated
        self._changed: set[str] = set()

    def __bool__(self) -> bool:
        return any(self._by_engine.values())

    def add(self, job: int, seconds: float, position: int, sure: bool) -> None:
        """Add a running job that will have used so many seconds of its engine."""
        name = self._engines.engine_of(job)
        end = self._engines.meter_of(job).end(job, seconds)
        heappush(self._by_engine.setdefault(name, []), (end, job, position, sure))
        self._changed.add(name)

    def pop(self) -> tuple[float, int, int, bool]:
        """Remove the first end; return its second, the job, its position, whether it is sure."""
        for name in self._changed:
            self._changes[name] += 1
            if ends := self._by_engine[name]:
                end, job, *_ = ends[0]
                second = self._engines.meter_of(job).time(end)
                heappush(self._next, (second, job, name, self._changes[name]))
        self._changed.clear()
        while True:
            second, job, name, change = heappop(self._next)
            if change == self._changes[name]:
                _, _, position, sure = heappop(self._by_engine[name])
                self._changed.add(name)
                return second, job, position, sure
