"""Runs the adapters of one process and delivers their replies, until it is stopped.

an adapter that fails         is started again, with back-off
… that its platform refuses   (`AdapterStopped`: a revoked token) is asked for once more; if
                              the platform refuses again it rests, with its reason in the log,
                              while the others go on, and is started again when the token works
that another process of the   stands by, with one line in the log, and takes over when that one
database runs                 is gone
told to stop                  nothing is taken in and nothing new is started; what is running
                              and what is ready to be sent has the grace time to end, and what
                              then still runs goes back to the queue, no attempt counted
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from bots.service.app import App
from bots.worker.delivery import Adapter, AdapterStopped, Delivery, TryLater, back_off
from engine.errors import MarbleError
from engine.sentences import Sentence
from storage import DatabaseFault
from storage.liveness.leadership import HELD, Leadership

RARELY: Final = 900.0  # seconds at most between two questions whether a token works again
STEADY: Final = 60.0  # seconds after which an adapter's former failures are forgotten
AWAY: Final = 60.0  # seconds after which a connection that was lost counts as a fault
NAMED: Final = 5  # connections that a fault names
LOOK: Final = 3.0  # seconds between two looks whether the process that runs an adapter is gone
KEEP: Final = 5.0  # seconds between two looks whether this one still is who runs it
RESTARTING: Final = Sentence("being_restarted")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """Describe one of an adapter's lasting connections.

    away: seconds since it was lost, None while it is there. latency: seconds that the platform
    takes to answer a sign of life; infinite until it has answered one.
    """

    name: str
    away: float | None
    latency: float


class ServedAdapter(Adapter, Protocol):
    """Connects one platform; `bots.service.serve.ADAPTERS` names its class.

    exclusive: whether only one process of a database may run it, since two would answer twice.
    """

    exclusive: bool

    async def run(self) -> None:
        """Receive what people send until cancelled.

        Raises `AdapterStopped` where the platform refuses it: `run` is called again once `check`
        passes. After any other error it is called again soon. Returns early only where there is
        nothing to receive.
        """

    def stop_intake(self) -> None:
        """Receive nothing more; `deliver` still works until `run` is cancelled."""

    def connections(self) -> Sequence[ConnectionState]:
        """Return how its lasting connections are; none where it has no such ones."""


@dataclass(slots=True)
class Service:
    """Runs adapters and delivers their replies; troubles: what is wrong, by adapter."""

    app: App
    adapters: Sequence[ServedAdapter]
    troubles: dict[str, str] = field(default_factory=dict)
    delivery: Delivery = field(init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        storage = self.app.storage
        by_name = {adapter.name: adapter for adapter in self.adapters}
        self.delivery = Delivery(storage.jobs, storage.outbox, storage.worker, by_name)
        self.delivery.elsewhere.update(a.name for a in self.adapters if a.exclusive)

    def stop(self) -> None:
        """Receive nothing more, and let `run` end in good order."""
        self._stopping.set()

    def ailing(self) -> dict[str, str]:
        """Return the adapters that do not work now, and why."""
        refused = dict.fromkeys(self.delivery.stopped, "its platform refuses it")
        return {**self._cut_off(), **refused, **self.troubles}

    def _cut_off(self) -> dict[str, str]:
        """Return the adapters with connections that do not come back, and which those are."""
        found = {}
        for adapter in self.adapters:
            away = [each.name for each in adapter.connections() if (each.away or 0.0) > AWAY]
            if away:
                named = ", ".join(away[:NAMED]) + (" …" if len(away) > NAMED else "")
                found[adapter.name] = f"{len(away)} not connected ({named})"
        return found

    async def run(self) -> None:
        """Serve until stopped; cancelled, end at once."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.delivery.run(), name="marble-delivery")]
            tasks += [
                group.create_task(self._lead(adapter), name=f"marble-{adapter.name}")
                for adapter in self.adapters
            ]
            await self._stopping.wait()
            await self._wind_down()
            for task in tasks:
                task.cancel()

    async def _lead(self, adapter: ServedAdapter) -> None:
        """Supervise an adapter, for as long as no other process of the database runs it."""
        if not adapter.exclusive:
            return await self._supervise(adapter)
        leadership = self.app.storage.leadership(adapter.name)
        while True:
            try:
                await _stand_by(adapter.name, leadership)
                self.delivery.elsewhere.discard(adapter.name)
                self.delivery.outbox.arrived.set()
                if await self._supervise_while_leading(adapter, leadership):
                    return
            finally:
                await self._hand_over(adapter.name, leadership)

    async def _supervise_while_leading(
        self, adapter: ServedAdapter, leadership: Leadership
    ) -> bool:
        """Supervise an adapter; return whether it ended by itself, not for want of the lead."""
        name = adapter.name
        running = asyncio.create_task(self._supervise(adapter), name=f"{name}-supervise")
        keeping = asyncio.create_task(_keep(name, leadership), name=f"{name}-leadership")
        try:
            await asyncio.wait([running, keeping], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
                return True
            keeping.result()
            return False
        finally:
            self.delivery.elsewhere.add(name)
            running.cancel()
            keeping.cancel()
            await asyncio.gather(running, keeping, return_exceptions=True)
            self.troubles.pop(name, None)

    async def _hand_over(self, name: str, leadership: Leadership) -> None:
        """Let another process lead once no reply is in flight, which both would edit."""
        try:
            await self.delivery.drain(name)
        finally:
            await leadership.release()

    async def _supervise(self, adapter: ServedAdapter) -> None:
        """Run an adapter again and again; while its platform refuses it, wait."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                await self._run_until_refused(adapter)
                return
            except Exception as error:
                failures = 0 if loop.time() - began > STEADY else failures
                if isinstance(error, AdapterStopped):
                    await self._rest(adapter, error, failures)
                else:
                    await self._pause(adapter, error, failures)
            failures += 1
            self.troubles.pop(adapter.name, None)

    async def _run_until_refused(self, adapter: ServedAdapter) -> None:
        """Run an adapter; raises `AdapterStopped`, too, where a delivery was refused."""
        running = asyncio.create_task(adapter.run(), name=f"{adapter.name}-run")
        refusal = asyncio.create_task(
            self.delivery.refusal(adapter.name), name=f"{adapter.name}-refusal"
        )
        try:
            await asyncio.wait([running, refusal], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise AdapterStopped(refusal.result())
            running.result()
        finally:
            running.cancel()
            refusal.cancel()
            await asyncio.gather(running, refusal, return_exceptions=True)

    async def _pause(self, adapter: ServedAdapter, error: Exception, failures: int) -> None:
        wait = back_off(failures)
        if isinstance(error, TryLater):
            wait = max(wait, error.seconds)
        self.troubles[adapter.name] = f"{type(error).__name__}: {error}"
        trace = None if isinstance(error, MarbleError) else error  # else its sentence says it
        said = f": {error}" if trace is None else ""
        log.error("%s failed and restarts in %.0f s%s", adapter.name, wait, said, exc_info=trace)
        await asyncio.sleep(wait)

    async def _rest(self, adapter: ServedAdapter, error: Exception, failures: int) -> None:
        """Ask the platform with growing pauses until it accepts the token.

        Where it does at once, only this start was refused: the next one waits all the same, since
        platforms count starts.
        """
        name, tries = adapter.name, failures
        self.troubles[name] = str(error)
        while not await self.delivery.accepts(name) and name in self.delivery.stopped:
            self.troubles[name] = self.delivery.stopped[name]
            await asyncio.sleep(back_off(tries, RARELY))
            tries += 1
        if tries == failures:
            log.warning("%s refused to start, but accepts the token: %s", name, error)
            await asyncio.sleep(back_off(failures, RARELY))
        elif name in self.delivery.stopped:
            log.warning("%s accepts Marble's token again", name)
        self.delivery.resume(name)

    async def _wind_down(self) -> None:
        """Start nothing more, and give running jobs and replies the grace time to end."""
        log.info("Marble stops after running jobs, within %d s", self.app.settings.grace_seconds)
        self.app.worker.queue.pause(RESTARTING)
        for adapter in self.adapters:
            adapter.stop_intake()
        try:
            async with asyncio.timeout(self.app.settings.grace_seconds):
                await self.app.worker.queue.idle.wait()
                # A reply whose first way is closed is due again at once, by its next.
                while await self.delivery.deliver_due() or self.delivery.in_flight:
                    await self.delivery.drain()
        except TimeoutError:
            log.info("the grace time is over; running jobs go back to the queue")


async def _stand_by(name: str, leadership: Leadership) -> None:
    """Wait until no other process of the database runs an adapter."""
    said = ""
    while True:
        try:
            if await leadership.take():
                break
            why = (
                f"another process of this database serves {name}; this one stands by, and takes "
                "over when that one is gone"
            )
        except DatabaseFault as fault:
            why = f"whether another process serves {name} is not known: {fault}"
        if why != said:
            log.warning("%s", why)
        said = why
        await asyncio.sleep(LOOK)
    if said:
        log.warning("this process serves %s from now on", name)


async def _keep(name: str, leadership: Leadership) -> None:
    """Return when another process leads, or may soon: the database was out of reach for long."""
    loop = asyncio.get_running_loop()
    known, said = loop.time(), ""
    while loop.time() < known + HELD:
        await asyncio.sleep(KEEP)
        asked = loop.time()
        try:
            async with asyncio.timeout_at(known + HELD):
                if not await leadership.keep():
                    return
        except TimeoutError:
            break
        except DatabaseFault as fault:
            if str(fault) != said:
                log.warning("%s", fault)
            said = str(fault)
        else:
            known, said = asked, ""
    log.warning("the database is out of reach for long: this process stops serving %s", name)
