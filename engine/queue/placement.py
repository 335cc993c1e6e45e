"""Where a job runs: which engine costs it least.

The order of the queue says whose turn it is (`engine.queue.order`); this says where. An engine that
may run a job and has a free slot costs it, in seconds:

    what the engine still has to do, as estimated
    + loading the job's models there, where they are not held, at the speed of that kind of device
    + what is lost by removing the models that were used least recently, as many as have to go for
      it: each one's loading time × the chance that one of the next jobs wants it, divided by the
      engines that hold it (`engine.queue.costs`)
    + the job itself, at the speed of that kind of device

and the least wins. So a job goes where its model is, until what waits there outweighs loading it
somewhere else: popular models spread. What a rare model removes is what is needed least, or held
elsewhere too, so it does not push the popular ones out everywhere. Where an engine that holds the
model is full and would still cost less, the job may wait for it (`engine.queue.order`).

Engines of one kind of device lie in heaps by the time when they will be done, `engine.queue.lines`:
for each model those that hold it, and all. A job is compared with the first that holds its model
and with a few of all, so a thousand engines cost hardly more than ten.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from heapq import nsmallest
from operator import attrgetter
from typing import Final

from engine.queue.classes import Classes, Numbers
from engine.queue.costs import Costs, Popularity
from engine.queue.engines import IDLE, Engine, Facts
from engine.queue.estimates import Speeds
from engine.queue.lines import Line
from engine.queue.meter import Meter
from engine.queue.tasks import Task

FEW: Final = 8  # engines of a kind that a job is compared with where its model is not held
UNTOLD: Final = Facts(slots=0, alive=False)  # by an engine that is new


@dataclass(frozen=True, slots=True)
class Found:
    """An engine with room for a task; better: by how many seconds it costs less to wait for a full
    one.
    """

    engine: str
    better: float = 0.0


class Placement:
    """The engines of one queue. Times are in seconds, of the queue's clock.

    Until the first `put` there is one engine, called "", whose slots `resize` tells.
    """

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}
        self._where: dict[int, str] = {}  # running job → engine
        self._free: set[str] = set()  # engines with a free slot
        self._classes = Classes()
        # By kind, model held (None: any or none), and whether they have a free slot.
        self._lines: dict[tuple[str, str | None, bool], Line] = {}
        self._holders: Counter[str] = Counter()  # engines that hold a model
        self._free_holders: Counter[str] = Counter()  # those of them with a free slot
        self._popularity = Popularity()
        self.avoided: dict[int, set[str]] = {}  # job → engines that failed it
        self._too_large: dict[str, set[str]] = {}  # model → engines on which it does not fit
        self._record(Engine("", UNTOLD), Facts(slots=0))

    def copy(self) -> Placement:
        """Return an independent copy."""
        twin = copy.copy(self)
        twin._engines = {name: engine.copy() for name, engine in self._engines.items()}
        twin._where, twin._free = dict(self._where), set(self._free)
        twin._classes = self._classes.copy()
        twin._lines = {key: line.copy() for key, line in self._lines.items()}
        twin._holders, twin._free_holders = Counter(self._holders), Counter(self._free_holders)
        twin._popularity = self._popularity.copy()
        twin.avoided = {job: set(names) for job, names in self.avoided.items()}
        twin._too_large = {model: set(names) for model, names in self._too_large.items()}
        return twin

    def __len__(self) -> int:
        """Return how many engines there are, whether they take jobs or not."""
        return len(self._engines)

    @property
    def several(self) -> bool:
        """Whether engines were put here, so that there may be several."""
        return "" not in self._engines

    @property
    def has_room(self) -> bool:
        """Whether any engine has a free slot."""
        return bool(self._free)

    def has_room_beside(self, reserved: Collection[str]) -> bool:
        """Whether any other engine has a free slot."""
        return len(self._free) > sum(name in self._free for name in reserved)

    def may_be_starting(self, kind: str) -> bool:
        """Whether no engine of a kind takes jobs, though others do, and one that starts may be."""
        return self._classes.may_be_starting(kind)

    def resize(self, slots: int) -> None:
        """Set the slots of the one engine that nobody put here."""
        if (only := self._engines.get("")) and only.facts.slots != slots:
            self._unlist(only)
            only.facts = replace(only.facts, slots=slots)
            self._list(only)

    def put(self, name: str, facts: Facts) -> bool:
        """Add an engine, or record what it tells now; return whether more jobs may run there."""
        self._remove("")
        engine = self._engines.get(name) or Engine(name, UNTOLD)
        before, known = engine.facts, name in self._engines
        self._unlist(engine)
        if facts.alive and not before.alive:
            self._started(name)
        if facts.held is not None and facts.alive:
            engine.room = max(engine.room or 0, len(facts.held))
            loading = {model: None for models, _ in engine.running.values() for model in models}
            engine.held = {**dict.fromkeys(facts.held), **loading}
        self._record(engine, facts)
        self._list(engine)
        other = replace(before, slots=facts.slots, held=facts.held) != facts
        return not known or other or facts.slots > before.slots

    def remove(self, name: str) -> None:
        """Remove an engine; its jobs stay at work until they are `stop`ped."""
        engine = self._engines.get(name)
        if engine and engine.running:
            self._unlist(engine)
            self._record(engine, replace(engine.facts, alive=False, starting=False), removed=True)
            self._list(engine)
        else:
            self._remove(name)

    def died(self, name: str) -> None:
        """Record that an engine has to load its models again."""
        if engine := self._engines.get(name):
            self._unlist(engine)
            engine.held.clear()
            self._list(engine)
            self._started(name)

    def revive(self) -> None:
        """Take it, for a look ahead, that nothing starts, and that all take jobs if none does."""
        none = not any(each.facts.alive and each.facts.slots for each in self._engines.values())
        for engine in self._engines.values():
            facts = replace(engine.facts, starting=False)
            if none and not engine.removed:
                facts = replace(facts, alive=True, slots=max(1, facts.slots))
            if facts != engine.facts:
                self._unlist(engine)
                self._record(engine, facts)
                self._list(engine)

    def facts(self, name: str) -> Facts:
        """Return what an engine told last."""
        return self._engines[name].facts

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

    def classes_for(self, task: Task) -> Numbers | None:
        """Return the classes of engines that may run a task (`Classes.able`); None for all.

        The kind of device that it wants counts until an engine fails it, or its models do not fit
        on any engine of that kind.
        """
        wanted = self._classes.able(task.kind, task.needs)
        if task.kind and (task.job in self.avoided or self._none_fits(task, wanted)):
            return self._classes.able("", task.needs)
        return wanted

    def _none_fits(self, task: Task, classes: Numbers | None) -> bool:
        """Whether a task's models fit on no engine of these classes, of which there are some."""
        if not classes or not (unfit := self.unfit(task)):
            return False
        able = (each for each in self._engines.values() if each.number in classes)
        return all(each.name in unfit for each in able if each.facts.alive)

    def lacking(self, task: Task) -> frozenset[str]:
        """Return what a task needs that an engine which takes jobs lacks: of the least lacking."""
        return self._classes.lacking(task.needs)

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

    def could_run(self, task: Task, without: Collection[str]) -> bool:
        """Whether an engine that takes jobs could run a task, full or not, beside those named."""
        may = self._may(task, without)
        return any(engine.facts.alive and may(engine) for engine in self._engines.values())

    def find(
        self, task: Task, speeds: Speeds, now: float, without: Collection[str] = ()
    ) -> Found | None:
        """Return the engine with room on which a task costs least, or None where none has room."""
        may, models = self._may(task, self._beside(task, without)), task.work.models
        if task.alone:
            return self._find_empty(task, speeds, may)
        best, least, waiting = None, float("inf"), float("inf")
        costs, most = Costs(task, speeds), FEW if len(models) > 1 else 1
        for kind in self._classes.kinds:
            own, _ = costs.of(kind)
            for engine in self._firsts((kind, models[0], True), may, most):
                if engine.backlog(now) + own < least and not engine.missing(models):
                    best, least = engine.name, engine.backlog(now) + own
            for engine in self._firsts((kind, models[0], False), may, most):
                if engine.backlog(now) + own < waiting and not engine.missing(models):
                    waiting = engine.backlog(now) + own
        if best is not None and least <= costs.least_with_loading():
            return Found(best, max(0.0, least - waiting))
        for engine in self._soonest(may, anyway=best is None):
            if not (missing := engine.missing(models)):
                continue
            own, loads = costs.of(engine.facts.kind)
            cost = engine.backlog(now) + own + sum(loads[model] for model in missing)
            if cost < least:
                cost += self._loss(engine, models, speeds)
            if cost < least:
                best, least = engine.name, cost
        return None if best is None else Found(best, max(0.0, least - waiting))

    def _find_empty(
        self, task: Task, speeds: Speeds, may: Callable[[Engine], bool]
    ) -> Found | None:
        """Return the engine without jobs on which a task costs least."""
        costs, models = Costs(task, speeds), task.work.models
        best, least = None, float("inf")
        for name in self._free:
            engine = self._engines[name]
            if engine.running or not may(engine):
                continue
            own, loads = costs.of(engine.facts.kind)
            cost = own + sum(loads[model] for model in engine.missing(models))
            cost += self._loss(engine, models, speeds)
            if (cost, name) < (least, best or name):
                best, least = name, cost
        return None if best is None else Found(best)

    def holds_with_room(self, task: Task) -> bool:
        """Whether an engine with a free slot holds the model that a task begins with."""
        return self._free_holders[task.work.models[0]] > 0

    def reserve(self, task: Task, without: Collection[str]) -> str | None:
        """Return the engine that will be empty first for a task that must have one to itself."""
        may = self._may(task, self._beside(task, without))
        able = [each for each in self._engines.values() if each.facts.alive and may(each)]
        return min(able, key=attrgetter("busy_until")).name if able else None

    def start(self, task: Task, name: str, seconds: float, now: float) -> tuple[bool, ...]:
        """Put a task to work on an engine; return for each of its models whether it has to load it.

        seconds: estimated, without loading.
        """
        engine, models = self._engines[name], task.work.models
        self._unlist(engine)
        loads, _ = engine.drawing(models)
        for model in models:
            engine.hold(model)
            self._popularity.count(model)
        engine.running[task.job] = models, seconds
        engine.alone = task.alone
        engine.meter.start(task.job, task.work.width, now)
        engine.busy_until = max(now, engine.busy_until) + seconds
        self._where[task.job] = name
        self._list(engine)
        return loads

    def add_loading(self, job: int, seconds: float) -> None:
        """Add the seconds of loading to what a job's engine has to do."""
        if seconds:
            engine = self._engines[self._where[job]]
            self._unlist(engine)
            models, own = engine.running[job]
            engine.running[job] = models, own + seconds
            engine.busy_until += seconds
            self._list(engine)

    def stop(self, job: int, now: float, lost: Collection[str] = ()) -> float:
        """End a job's work; return the seconds of its engine that it used.

        lost: models that may not have been loaded.
        """
        engine = self._engines[self._where.pop(job)]
        self._unlist(engine)
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
            self._list(engine)
        return used

    def frees(self, name: str, kind: str, needs: frozenset[str], models: tuple[str, ...]) -> bool:
        """Whether an engine has room, and may run a job that wants a kind and needs files.

        Where a model of it does not fit on some engine this may be said of too many.
        """
        engine = self._engines.get(name)
        if engine is None or not engine.free:
            return False
        if not self._too_large.keys().isdisjoint(models):
            return True
        able = self._classes.able(kind, needs)
        return able is None or engine.number in able

    def _may(self, task: Task, without: Collection[str]) -> Callable[[Engine], bool]:
        """Return whether an engine that takes jobs may run a task; without: those that may not."""
        allowed = self.classes_for(task)
        if allowed is None:
            return lambda engine: engine.name not in without
        return lambda engine: engine.number in allowed and engine.name not in without

    def _beside(self, task: Task, without: Collection[str]) -> Collection[str]:
        """Add the engines unfit for a task to those it cannot have, if others could run it."""
        avoided = self.unfit(task)
        return {*without, *avoided} if avoided and self.could_run(task, avoided) else without

    def _firsts(
        self, line: tuple[str, str | None, bool], may: Callable[[Engine], bool], most: int
    ) -> list[Engine]:
        found = self._lines.get(line)
        return found.firsts(self._engines, may, most) if found else []

    def _soonest(self, may: Callable[[Engine], bool], *, anyway: bool) -> list[Engine]:
        """Return the engines with room that are done first, a few of each kind.

        anyway: look at all where those that are done first may not run the task.
        """
        if len(self._free) > FEW:
            lines = ((kind, None, True) for kind in self._classes.kinds)
            found = [engine for line in lines for engine in self._firsts(line, may, FEW)]
            if found or not anyway:
                return found
        free = (self._engines[name] for name in self._free)
        return nsmallest(FEW, filter(may, free), key=attrgetter("entry"))

    def _loss(self, engine: Engine, models: tuple[str, ...], speeds: Speeds) -> float:
        """Return the seconds that removing models for others is expected to cost."""
        kind, total = engine.facts.kind, 0.0
        for model in engine.drawing(models)[1]:
            seconds = speeds.loading(model, kind) * self._popularity.chance(model)
            total += seconds / max(1, self._holders[model])
        return total

    def _started(self, name: str) -> None:
        self._too_large = {
            model: left for model, names in self._too_large.items() if (left := names - {name})
        }

    def _record(self, engine: Engine, facts: Facts, *, removed: bool = False) -> None:
        """Replace what an engine told; its class and what follows from that change with it."""
        before, engine.facts = engine.facts, facts
        was, engine.removed = engine.removed, removed
        if engine.name in self._engines:
            if was is removed and replace(before, slots=facts.slots, held=facts.held) == facts:
                return
            self._classes.remove(engine, before)
        self._engines[engine.name] = engine
        self._classes.add(engine)

    def _list(self, engine: Engine) -> None:
        """Enter an engine into the indexes."""
        facts, models = engine.facts, list(engine.held)
        self._holders.update(models)
        if facts.alive:
            for model in (None, *models):
                key = facts.kind, model, engine.free
                if key not in self._lines:
                    self._lines[key] = Line(facts.kind, model, free=engine.free)
                self._lines[key].push(engine, self._engines)
        if engine.free:
            self._free.add(engine.name)
            self._free_holders.update(models)

    def _unlist(self, engine: Engine) -> None:
        """Take an engine out of the indexes, before it changes."""
        if engine.name in self._engines:
            self._holders.subtract(list(engine.held))
            if engine.name in self._free:
                self._free.discard(engine.name)
                self._free_holders.subtract(list(engine.held))

    def _remove(self, name: str) -> None:
        if engine := self._engines.get(name):
            self._unlist(engine)
            self._classes.remove(engine, engine.facts)
            del self._engines[name]
