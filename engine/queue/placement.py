"""Where a job runs: the engines, what each holds and has at work, and which costs a job least.

The order of the queue says whose turn it is (`engine.queue.order`); this says where. An engine that
may run a job and has a free slot costs it, in seconds:

    what the engine still has to do, as estimated
    + loading the job's models there, where they are not held, at the speed of that kind of device
    + what is lost by removing the models that were used least recently, as many as have to go for
      it: each one's loading time × the chance that one of the next `WINDOW` jobs wants it, divided
      by the engines that hold it
    + the job itself, at the speed of that kind of device

and the least wins. So a job goes where its model is, until what waits there outweighs loading it
somewhere else: popular models spread. What a rare model removes is what is needed least, or held
elsewhere too, so it does not push the popular ones out everywhere. Where an engine that holds the
model is full and would still cost less, the job may wait for it (`engine.queue.order`).

Engines of one kind of device with the same files lie in heaps by the time when they will be done:
for each model those that hold it, and all. A job is compared with the first that holds its model
and with a few of all, so a thousand engines cost hardly more than ten.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from typing import Final

from engine.queue.estimates import Meter, Speeds
from engine.queue.tasks import Task

WINDOW: Final = 16  # jobs that an eviction is weighed by
FADING: Final = 0.98  # weight of earlier jobs in a model's popularity, with each job that starts
LARGEST: Final = 1e100  # of these weights, before they are scaled down
IDLE: Final = float("-inf")  # when an engine without jobs is done
FEW: Final = 8  # engines of a class that a job is compared with where its model is not held
SLACK: Final = 64  # outdated entries of a heap, beyond as many as there are valid ones

Files = frozenset[str] | None  # what an engine has; None: everything
_Entry = tuple[float, int, str]
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


@dataclass(slots=True, eq=False)
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
    removed: bool = False  # it goes when its last job has ended
    listed: bool = False  # in the indexes

    @property
    def entry(self) -> _Entry:
        """Return what orders engines: when it is done, how much it holds, its name."""
        return self.busy_until, len(self.held), self.name

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
            listed=False,
        )

    def hold(self, model: str) -> None:
        """Count a model as used last, and as loaded in place of another where there is no room."""
        self.held.pop(model, None)
        self.held[model] = None
        while self.room is not None and len(self.held) > max(1, self.room):
            del self.held[next(iter(self.held))]

    def drawing(self, models: Collection[str]) -> tuple[tuple[bool, ...], list[str]]:
        """Return for each model, used in this order, whether it is loaded, and which others go."""
        twin = replace(self, held=dict(self.held))
        loads = []
        for model in models:
            loads.append(model not in twin.held)
            twin.hold(model)
        return tuple(loads), [model for model in self.held if model not in twin.held]


class _Line:
    """Some engines that are alike, by the time when they will be done: those without jobs first,
    and of these the emptiest.

    They are of one class, take jobs, have a free slot or none, and hold a model, unless it is None.
    """

    def __init__(self, kind: str, has: Files, model: str | None, *, free: bool) -> None:
        self._kind, self._has, self._model, self._free = kind, has, model, free
        self._heap: list[_Entry] = []

    def push(self, engine: _Engine, engines: Mapping[str, _Engine]) -> None:
        """Add an engine, which is among all of them."""
        heappush(self._heap, engine.entry)
        if len(self._heap) > 2 * len(engines) + SLACK:
            self._heap = [entry for entry in set(self._heap) if self._find(entry, engines)]
            heapify(self._heap)

    def firsts(
        self, engines: Mapping[str, _Engine], without: Collection[str], most: int
    ) -> list[_Engine]:
        """Return the first few that are allowed."""
        kept: list[_Entry] = []
        found: list[_Engine] = []
        heap = self._heap
        while heap and len(found) < most:
            entry = heap[0]
            engine = self._find(entry, engines)
            if engine and entry[2] not in without and engine not in found:
                found.append(engine)
                if len(found) == most:
                    break
            heappop(heap)
            if engine and entry not in kept:
                kept.append(entry)
        for entry in kept:
            heappush(heap, entry)
        return found

    def _find(self, entry: _Entry, engines: Mapping[str, _Engine]) -> _Engine | None:
        """Return the engine of an entry, or None if that is outdated."""
        engine = engines.get(entry[2])
        return engine if engine and engine.entry == entry and self._is_mine(engine) else None

    def _is_mine(self, engine: _Engine) -> bool:
        facts = engine.facts
        if not facts.alive or engine.alone or (engine.free is not self._free):
            return False
        if facts.kind != self._kind or (facts.has is not self._has and facts.has != self._has):
            return False
        return self._model is None or self._model in engine.held


class _Costs:
    """What a task costs on each kind of device: its own seconds, and loads by model."""

    def __init__(self, task: Task, speeds: Speeds) -> None:
        self._work, self._speeds = task.work, speeds
        self._known: dict[str, tuple[float, dict[str, float]]] = {}

    def of(self, kind: str) -> tuple[float, dict[str, float]]:
        if kind not in self._known:
            loads = {model: self._speeds.loading(model, kind) for model in self._work.models}
            self._known[kind] = self._speeds.seconds(self._work, kind), loads
        return self._known[kind]

    def bound(self) -> float:
        """Return the least on an engine of a kind asked for that has to load a model."""
        return min(seconds + min(loads.values()) for seconds, loads in self._known.values())

    def missing(self, engine: _Engine) -> list[str]:
        models = self._work.models
        if len(models) == 1:
            return [model for model in models if model not in engine.held]
        loads, _ = engine.drawing(models)
        return [model for model, loaded in zip(models, loads, strict=True) if loaded]


class Placement:
    """The engines of one queue. Times are in seconds, of the queue's clock.

    Until the first `put` there is one engine, called "", whose slots `resize` tells.
    """

    def __init__(self) -> None:
        self._engines: dict[str, _Engine] = {}
        self._where: dict[int, str] = {}  # running job → engine
        self._free: set[str] = set()  # engines with a free slot
        self._classes: dict[tuple[str, Files], int] = {}
        self._kinds: dict[int, str] = {}  # of devices, by class
        self._alive: Counter[int] = Counter()  # engines that take jobs, by class
        self._restricted = False  # whether any engine told which files it has
        # By class, model held (None: any or none), and whether they have a free slot.
        self._lines: dict[tuple[int, str | None, bool], _Line] = {}
        self._holders: Counter[str] = Counter()  # engines that hold a model
        self._free_holders: Counter[str] = Counter()  # those of them with a free slot
        self._popular: dict[str, float] = {}
        self._unit, self._total = 1.0, 0.0
        self.avoided: dict[int, set[str]] = {}  # job → engines that failed it
        self._too_large: dict[str, set[str]] = {}  # model → engines on which it does not fit
        self._put(_Engine("", Facts(slots=0)))

    def copy(self) -> Placement:
        """Return an independent copy."""
        twin = copy.copy(self)
        twin._engines, twin._free = {}, set()
        twin._lines = {}
        twin._holders, twin._free_holders, twin._alive = Counter(), Counter(), Counter()
        twin._where, twin._popular = dict(self._where), dict(self._popular)
        twin._classes, twin._kinds = dict(self._classes), dict(self._kinds)
        twin.avoided = {job: set(names) for job, names in self.avoided.items()}
        twin._too_large = {model: set(names) for model, names in self._too_large.items()}
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
        if facts.alive and not engine.facts.alive:
            self._started(name)
        if facts.held is not None and facts.alive:
            engine.room = max(engine.room or 0, len(facts.held))
            loading = {model: None for models, _ in engine.running.values() for model in models}
            engine.held = {**dict.fromkeys(facts.held), **loading}
        engine.facts, engine.removed = facts, False
        self._put(engine)
        return before != (facts.alive, facts.kind, facts.has)

    def remove(self, name: str) -> None:
        """Remove an engine; its jobs stay at work until they are `stop`ped."""
        if engine := self._engines.get(name):
            if engine.running:
                self._take_out(name)
                engine.facts, engine.removed = replace(engine.facts, alive=False), True
                self._put(engine)
            else:
                self._remove(name)

    def died(self, name: str) -> None:
        """Record that an engine has to load its models again."""
        if engine := self._engines.get(name):
            self._take_out(name)
            engine.held.clear()
            self._put(engine)
            self._started(name)

    def engine_of(self, job: int) -> str:
        """Return the engine of a running job."""
        return self._where[job]

    def kind_of(self, job: int) -> str:
        """Return the kind of device that a running job is drawn on."""
        return self._engines[self._where[job]].facts.kind

    def jobs(self, name: str) -> int:
        """Return how many jobs an engine runs."""
        engine = self._engines.get(name)
        return len(engine.running) if engine else 0

    def meter_of(self, job: int) -> Meter:
        """Return what divides the time of a running job's engine."""
        return self._engines[self._where[job]].meter

    def classes_for(self, task: Task) -> Classes | None:
        """Return the classes of engines that may run a task; None for all that take jobs.

        Those of another kind of device than it wants are left out while one of its kind takes jobs,
        until one fails it. Where no engine has what it needs, none may run it as long as one is
        away that may have it; then any may, so that the job ends with what is missing.
        """
        if not (task.kind or (self._restricted and task.needs)):
            return None
        able = [
            (kind, number)
            for (kind, has), number in self._classes.items()
            if self._alive[number] and (has is None or task.needs <= has)
        ]
        if not able and sum(self._alive.values()) == len(self._engines):
            return frozenset(self._alive)
        failed = bool(self.unfit(task))
        wanted = [number for kind, number in able if kind == task.kind and not failed]
        return frozenset(wanted or [number for _, number in able])

    def lacking(self, task: Task) -> frozenset[str]:
        """Return what a task needs that an engine which takes jobs lacks: of the least lacking."""
        there = [has for (_, has), number in self._classes.items() if self._alive[number]]
        lacks = (task.needs - has if has is not None else frozenset[str]() for has in there)
        return min(lacks, key=len, default=frozenset[str]())

    def unfit(self, task: Task) -> set[str]:
        """Return the engines that failed a task, or on which a model of it does not fit."""
        found = self.avoided.get(task.job, set())
        for model in task.work.models:
            found = found | self._too_large.get(model, set())
        return found

    def too_large(self, name: str, model: str) -> None:
        """Record that a model does not fit on an engine, until that starts again."""
        self._too_large.setdefault(model, set()).add(name)

    def alike(self, name: str) -> set[str]:
        """Return the engines on the same kind of device as one, which is among them."""
        kind = self._engines[name].facts.kind
        same = {each.name for each in self._engines.values() if kind and each.facts.kind == kind}
        return {name, *same}

    def _started(self, name: str) -> None:
        self._too_large = {
            model: left for model, names in self._too_large.items() if (left := names - {name})
        }

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
        costs, model = _Costs(task, speeds), task.work.models[0]
        most = FEW if len(task.work.models) > 1 else 1
        for number in self._alive if allowed is None else allowed:
            costs.of(self._kinds[number])
            for engine in self._firsts((number, model, True), without, most):
                cost = engine.backlog(now) + costs.of(engine.facts.kind)[0]
                if cost < least and not costs.missing(engine):
                    best, least = engine.name, cost
            for engine in self._firsts((number, model, False), without, most):
                cost = engine.backlog(now) + costs.of(engine.facts.kind)[0]
                if cost < waiting and not costs.missing(engine):
                    waiting = cost
        if best is not None and least <= costs.bound():
            return Found(best, max(0.0, least - waiting))
        for engine in self._soonest(allowed, without):
            if not (missing := costs.missing(engine)):
                continue
            seconds, loads = costs.of(engine.facts.kind)
            cost = engine.backlog(now) + seconds + sum(loads[model] for model in missing)
            if cost < least:
                _, victims = engine.drawing(task.work.models)
                cost += sum(self._worth(each, speeds, engine.facts.kind) for each in victims)
            if cost < least:
                best, least = engine.name, cost
        return None if best is None else Found(best, max(0.0, least - waiting))

    def holds_with_room(self, task: Task) -> bool:
        """Whether an engine with a free slot holds the model that a task begins with."""
        return self._free_holders[task.work.models[0]] > 0

    def _firsts(
        self, line: tuple[int, str | None, bool], without: Collection[str], most: int
    ) -> list[_Engine]:
        found = self._lines.get(line)
        return found.firsts(self._engines, without, most) if found else []

    def _soonest(self, allowed: Classes | None, without: Collection[str]) -> Iterator[_Engine]:
        """Yield the engines with room that are done first, a few of each class."""
        for number in self._alive if allowed is None else allowed:
            yield from self._firsts((number, None, True), without, FEW)

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
        loads, _ = engine.drawing(models)
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
        if engine.removed and not engine.running:
            self._remove(engine.name)
        else:
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
            loads, victims = engine.drawing(models)
            needed = (model for model, loaded in zip(models, loads, strict=True) if loaded)
            cost += sum(speeds.loading(model, kind) for model in needed)
            cost += sum(self._worth(each, speeds, kind) for each in victims)
            if (cost, name) < (least, best or name):
                best, least = name, cost
        return None if best is None else Found(best)

    def _beside(self, task: Task, without: Collection[str]) -> Collection[str]:
        """Add the engines unfit for a task to those it cannot have, if others could run it."""
        avoided = self.unfit(task)
        return {*without, *avoided} if avoided and self.could_run(task, avoided) else without

    def _may(self, engine: _Engine, allowed: Classes | None) -> bool:
        return allowed is None or self._class(engine.facts.kind, engine.facts.has) in allowed

    def _worth(self, model: str, speeds: Speeds, kind: str) -> float:
        """Return the seconds that an engine's removing a model is expected to cost."""
        share = self._popular.get(model, 0.0) / self._total if self._total else 0.0
        wanted = min(1.0, share * WINDOW)
        return speeds.loading(model, kind) * wanted / max(1, self._holders[model])

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
        number = self._classes.setdefault((kind, has), len(self._classes))
        self._kinds[number] = kind
        return number

    def _put(self, engine: _Engine) -> None:
        """Enter an engine into all indexes."""
        if engine.name in self._engines:
            self._take_out(engine.name)
        facts, models = engine.facts, list(engine.held)
        engine.listed = True
        self._engines[engine.name] = engine
        self._holders.update(models)
        self._restricted = self._restricted or facts.has is not None
        if facts.alive:
            number = self._class(facts.kind, facts.has)
            self._alive[number] += 1
            for model in (None, *models):
                key = number, model, engine.free
                if key not in self._lines:
                    self._lines[key] = _Line(facts.kind, facts.has, model, free=engine.free)
                self._lines[key].push(engine, self._engines)
        if engine.free:
            self._free.add(engine.name)
            self._free_holders.update(models)

    def _take_out(self, name: str) -> None:
        """Take an engine out of the indexes, before it changes."""
        engine = self._engines.get(name)
        if engine is None or not engine.listed:
            return
        engine.listed = False
        models = list(engine.held)
        self._holders.subtract(models)
        if name in self._free:
            self._free.discard(name)
            self._free_holders.subtract(models)
        if engine.facts.alive:
            number = self._class(engine.facts.kind, engine.facts.has)
            self._alive[number] -= 1
            if not self._alive[number]:
                del self._alive[number]

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
            for engine in [each for each in self._engines.values() if not each.removed]:
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
