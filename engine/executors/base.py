"""What every executor does on the event loop's side: hand jobs over, sort reports by job.

An executor of one's own says in `_admit`, `_withdraw` and `_report` how jobs reach its engine.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from engine.errors import Cancelled, Lost, MarbleError
from engine.events import Ended, Event, Key, Report
from engine.executors import Health, ManagedExecutor
from engine.spec import Spec

log = logging.getLogger(__name__)

CLOSED: Final = "The engine was closed."
SLOTS: Final = 8  # jobs at once: enough for a batch, few enough that each still moves


@dataclass(slots=True, eq=False)
class _Client:
    """Hold one job that somebody waits for here."""

    spec: Spec
    inbox: asyncio.Queue[Event | Ended]


class QueueingExecutor(ManagedExecutor, ABC):
    """Pass jobs on to an engine elsewhere and its reports back, each to whom it concerns.

    Leave it with `async with`: what is at work then ends as lost.
    """

    slots = SLOTS

    def __init__(self) -> None:
        self._clients: dict[Key, _Client] = {}
        self._held: deque[_Client] = deque()  # not yet passed on
        self._passed: dict[Key, Spec] = {}  # passed on, and not yet ended
        self._counts: Mapping[str, int] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @abstractmethod
    async def start(self) -> None:
        """Get ready before the first job; without it the first job waits."""

    @abstractmethod
    async def ready(self) -> None:
        """Wait until jobs that are passed on are begun at once, or that is known not to come."""

    @abstractmethod
    async def close(self) -> None:
        """End the engine and everything that belongs to it."""

    @abstractmethod
    def health(self) -> Health:
        """Return how the engine is."""

    @abstractmethod
    def _admit(self, spec: Spec) -> None:
        """Pass a job on to the engine."""

    @abstractmethod
    def _withdraw(self, key: Key) -> None:
        """Ask the engine to stop a job that was passed on."""

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        """Yield a job's events as they happen, as `Executor.run` promises."""
        key = Key(spec.job, spec.epoch)
        client = self._clients[key] = _Client(spec, asyncio.Queue())
        self._held.append(client)
        self._pass_on()
        try:
            while not isinstance(news := await client.inbox.get(), Ended):
                yield news
            if news.error:
                raise news.error
        finally:
            self.cancel(*key)
            del self._clients[key]

    def cancel(self, job: int, epoch: int) -> None:
        """Ask for a running job to stop before its next call of the U-Net."""
        key = Key(job, epoch)
        if key in self._passed:
            self._withdraw(key)
        elif key in self._clients:
            self._receive(Report(key, Ended(Cancelled())))

    async def drain(self, seconds: float) -> bool:
        """Wait for the jobs at work to end; return whether they did in that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _receive(self, report: Report) -> None:
        """Take in what the engine reports."""
        if isinstance(report.news, Ended):
            self._passed.pop(report.key, None)
            self._held = deque(each for each in self._held if _key(each.spec) != report.key)
            self._pass_on()
        if client := self._clients.get(report.key):
            client.inbox.put_nowait(report.news)

    def _lose_all(self, how: str) -> None:
        """End all jobs that were passed on as lost."""
        lost = list(self._passed)
        for key in lost:
            self._receive(Report(key, Ended(Lost(how, alone=len(lost) == 1))))

    def _end_all(self, error: MarbleError) -> None:
        """End all jobs that somebody waits for, passed on or not."""
        for key in list(self._clients):
            self._receive(Report(key, Ended(error)))

    def _pass_on(self) -> None:
        """Pass held jobs on, in order, as long as they may share the engine."""
        while self._held and not self._hold() and self._may_pass(self._held[0].spec):
            spec = self._held.popleft().spec
            self._passed[_key(spec)] = spec
            self._admit(spec)
        if self._held or self._passed:
            self._idle.clear()
        else:
            self._idle.set()

    def _hold(self) -> bool:
        """Say whether the engine takes no job yet; `_pass_on` is called again when it does."""
        return False

    def _may_pass(self, spec: Spec) -> bool:
        # A job that took a worker with it before must not take others' work with it again.
        if any(other.alone for other in self._passed.values()):
            return False
        return not (spec.alone and self._passed)


def _key(spec: Spec) -> Key:
    return Key(spec.job, spec.epoch)
