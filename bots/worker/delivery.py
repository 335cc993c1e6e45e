"""Delivers replies from the outbox: tries, back-off, fallbacks, and exactly one reply a job.

A reply is taken from the outbox, sent by its adapter, and recorded. An adapter has one or more
ways to send, best first: edit the placeholder, else a new message, else words alone. What it
raises says what happens next:

    TryLater        the platform said when: wait so long; no try is lost, no other chat waits
    OSError, TimeoutError   the network: back off and try again, for as long as it takes; once a
                    reply of that adapter arrives, those that wait for the network are due at once
    UnknownAnswer   an answer whose meaning nobody knows: back off, after `UNKNOWN` tries next way
    WayClosed       this way will never work (an expired token, a deleted placeholder): next way
    Undeliverable   no way will (the chat is gone): the reply is closed, its job stays rendered
    AdapterStopped  the token is refused: the platform is asked again, and if it says so a second
                    time this adapter rests until the token works; else as `UnknownAnswer`
    anything else   a mistake: back off, and after `TRIES` tries the next way

Only what the platform itself says, in a form and with a code that are known, is a verdict. A page
of a proxy, or of whatever else stands between, is the network's.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from engine.errors import MarbleError
from storage import DatabaseFault, Jobs, Outbox, PendingReply, StorageError
from storage.jobs.workers import WorkerProcess

TRIES: Final = 5  # failures of one way that are no fault of the network
UNKNOWN: Final = 100  # answers to one way that mean nothing known: about half an hour
FIRST: Final = 1.0  # seconds of back-off, doubled with each try
LONGEST: Final = 20.0
SEND: Final = 120.0  # seconds that one try may take
ASK: Final = 60.0  # seconds that it may take to ask whether the token works
LOOK: Final = 1.0  # seconds between looks for replies that other processes left
AT_ONCE: Final = 16  # replies in flight for one adapter
_log: Final = logging.getLogger("marble.delivery")

Shown = Mapping[str, int | None]  # message id → index of the one picture it shows, or None


@dataclass(frozen=True, slots=True)
class Way:
    """One way to send; `repeatable`: sent twice, it leaves one reply."""

    name: str
    repeatable: bool


class Adapter(Protocol):
    """Sends replies to one platform."""

    name: str
    ways: Sequence[Way]

    async def deliver(self, pending: PendingReply, way: Way) -> Shown:
        """Send a reply and return the messages that show it, or raise as the module says."""

    async def check(self) -> None:
        """Ask the platform whether the token is valid.

        Raises `AdapterStopped` where the platform itself says no; after any other error the answer
        is not known.
        """


class TryLater(MarbleError):
    """The platform asks to wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"asked to wait {seconds:g} s")


class UnknownAnswer(MarbleError):
    """The platform's answer is of no known kind."""


class WayClosed(MarbleError):
    """This way will not work for this reply."""


class Undeliverable(MarbleError):
    """No way will work for this reply."""


class AdapterStopped(MarbleError):
    """The platform refuses this adapter altogether."""


