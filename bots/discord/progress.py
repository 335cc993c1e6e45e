"""Show people how far their jobs are: a few edits of one message, and none after its result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from bots.studio import Studio
from engine.errors import UserError
from engine.events import News
from storage import Job

EVERY: Final = 3.0  # seconds between two edits of one message

log = logging.getLogger(__name__)

Post = Callable[[Job, News], Awaitable[None]]


class Watching:
    """Follow jobs and post their latest news, each at its own pace."""

    def __init__(self, studio: Studio, post: Post, every: float = EVERY) -> None:
        self._studio = studio
        self._post = post
        self._every = every
        self._watches: dict[int, tuple[asyncio.Task[None], asyncio.Lock]] = {}

    def watch(self, job: Job) -> None:
        """Begin to post news of a job; twice is once."""
        if job.id in self._watches:
            return
        posting = asyncio.Lock()
        task = asyncio.create_task(self._follow(job, posting), name=f"discord-watch-{job.id}")
        self._watches[job.id] = (task, posting)
        task.add_done_callback(lambda _: self._watches.pop(job.id, None))

    async def stop(self, job: int) -> None:
        """Let no more be posted of a job; an edit under way ends first.

        It is waited for rather than cut off: Discord might carry it out after the result.
        """
        if watch := self._watches.get(job):
            task, posting = watch
            async with posting:
                task.cancel()

    async def close(self) -> None:
        """End all watching."""
        tasks = [task for task, _ in self._watches.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, job: Job, posting: asyncio.Lock) -> None:
        try:
            async for news in self._studio.follow(job.id):
                async with posting:
                    await self._try_to_post(job, news)
                # Whoever follows slowly is given the latest news only.
                await asyncio.sleep(self._every)
        except UserError as error:
            log.info("job %d can no longer be followed: %s", job.id, error)

    async def _try_to_post(self, job: Job, news: News) -> None:
        try:
            await self._post(job, news)
        except Exception as error:  # the result will come all the same
            log.info("the progress of job %d could not be shown: %s", job.id, error)
