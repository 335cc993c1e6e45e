"""Progress of jobs: their latest news, queue positions and expected times, and what is counted."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from engine.events import News, Stage, Verdict, Waiting
from engine.queue.forecast import PLAYED
from engine.queue.queue import Queue
from engine.queue.tasks import Forecast

log = logging.getLogger(__name__)

EVERY: Final = 1.0  # seconds between two rounds of queue positions at least
REFRESH: Final = 5.0  # seconds after which times are published again, even if nothing happened
REST: Final = 20  # a round is followed by a pause of this many times its length
SLACK: Final = 2.0  # seconds by which an expected end may move away unpublished
SLACK_SHARE: Final = 0.2  # … or this part of the time that is left
FAR_SHARE: Final = 0.01  # part of its position by which a job that is not played moves unpublished
ELSEWHERE: Final = Waiting(position=0)


class Place(NamedTuple):
    """A job's queue position (0: it runs) and expected end, by the time of day: for processes that
    do not serve."""

    job: int
    position: int
    end: float | None


class JobNews:
    """The latest news of one job; a slow follower misses steps, never the end."""

    def __init__(self, person: str = "") -> None:
        self.person = person
        self._latest: News | None = None
        self._error: Exception | None = None
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def latest(self) -> News | None:
        """Return the latest news, if there were any."""
        return self._latest

    def publish(self, news: News) -> None:
        """Replace the latest news."""
        self._latest = news
        self._changed.set()

    def close(self, error: Exception | None = None) -> None:
        """End the news; error: why the job's end could not be recorded."""
        self._closed, self._error = True, error
        self._changed.set()

    async def follow(self) -> AsyncIterator[News]:
        """Yield the latest news whenever they change, until the job is over.

        Raises what kept the job's end from being recorded.
        """
        seen = None
        while True:
            if self._latest is not None and self._latest is not seen:
                seen = self._latest
                yield seen
            elif self._closed:
                if self._error:
                    raise self._error
                return
            else:
                self._changed.clear()
                await self._changed.wait()


class PositionPublisher:
    """Publishes queue positions and expected times to the news of jobs that wait."""

    def __init__(self, queue: Queue, news: Mapping[int, JobNews], every: float = EVERY) -> None:
        self._queue = queue
        self._news = news
        self._every = every
        self._published: dict[int, Forecast] = {}
        self._far: dict[int, Forecast] = {}  # what those were told last who are not played
        self._elsewhere: frozenset[int] = frozenset()  # jobs that other processes draw

    async def run(self) -> None:
        """Publish whenever the queue changed, and every `REFRESH` seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                order = self._queue.order
                async with asyncio.timeout(REFRESH if order.waiting or order.running else None):
                    await self._queue.changed.wait()
            self._queue.changed.clear()
            began = loop.time()
            try:
                await self.publish()
            except Exception:  # must not stop what is drawn
                log.exception("queue positions could not be published")
            await asyncio.sleep(max(self._every, REST * (loop.time() - began)))

    @property
    def places(self) -> list[Place]:
        """Return what was published last, of the first jobs."""
        now, places = time.time(), []
        for each in self._published.values():
            left = self._queue.seconds_until(each)
            end = None if left is None else round(now + left, 1)
            places.append(Place(each.job, each.position, end))
        return places

    def show_elsewhere(self, jobs: frozenset[int]) -> frozenset[int]:
        """Publish that other processes draw jobs; return those that they drew and draw no more."""
        for job in jobs - self._elsewhere:
            if news := self._news.get(job):
                news.publish(ELSEWHERE)
        before, self._elsewhere = self._elsewhere, jobs
        return before - jobs

    async def publish(self) -> None:
        """Publish each job's position and time once."""
        places: dict[int, Forecast] = {}
        far: dict[int, Forecast] = {}
        for found in self._queue.forecast():
            for place in found:
                if place.position <= PLAYED:
                    place = steady(self._published.get(place.job), place, self._queue)
                    places[place.job] = place
                    self._publish(place)
                else:
                    told = self._far.get(place.job)
                    far[place.job] = place if self._publish(place, told) or not told else told
            await asyncio.sleep(0)  # ten thousand jobs take a while
        self._published, self._far = places, far

    def _publish(self, place: Forecast, before: Forecast | None = None) -> bool:
        """Publish a job's place, unless what was told `before` is as good; return whether it was.

        It may have started since the forecast began: then it has later news already.
        """
        order = self._queue.order
        if place.job in self._elsewhere:
            return False
        if order.is_waiting(place.job) and (news := self._news.get(place.job)):
            eta, reason = self._queue.seconds_until(place), order.reason_for(place.job)
            told = Waiting(position=place.position, eta=eta, reason=reason)
            latest = news.latest
            if before and isinstance(latest, Waiting) and latest.position:
                same = latest.reason == reason and (latest.eta is None) == (eta is None)
                if same and has_hardly_moved(before, place, eta):
                    return False
            news.publish(told)
            return True
        return False


def has_hardly_moved(told: Forecast, found: Forecast, eta: float | None) -> bool:
    """Whether what was told of a job that is far from its turn is still about right.

    eta: seconds until its pictures, None where that is unknown.
    """
    later = (found.ends_at or 0.0) - (told.ends_at or 0.0)
    near = eta is None or abs(later) <= max(SLACK, SLACK_SHARE * eta)
    return near and abs(told.position - found.position) < FAR_SHARE * found.position


def steady(published: Forecast | None, found: Forecast, queue: Queue) -> Forecast:
    """Keep the published end time unless the new one differs much.

    An earlier end is always published, a later one only where it matters.
    """
    if published is None or published.ends_at is None or found.ends_at is None:
        return found
    later = found.ends_at - published.ends_at
    slack = max(SLACK, SLACK_SHARE * (queue.seconds_until(found) or 0.0))
    return replace(found, ends_at=published.ends_at) if 0 <= later <= slack else found


class Observer:
    """Hooks for metrics; this base does nothing. They must not raise or block."""

    def stage(self, stage: Stage, seconds: float) -> None:
        """Count the seconds that a job was in a stage."""

    def ended(self, outcome: str) -> None:
        """Count the end of an attempt: rendered, failed, cancelled, lost or given back."""

    def judged(self, verdict: Verdict) -> None:
        """Count a picture by what the safety check found."""
