"""Several engines that work as one: this machine's devices, or a cluster's.

Each is an executor of its own (`engine.executors:Executor`), with a name. Which one draws a job is
decided elsewhere (`engine.queue.placement`) and told by `Spec.engine`; the pool starts engines as
jobs need them, watches them, and tells a listener what each says of itself.

An engine that cannot be made, does not start, dies three times without drawing anything between, or
runs out of memory for three jobs in a row that another engine then drew, is left out: it is closed,
which frees its device, and made anew after a wait that doubles each time. The last engine that is
left is never left out, so that jobs end with its error.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from engine.errors import Lost, OutOfMemory
from engine.events import Event, Key
from engine.executors import Executor, Health
from engine.executors.base import CLOSED, QueueingExecutor, end_task
from engine.spec import Spec

log = logging.getLogger(__name__)

Make = Callable[[], Executor]
Listener = Callable[[str, Health | None], None]  # an engine's name, and None once it was removed
SHORT: Final = 1000  # jobs that are remembered for having found no memory
STRIKES: Final = 3  # deaths, or jobs that only others could draw, after which an engine is left out
FIRST: Final = 60.0  # seconds for which an engine is left out
LONGEST: Final = 3600.0
LOOK: Final = 1.0  # seconds between two looks at an engine that does not tell of changes


def left_out_for(times: int) -> float:
    """Return the seconds for which an engine is left out, the first time and each further one."""
    return min(LONGEST, FIRST * 2.0 ** (times - 1))


@dataclass(slots=True)
class _Member:
    name: str
    make: Make
    executor: Executor
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None  # once it was asked to start
    running: set[Key] = field(default_factory=set)
    restarts: int = 0  # that are counted
    before: int = 0  # restarts of the executors before this one
    strikes: int = 0
    exclusions: int = 0  # in a row
    told: tuple[bool, Health] | None = None  # to the listener: whether it takes jobs, its health
    out: bool = False

    @property
    def health(self) -> Health:
        told = self.executor.health()
        return replace(
            told,
            alive=told.alive and not self.out,
            restarts=told.restarts + self.before,
            device=told.device or self.name,
            slots=self.executor.slots,
        )


class Pool(Executor):
    """Presents several engines as one. The first has the settings' own name for its device."""

    def __init__(
        self,
        engines: Mapping[str, Make],
        grow: Callable[[str], Make] | None = None,
        wait: Callable[[int], float] = left_out_for,
    ) -> None:
        """Make a pool of engines by name.

        grow: makes engines for the devices that one tells of beside its own.
        """
        self._grow = grow
        self._wait = wait
        self._listener: Listener = lambda name, health: None
        self._members: dict[str, _Member] = {}
        self._where: dict[Key, _Member] = {}
        self._short: dict[int, set[str]] = {}  # job → engines that had no memory for it
        self._closed = False
        self._changed = asyncio.Event()  # what any engine tells
        for name, make in engines.items():
            self.add(name, make)

    async def __aexit__(self, *error: object) -> None:
        """End all engines and their processes; running jobs end as `Lost`."""
        self._closed = True
        await asyncio.gather(*(self._close(member) for member in self._members.values()))

    @property
    def slots(self) -> int:
        """Return how many jobs may run at once on all engines."""
        return sum(member.executor.slots for member in self._members.values())

    def add(self, name: str, make: Make) -> None:
        """Add an engine, which starts when jobs need it."""
        if name not in self._members:
            member = self._members[name] = _Member(name, make, make())
            self._watch(member)
            self._tell(member)

    async def remove(self, name: str) -> None:
        """End an engine for good; its jobs end as `Lost`."""
        if member := self._take_out(name):
            await self._close(member)

    def listen(self, listener: Listener) -> None:
        """Tell a listener what every engine says now, and whenever that changes."""
        self._listener = listener
        for member in self._members.values():
            self._tell(member)

    def ask(self, jobs: int) -> None:
        """Start engines, as many as there are jobs at hand; those that do not work are no help."""
        idle = [each for each in self._members.values() if each.keeper is None]
        if not idle:
            return
        asked = [each for each in self._members.values() if each.keeper]
        missing = jobs - sum(not (each.out or _is_bad(each.health)) for each in asked)
        for member in idle[: max(0, missing)]:
            name = f"marble-engine-{member.name}"
            member.keeper = asyncio.create_task(self._keep(member), name=name)

    async def ready(self) -> None:
        """Wait until an engine takes jobs, or none can be started."""
        self.ask(1)
        while not self._closed and not any(map(self._takes, self._members.values())):
            self._changed.clear()
            await self._changed.wait()

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        """Yield a job's events, as `Executor.run` specifies, from the engine that it names."""
        self.ask(1)
        member = self._members.get(spec.engine) or self._least_busy()
        key = Key(spec.job, spec.epoch)
        if member is None or member.out or self._closed:
            raise Lost(CLOSED, outside=True)
        member.running.add(key)
        self._where[key] = member
        try:
            async with aclosing(member.executor.run(spec)) as events:
                async for event in events:
                    yield event
            self._drew(member, spec.job)
        except OutOfMemory:
            self._had_no_memory(member, spec.job)
            raise
        finally:
            member.running.discard(key)
            if self._where.get(key) is member:
                del self._where[key]

    def cancel(self, job: int, epoch: int) -> None:
        """Cancel a job before its next call of the network; unknown jobs are ignored."""
        if member := self._where.get(Key(job, epoch)):
            member.executor.cancel(job, epoch)

    def health(self) -> Health:
        """Return the engines' state as one, with each engine's."""
        each = {name: member.health for name, member in self._members.items()}
        asked = [m for m in self._members.values() if m.keeper and not m.out]
        counts: Counter[str] = Counter()
        for health in each.values():
            counts.update(health.counts)
        return Health(
            alive=any(health.works for health in each.values()),
            restarts=sum(health.restarts for health in each.values()),
            failing=bool(asked) and all(each[member.name].failing for member in asked),
            pid=next((health.pid for health in each.values() if health.pid), None),
            counts=counts,
            engines=each,
        )

    def _least_busy(self) -> _Member | None:
        there = self._members.values()
        able = [each for each in there if self._takes(each)] or [e for e in there if not e.out]
        return min(able, key=lambda member: len(member.running), default=None)

    def _takes(self, member: _Member) -> bool:
        """Whether jobs may go to an engine: it works, or none does and it can say why."""
        health = member.health
        if health.works:
            return True
        says_why = member.keeper and not member.out and _is_bad(health)
        # The others are asked last: there may be many, of which none works.
        return bool(says_why) and not any(map(self._may_work, self._members.values()))

    def _may_work(self, member: _Member) -> bool:
        """Whether an engine works, or is about to, as far as is known."""
        health = member.health
        return health.works or not (member.out or health.waits or _is_bad(health))

    def _is_useless(self, member: _Member) -> bool:
        """Whether an engine is to be left out, as long as another one works."""
        health = member.health
        bad = _is_bad(health) or member.strikes >= STRIKES
        return bad and any(
            other.health.works for other in self._members.values() if other is not member
        )

    def _watch(self, member: _Member) -> None:
        if isinstance(member.executor, QueueingExecutor):
            member.executor.on_change = member.changed.set

    def _look(self, member: _Member) -> None:
        """Count an engine's deaths, tell the listener what it says, and add what is beside it."""
        told = member.executor.health()
        member.strikes += max(0, told.restarts - member.restarts)
        member.restarts = told.restarts
        if self._grow:
            for name in told.beside:
                self.add(name, self._grow(name))
        if _is_bad(told):  # another one may work
            self.ask(1)
        now = self._takes(member), member.health
        if now[0] != (member.told and member.told[0]):
            self._tell_all()  # whether jobs may go to one hangs on the others, too
        elif now != member.told:
            self._tell(member)

    def _take_out(self, name: str) -> _Member | None:
        """Return an engine that is to be closed, if it is there; another may have its name now."""
        if member := self._members.pop(name, None):
            self._listener(name, None)
        return member

    def _is_ours(self, member: _Member) -> bool:
        return not self._closed and self._members.get(member.name) is member

    def _tell(self, member: _Member) -> None:
        if self._is_ours(member):
            takes, health = member.told = self._takes(member), member.health
            # What one that does not work has is not known: a job hears from it why it does not.
            has = health.has if health.works else None
            self._listener(member.name, replace(health, alive=takes, has=has))
            self._changed.set()

    def _tell_all(self) -> None:
        for member in list(self._members.values()):
            self._tell(member)

    def _drew(self, member: _Member, job: int) -> None:
        """Count that an engine drew a job, and that others had no memory for it."""
        member.strikes = member.exclusions = 0
        for name in self._short.pop(job, set()) - {member.name}:
            if other := self._members.get(name):
                other.strikes += 1
                other.changed.set()

    def _had_no_memory(self, member: _Member, job: int) -> None:
        self._short[job] = self._short.pop(job, set()) | {member.name}
        if len(self._short) > SHORT:  # most of them ended some other way
            del self._short[next(iter(self._short))]

    async def _keep(self, member: _Member) -> None:
        """Keep an engine running, and leave it out while it is of no use."""
        while self._is_ours(member):
            if not member.executor.health().failing:  # otherwise only a job starts it again
                with suppress(TimeoutError):  # it may be restarted often before it is ready
                    async with asyncio.timeout(LOOK):
                        await member.executor.ready()
            self._look(member)
            if self._is_useless(member):
                await self._leave_out(member)
                continue
            tells = isinstance(member.executor, QueueingExecutor) and member.health.works
            with suppress(TimeoutError):
                async with asyncio.timeout(None if tells else LOOK):
                    await member.changed.wait()
            member.changed.clear()
            self._look(member)

    async def _leave_out(self, member: _Member) -> None:
        """Close an engine, and make it anew after a while."""
        health = member.executor.health()
        member.exclusions += 1
        wait = self._wait(member.exclusions)
        why = health.fault or ("it does not start" if health.failing else "jobs keep failing there")
        log.error("the engine %s is left out for %.0f s: %s", member.name, wait, why)
        member.out = True
        self._tell_all()
        await member.executor.__aexit__(None, None, None)
        await asyncio.sleep(wait)
        member.before += health.restarts
        member.executor, member.restarts, member.strikes = member.make(), 0, 0
        self._watch(member)
        member.out = False

    async def _close(self, member: _Member) -> None:
        if member.keeper:
            await end_task(member.keeper)
        await member.executor.__aexit__(None, None, None)
        self._changed.set()


def _is_bad(health: Health) -> bool:
    return health.failing or bool(health.fault)