@dataclass(slots=True)
class Delivery:
    """Deliver replies that are due, for as long as `run` runs."""

    jobs: Jobs
    outbox: Outbox
    process: WorkerProcess
    adapters: Mapping[str, Adapter]
    delivered: int = 0
    abandoned: int = 0
    waits: int = 0  # times that a platform asked to wait
    possible_duplicates: int = 0  # sent again though an unrepeatable send may have arrived
    # The adapters of the replies that the network failed, by job; None: was made due early once.
    _unreached: dict[int, str | None] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)  # adapters that are refused, and why
    elsewhere: set[str] = field(default_factory=set)  # adapters that another process may run
    _refusals: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    in_flight: dict[int, tuple[PendingReply, asyncio.Task[bool]]] = field(default_factory=dict)
    _more: dict[str, bool] = field(
        default_factory=dict
    )  # whether an adapter's latest listing was full

    async def run(self) -> None:
        """Deliver until cancelled; replies in flight are then cut off, see `drain`."""
        try:
            while True:
                await self.deliver_due()
                with suppress(TimeoutError):  # a new reply, a free place, or the next look
                    async with asyncio.timeout(LOOK):
                        await self.outbox.arrived.wait()
                self.outbox.arrived.clear()
        finally:
            for _, task in self.in_flight.values():
                task.cancel()
            await self.drain()

    async def deliver_due(self) -> int:
        """Start every delivery that is due and has room; return how many were started."""
        started = 0
        for name in self.adapters.keys() - self.stopped.keys() - self.elsewhere:
            room = AT_ONCE - sum(pending.adapter == name for pending, _ in self.in_flight.values())
            if not room:
                continue
            try:
                due = await self.outbox.list_due([name], room, self.in_flight)
            except StorageError as error:
                _log.error("The outbox cannot be read: %s", error)
                return started
            self._more[name] = len(due) == room
            # Another caller may have started some of them meanwhile.
            waiting = [pending for pending in due if pending.job.id not in self.in_flight]
            for pending in waiting:
                self._start(pending)
            started += len(waiting)
        return started

    async def drain(self, *adapters: str) -> None:
        """Wait for the deliveries that are in flight, of some adapters or of all."""
        names = adapters or self.adapters
        while tasks := [task for reply, task in self.in_flight.values() if reply.adapter in names]:
            await asyncio.gather(*tasks, return_exceptions=True)

    def resume(self, adapter: str) -> None:
        """Deliver an adapter's replies again."""
        self.stopped.pop(adapter, None)
        self._refusals[adapter].clear()
        self.outbox.arrived.set()

    def stop(self, adapter: str, reason: str) -> None:
        """Hold back an adapter's replies until it is resumed, and log it."""
        if adapter not in self.stopped:
            self._refusals[adapter].set()
            _log.critical(
                "%s refuses Marble: %s. Its replies wait, and it is asked again now and then.",
                adapter,
                reason,
            )
        self.stopped[adapter] = reason

    async def refusal(self, adapter: str) -> str:
        """Wait until an adapter is stopped; return why."""
        await self._refusals[adapter].wait()
        return self.stopped[adapter]

    async def accepts(self, adapter: str) -> bool:
        """Ask a platform whether it accepts the token; False where it cannot be asked, too.

        An adapter whose token is refused is stopped.
        """
        try:
            async with asyncio.timeout(ASK):
                await self.adapters[adapter].check()
            return True
        except AdapterStopped as error:
            self.stop(adapter, str(error))
        except Exception as error:
            _log.warning("%s could not be asked about its token: %s", adapter, error)
        return False

    def _start(self, pending: PendingReply) -> None:
        job = pending.job.id
        task = asyncio.create_task(self._deliver(pending), name=f"deliver-{job}")
        self.in_flight[job] = (pending, task)
        task.add_done_callback(lambda done: self._land(job, done))

    def _land(self, job: int, done: asyncio.Task[bool]) -> None:
        pending, _ = self.in_flight.pop(job)
        if done.cancelled():
            return
        if error := done.exception():
            # The database failed: the reply is still in the outbox, and found again.
            _log.error("The delivery of job %d was not recorded: %s", job, error)
        elif done.result() and not self._more[pending.adapter]:
            return
        self.outbox.arrived.set()

    async def _deliver(self, pending: PendingReply) -> bool:
        """Try one way; return whether the reply arrived: else another way may be due at once."""
        adapter, job = self.adapters[pending.adapter], pending.job.id
        if pending.way >= len(adapter.ways):
            await self._abandon(pending, "no way is left")
            return False
        if not await self.process.claim_reply(job, pending.way):
            return False
        way = adapter.ways[pending.way]
        if pending.sending and not way.repeatable:
            self.possible_duplicates += 1
            _log.warning("The reply of job %d is sent again, though it may have arrived", job)
        try:
            async with asyncio.timeout(SEND):
                shown = await adapter.deliver(pending, way)
        except Exception as error:
            await self._after(error, pending, way)
            return False
        await self._record(job, shown)
        self.delivered += 1
        await self._hasten(pending)
        return True

    async def _record(self, job: int, shown: Shown) -> None:
        """Record a reply that arrived: while the database fails, hold on to it, never resend."""
        while True:
            try:
                await self.jobs.delivered(job, shown)
                return
            except DatabaseFault as error:
                if not error.passing:
                    raise
                _log.error("Job %d was delivered, which cannot be recorded yet: %s", job, error)

    async def _hasten(self, arrived: PendingReply) -> None:
        """Retry the replies that waited for the network, which works again.

        Each reply is retried once: one that fails for another reason keeps its backoff.
        """
        self._unreached.pop(arrived.job.id, None)
        due = [job for job, adapter in self._unreached.items() if adapter == arrived.adapter]
        if due:
            await self.outbox.hasten(due)
            self.outbox.arrived.set()
            self._unreached.update(dict.fromkeys(due))

    async def _after(self, error: Exception, pending: PendingReply, way: Way) -> None:
        job, reason = pending.job.id, f"{way.name}: {error or type(error).__name__}"
        match error:
            case TryLater():
                self.waits += 1
                await self.outbox.postpone(job, error.seconds, reason, failed=False)
            case DatabaseFault():  # nothing was sent: what it shows cannot be read now
                _log.warning("The reply of job %d waits: %s", job, error)
                await self.outbox.postpone(job, back_off(pending.tries), reason)
            case OSError() | TimeoutError():
                # It may have arrived: the answer is what got lost.
                self._unreached.setdefault(job, pending.adapter)
                wait = back_off(pending.tries)
                await self.outbox.postpone(job, wait, reason, unknown=True)
            case WayClosed():
                await self.outbox.next_way(job, reason)
            case Undeliverable():
                await self._abandon(pending, reason)
            case AdapterStopped():
                await self._refused(pending, reason)
            case UnknownAnswer():
                _log.warning("Job %d: an unknown answer (%s)", job, reason)
                await self._again(pending, reason, UNKNOWN)
            case _:
                _log.exception("Job %d could not be delivered (%s)", job, way.name, exc_info=error)
                await self._again(pending, reason, TRIES)

    async def _again(self, pending: PendingReply, reason: str, tries: int) -> None:
        if pending.tries + 1 < tries:
            await self.outbox.postpone(pending.job.id, back_off(pending.tries), reason)
        else:
            await self.outbox.next_way(pending.job.id, reason)

    async def _refused(self, pending: PendingReply, reason: str) -> None:
        """Stop an adapter whose platform refuses the token twice."""
        if pending.adapter not in self.stopped:
            await self.accepts(pending.adapter)
        if pending.adapter in self.stopped:
            await self.outbox.postpone(pending.job.id, 0, reason, failed=False)
        else:  # the token works, and another way may, too
            await self._again(pending, reason, UNKNOWN)

    async def _abandon(self, pending: PendingReply, reason: str) -> None:
        await self.outbox.abandon(pending.job.id, reason)
        self._unreached.pop(pending.job.id, None)
        self.abandoned += 1
        _log.error("The reply of job %d cannot be delivered: %s", pending.job.id, reason)


def back_off(tries: int, longest: float = LONGEST) -> float:
    """Return seconds that double with each try, spread so that not all come back at once."""
    return min(FIRST * 2.0 ** min(tries, 10), longest) * random.uniform(0.75, 1.25)
