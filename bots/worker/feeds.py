"""The latest news of a job, for whoever wants to know how far it is."""

import asyncio
from collections.abc import AsyncIterator

from engine.events import News


class Feed:
    """Hold the latest news of one job; who follows it slowly misses steps, never the end."""

    def __init__(self) -> None:
        self._latest: News | None = None
        self._error: Exception | None = None
        self._over = False
        self._changed = asyncio.Event()

    def publish(self, news: News) -> None:
        """Replace the latest news."""
        self._latest = news
        self._changed.set()

    def close(self, error: Exception | None = None) -> None:
        """Say that nothing more will come, or why the end cannot be told."""
        self._over, self._error = True, error
        self._changed.set()

    async def follow(self) -> AsyncIterator[News]:
        """Yield the latest news whenever there are some, until the job is over.

        Raises what kept the job's end from being recorded.
        """
        seen = None
        while True:
            if self._latest is not None and self._latest is not seen:
                seen = self._latest
                yield seen
            elif self._over:
                if self._error:
                    raise self._error
                return
            else:
                self._changed.clear()
                await self._changed.wait()
