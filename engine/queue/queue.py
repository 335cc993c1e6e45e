"""The asyncio queue: jobs wait here until they are next and a slot is free.

    queue = Queue(lambda: executor.slots)
    with queue.reserve(person):                # raises UserError if there is no room
        job = ...                              # commit it
        queue.submit(Task(job=job.id, person=person, work=work_of(recipe)))
    task = await queue.next()                  # it now counts as running
    ...
    queue.done(task.job)                       # however it ended

The order is decided in `engine.queue.order`; this module adds the clock and the waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from engine.queue.estimates import Speeds
from engine.queue.order import Order
from engine.queue.tasks import Forecast, Limits, Task

SLICE: Final = 50  # forecasts between two yields to the event loop


async def at_once() -> None:
    """Return at once."""


class Queue:
    """Starts jobs in fair order; slots: returns how many may run at once.

    ready: awaited before each job is started.
    """

    def __init__(
        self,
        slots: Callable[[], int],
        limits: Limits | None = None,
        speeds: Speeds | None = None,
        clock: Callable[[], float] = time.monotonic,
        ready: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self._order = Order(limits, speeds)
        self._slots = slots
        self._clock = clock
        self._ready = ready
        self._retry = asyncio.Event()  # a job may start
        self._changed = asyncio.Event()  # forecasts may have changed
        self._idle = asyncio.Event()  # no job runs
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Return how many jobs wait."""
        return self._order.waiting

    @property
    def running(self) -> int:
        """Return how many jobs run."""
        return self._order.running

    @property
    def reason(self) -> str | None:
        """Return why nothing starts, or None when the queue is not paused."""
        return self._order.reason

    @property
    def speeds(self) -> Speeds:
        """Return the measured speeds, which may be updated by others, too."""
        return self._order.speeds

    def is_waiting(self, job: int) -> bool:
        """Whether a job waits."""
        return self._order.is_waiting(job)

    @contextmanager
    def reserve(self, person: str) -> Iterator[None]:
        """Reserve room while a job is committed; raises `UserError` where too many wait."""
        self._order.reserve(person)
        try:
            yield
        finally:
            self._order.release(person)

    def submit(self, task: Task) -> None:
        """Add a committed job; a job that is already here is left unchanged."""
        self._order.submit(task)
        self._notify()

    async def next(self) -> Task:
        """Wait until a job may start, and start it."""
        while True:
            if self._order.wants(self._slots()):
                await self._ready()
                if task := self._order.choose(self._clock(), self._slots()):
                    self._changed.set()
                    self._idle.clear()
                    return task
            self._retry.clear()
            await self._retry.wait()

    def drawing_began(self, job: int, *, loaded: bool) -> None:
        """Record that a job's model is there; loaded: it was loaded for this job."""
        self._order.drawing_began(job, self._clock(), loaded=loaded)

    def decoding_began(self, job: int) -> None:
        """Record that a job's steps are done."""
        self._order.decoding_began(job, self._clock())

    def engine_died(self) -> None:
        """Record that all models have to be loaded again."""
        self._order.engine_died()

    def done(self, job: int, *, finished: bool = True) -> None:
        """End a running job; finished: all its work was done."""
        self._order.done(job, self._clock(), finished=finished)
        if not self.running:
            self._idle.set()
        self._notify()

    def cancel(self, job: int) -> bool:
        """Remove a waiting job; return False if there is none."""
        found = self._order.cancel(job)
        self._notify()
        return found

    async def idle(self) -> None:
        """Wait until no job runs."""
        await self._idle.wait()

    def pause(self, reason: str, by: str = "") -> None:
        """Start no more jobs until every pause is resumed; running jobs go on, new ones may wait.

        reason: shown to people; by: who pauses, with one pause each.
        """
        if self._order.pause(reason, by):
            self._notify()

    def resume(self, by: str = "") -> None:
        """End a pause."""
        if self._order.resume(by):
            self._notify()

    async def changed(self) -> None:
        """Wait until forecasts may have changed since the last call."""
        await self._changed.wait()
        self._changed.clear()

    async def forecast(self) -> AsyncGenerator[Forecast]:
        """Yield each job's forecast as of now, by end.

        It yields to the event loop now and then: ten thousand jobs take a while.
        """
        forecasts = self._order.forecast(self._clock(), self._slots())
        for count, forecast in enumerate(forecasts, 1):
            yield forecast
            if count % SLICE == 0:
                await asyncio.sleep(0)

    def seconds_until(self, forecast: Forecast) -> float | None:
        """Return the seconds until a job's pictures, or None where there is no estimate."""
        if forecast.ends_at is None or self.reason:
            return None
        return max(0.0, forecast.ends_at - self._clock())

    def _notify(self) -> None:
        self._retry.set()
        self._changed.set()
