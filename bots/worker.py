"""Take this process's jobs one after another: claim, draw, record; and tell how far each is.

A job that another process added to the same database is not touched: it is that one's to draw.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from engine.events import Progress

log = logging.getLogger(__name__)


class Feed:
    """Hold the latest news of one job; who follows it slowly misses steps, never the end."""

    def __init__(self) -> None:
        self._latest: Progress | None = None
        self._over = False
        self._changed = asyncio.Event()

    def publish(self, progress: Progress) -> None:
        """Replace the latest news."""
        self._latest = progress
        self._changed.set()

    def close(self) -> None:
        """Say that nothing more will come."""
        self._over = True
        self._changed.set()

    async def follow(self) -> AsyncIterator[Progress]:
        """Yield the latest news whenever there are some, until the job is over."""
        seen = None
        while True:
            if self._latest is not None and self._latest is not seen:
                seen = self._latest
                yield seen
            elif self._over:
                return
            else:
                self._changed.clear()
                await self._changed.wait()
