"""The asyncio GPU queue: jobs wait here for their turn and for a free slot.

    queue = Queue(lambda: executor.slots)
    with queue.admit(person):                  # or a refusal in one sentence
        job = ...                              # commit it
        queue.submit(Task(job=job.id, person=person, work=work_of(recipe)))
    task = await queue.next()                  # its turn has come, and a slot is free
    ...
    queue.done(task.job)                       # whatever its end was

The order itself is plain code (`engine.queue.order`); here are only the clock and the waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from engine.queue.estimates import Speeds
from engine.queue.order import Limits, Order, Place, Task

SLICE: Final = 50  # places that a forecast finds before it lets others have the loop


async def at_once() -> None:
    """Wait for nothing."""


class Queue:
    """Hand out jobs in fair order, as many at once as `slots()` says at the time.

    None is handed out before `ready()` returns, which is asked for each.
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
        self._chance = asyncio.Event()  # something may be chosen
        self._changed = asyncio.Event()  # somebody's place is another
        self._idle = asyncio.Event()  # nothing runs
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
        """Return what was measured; it may be taught from elsewhere, too."""
        return self._order.speeds

    def is_waiting(self, job: int) -> bool:
        """Say whether a job waits."""
        return self._order.is_waiting(job)

    @contextmanager
    def admit(self, person: str) -> Iterator[None]:
        """Keep a place while a job is being committed; raises `QueueFull` or `TooManyWaiting`."""
        self._order.admit(person)
        try:
            yield
        finally:
            self._order.unadmit(person)

    def submit(self, task: Task) -> None:
        """Let a committed job wait for its turn; one that is known is left as it is."""
        self._order.submit(task)
        self._stir()

    async def next(self) -> Task:
        """Wait until a job's turn has come and a slot is free; the job then counts as running."""
        while True:
            if self._order.wants(self._slots()):
                await self._ready()
                if task := self._order.choose(self._clock(), self._slots()):
                    self._changed.set()
                    self._idle.clear()
                    return task
            self._chance.clear()
            await self._chance.wait()

    def begun(self, job: int, *, loaded: bool) -> None:
        """Say that a running job begins only now, after its model was `loaded` or without."""
        self._order.begun(job, self._clock(), loaded=loaded)

    def drawn(self, job: int) -> None:
        """Say that a running job's steps are done, and that decoding begins."""
        self._order.drawn(job, self._clock())

    def cooled(self) -> None:
        """Say that the engine died, and has to load its models again."""
        self._order.cooled()

    def done(self, job: int, *, finished: bool = True) -> None:
        """Free a running job's slot; `finished` says that all its work was done."""
        self._order.done(job, self._clock(), finished=finished)
        if not self.running:
            self._idle.set()
        self._stir()

    def cancel(self, job: int) -> bool:
        """Take a job out of the line; return False if it does not wait there."""
        found = self._order.cancel(job)
        self._stir()
        return found

    async def idle(self) -> None:
        """Wait until no job runs."""
        await self._idle.wait()

    def pause(self, reason: str, by: str = "") -> None:
        """Start nothing more until everybody who paused has resumed; `reason` is shown to people.

        What runs goes on, and new jobs are taken.
        """
        if self._order.pause(reason, by):
            self._stir()

    def resume(self, by: str = "") -> None:
        """Take back a pause."""
        if self._order.resume(by):
            self._stir()

    def look(self) -> None:
        """Look again whether something may start: there may be more slots than before."""
        self._chance.set()

    async def changed(self) -> None:
        """Wait until places may have changed since somebody last waited for it."""
        await self._changed.wait()
        self._changed.clear()

    async def forecast(self) -> AsyncGenerator[Place]:
        """Yield each job's place as of now, the first to end first.

        The loop is let go now and then: ten thousand places take a while.
        """
        places = self._order.forecast(self._clock(), self._slots())
        for count, place in enumerate(places, 1):
            yield place
            if count % SLICE == 0:
                await asyncio.sleep(0)

    def seconds_until(self, place: Place) -> float | None:
        """Return the seconds to a place's pictures, or None while that cannot be told."""
        if place.ends_at is None or self.reason:
            return None
        return max(0.0, place.ends_at - self._clock())

    def _stir(self) -> None:
        self._chance.set()
        self._changed.set()
