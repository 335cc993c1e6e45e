"""The queue: jobs wait here until they are next and a slot is free.

    queue = Queue(lambda: executor.slots)
    with queue.reserve(person):                # raises UserError if there is no room
        job = ...                              # commit it
        queue.submit(Task(job=job.id, person=person, work=work_of(recipe)))
    await queue.retry.wait()
    if task := queue.start():                  # it now counts as running
        ...
        queue.done(task.job)                   # however it ended

The order is decided in `engine.queue.order`; this module adds the clock and the events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from engine.queue.engines import Facts
from engine.queue.estimates import Speeds
from engine.queue.forecast import forecast
from engine.queue.order import Order
from engine.queue.tasks import Forecast, Limits, Task


class Queue:
    """Starts jobs in fair order; slots: returns how many may run at once.

    retry: set when a job may start; changed: when forecasts may have changed; idle: while no job
    runs. Who waits for the first two clears them.
    """

    def __init__(
        self,
        slots: Callable[[], int],
        limits: Limits | None = None,
        speeds: Speeds | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.order = Order(limits, speeds)
        self.retry, self.changed, self.idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.idle.set()
        self._slots = slots
        self._clock = clock

    @contextmanager
    def reserve(self, person: str) -> Iterator[None]:
        """Reserve room while a job is committed; raises `UserError` where too many wait."""
        self.order.reserve(person)
        try:
            yield
        finally:
            self.order.release(person)

    def submit(self, task: Task) -> None:
        """Add a committed job; a job that is already here is left unchanged."""
        self.order.submit(task)
        self._notify()

    def wants(self) -> bool:
        """Whether jobs wait, and neither slots, a pause nor a job that runs alone block all."""
        return self.order.wants(self._slots())

    @property
    def is_asking(self) -> bool:
        """Whether jobs wait that no pause holds up, with room for them or not."""
        return bool(self.order.waiting) and not self.order.reason

    def put(self, name: str, facts: Facts) -> None:
        """Add an engine, or record what it tells now; the slots of all then count."""
        self.order.put(name, facts)
        self._notify()

    def remove(self, name: str) -> None:
        """Remove an engine; nothing starts there any more."""
        self.order.remove(name)
        self._notify()

    def count_elsewhere(self, running: Mapping[str, int]) -> None:
        """Record how many jobs of each person other processes run: limits count them, too."""
        if self.order.count_elsewhere(running):
            self._notify()

    def start(self) -> Task | None:
        """Start the next job, if one may start."""
        if task := self.order.choose(self._clock(), self._slots()):
            self.changed.set()
            self.idle.clear()
        elif self.order.cut_short:  # others have the event loop before the next look
            asyncio.get_running_loop().call_soon(self.retry.set)
        return task

    def loading_began(self, job: int) -> None:
        """Record that a job that draws waits for its second model."""
        self.order.loading_began(job, self._clock())

    def drawing_began(self, job: int, *, loaded: bool) -> None:
        """Record that a job's model is there; loaded: it was loaded for this job."""
        self.order.drawing_began(job, self._clock(), loaded=loaded)

    def decoding_began(self, job: int) -> None:
        """Record that a job's steps are done."""
        self.order.decoding_began(job, self._clock())

    def done(self, job: int, *, finished: bool = True) -> None:
        """End a running job; finished: all its work was done."""
        self.order.done(job, self._clock(), finished=finished)
        if not self.order.running:
            self.idle.set()
        self._notify()

    def put_ahead(self, job: int) -> None:
        """Let a waiting job be next; one that does not wait here is left as it is."""
        if self.order.put_ahead(job):
            self._notify()

    def cancel(self, job: int) -> bool:
        """Remove a waiting job; return False if there is none."""
        found = self.order.cancel(job)
        self._notify()
        return found

    def pause(self, reason: str, by: str = "") -> None:
        """Start no more jobs until every pause is resumed; running jobs go on, new ones may wait.

        reason: shown to people; by: who pauses, with one pause each.
        """
        if self.order.pause(reason, by):
            self._notify()

    def resume(self, by: str = "") -> None:
        """End a pause."""
        if self.order.resume(by):
            self._notify()

    def forecast(self) -> Iterator[list[Forecast]]:
        """Yield each job's forecast as of now (`engine.queue.forecast`)."""
        return forecast(self.order, self._clock(), self._slots())

    def seconds_until(self, forecast: Forecast) -> float | None:
        """Return the seconds until a job's pictures; None where that is unknown, as in a pause."""
        if forecast.ends_at is None or (forecast.position and self.order.reason):
            return None
        return max(0.0, forecast.ends_at - self._clock())

    def _notify(self) -> None:
        self.retry.set()
        self.changed.set()
