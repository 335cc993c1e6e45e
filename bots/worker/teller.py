"""Tell who waits where they stand in line, and when their pictures may be expected."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Final

from bots.worker.feeds import Feed
from engine.events import Waiting
from engine.queue.order import Place
from engine.queue.queue import Queue

log = logging.getLogger(__name__)

EVERY: Final = 1.0  # seconds between two rounds at least
REFRESH: Final = 5.0  # seconds after which times are told again, even if nothing happened
EFFORT: Final = 20  # a round that took long is followed by this many times its length of rest
SLACK: Final = 2.0  # seconds by which pictures may come later without a word
SLACK_SHARE: Final = 0.2  # … or this part of the time that is left


class Teller:
    """Publish places in line to the feeds of jobs that wait."""

    def __init__(self, queue: Queue, feeds: Mapping[int, Feed], every: float = EVERY) -> None:
        self._queue = queue
        self._feeds = feeds
        self._every = every
        self._promised: dict[int, Place] = {}

    async def run(self) -> None:
        """Tell whenever something changed, and now and then without, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH if self._queue.waiting else None):
                    await self._queue.changed()
            began = loop.time()
            try:
                await self._tell()
            except Exception:  # what people are told must not stop what is drawn
                log.exception("places in line could not be told")
            await asyncio.sleep(max(self._every, EFFORT * (loop.time() - began)))

    async def _tell(self) -> None:
        places: dict[int, Place] = {}
        async with aclosing(self._queue.forecast()) as forecast:
            async for place in forecast:
                places[place.job] = steady(self._promised.get(place.job), place, self._queue)
                self._publish(places[place.job])
        self._promised = places

    def _publish(self, place: Place) -> None:
        # It may have started since the forecast began: then there are better news already.
        if self._queue.is_waiting(place.job) and (feed := self._feeds.get(place.job)):
            eta = self._queue.seconds_until(place)
            feed.publish(Waiting(position=place.position, eta=eta, reason=self._queue.reason))


def steady(promised: Place | None, found: Place, queue: Queue) -> Place:
    """Return the place with the time that was promised, unless it is too far from what was found.

    A time that comes nearer is always told; one that moves away only where it matters.
    """
    if promised is None or promised.ends_at is None or found.ends_at is None:
        return found
    later = found.ends_at - promised.ends_at
    slack = max(SLACK, SLACK_SHARE * (queue.seconds_until(found) or 0.0))
    return replace(found, ends_at=promised.ends_at) if 0 <= later <= slack else found
