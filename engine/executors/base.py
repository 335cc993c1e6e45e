"""The event loop's side of every executor: admit jobs to an engine, sort its reports by job.

A subclass implements `close`, `_admit` and `_stop`, and calls `_receive` with the engine's reports.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final

from engine.errors import Cancelled, Lost, MarbleError
from engine.events import Ended, Event, Key, Report
from engine.executors import Executor
from engine.spec import Spec

CLOSED: Final = "The engine was closed."
SLOTS: Final = 8  # jobs at once: enough for a batch, few enough that each makes progress


class QueueingExecutor(Executor, ABC):
    """Admits jobs to an engine elsewhere, and passes its reports to the callers of `run`."""

    slots = SLOTS

    def __init__(self) -> None:
        self._inboxes: dict[Key, asyncio.Queue[Event | Ended]] = {}  # of the callers of `run`
        self._waiting: deque[Spec] = deque()  # not yet admitted
        self._admitted: dict[Key, Spec] = {}  # and not yet ended
        self._closed = False
        self.on_change: Callable[[], None] = lambda: None  # called when `health` has changed

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @abstractmethod
    async def close(self) -> None:
        """End the engine and its processes; running jobs end as `Lost`."""

    @abstractmethod
    def _admit(self, spec: Spec) -> None:
        """Send a job to the engine."""

    @abstractmethod
    def _stop(self, key: Key) -> None:
        """Cancel a job in the engine."""

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        """Yield a job's events, as `Executor.run` specifies."""
        if self._closed:
            raise Lost(CLOSED, outside=True)
        key = _key(spec)
        inbox = self._inboxes[key] = asyncio.Queue()
        self._waiting.append(spec)
        self._admit_waiting()
        try:
            while not isinstance(news := await inbox.get(), Ended):
                yield news
            if news.error:
                raise news.error
        finally:
            self.cancel(*key)
            del self._inboxes[key]

    def cancel(self, job: int, epoch: int) -> None:
        """Cancel a job before its next call of the network; unknown jobs are ignored."""
        key = Key(job, epoch)
        if key in self._admitted:
            self._stop(key)
        elif key in self._inboxes:
            self._receive(Report(key, Ended(Cancelled())))

    def _receive(self, report: Report) -> None:
        """Pass a report of the engine to the job's caller."""
        if isinstance(report.news, Ended):
            self._admitted.pop(report.key, None)
            self._waiting = deque(spec for spec in self._waiting if _key(spec) != report.key)
            self._admit_waiting()
        if inbox := self._inboxes.get(report.key):
            inbox.put_nowait(report.news)

    def _lose_all(self, how: str, *, outside: bool = False) -> None:
        lost = list(self._admitted)
        for key in lost:
            error = Lost(how, alone=len(lost) == 1, outside=outside)
            self._receive(Report(key, Ended(error)))

    def _end_all(self, error: MarbleError) -> None:
        for key in list(self._inboxes):
            self._receive(Report(key, Ended(error)))

    def _admit_waiting(self) -> None:
        """Admit waiting jobs, in order, as long as they may share the engine."""
        while self._waiting and self._takes_jobs() and self._may_share(self._waiting[0]):
            spec = self._waiting.popleft()
            self._admitted[_key(spec)] = spec
            self._admit(spec)

    def _takes_jobs(self) -> bool:
        """Whether jobs can be admitted; when that changes `_admit_waiting` has to be called."""
        return True

    def _may_share(self, spec: Spec) -> bool:
        # A job during which a process died must not take other jobs with it.
        if any(other.alone for other in self._admitted.values()):
            return False
        return not (spec.alone and self._admitted)


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; raises what it ended with but its own cancellation.

    Where the caller is cancelled meanwhile, that is raised.
    """
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _key(spec: Spec) -> Key:
    return Key(spec.job, spec.epoch)
