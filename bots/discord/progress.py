"""Show people how far their jobs are: a few edits of one message, and none after its result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from bots.requests.studio import Studio
from engine.events import News, Progress
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
        """Read all news of a job, and post the latest now and then until it is over."""
        latest = _Latest()
        try:
            async with asyncio.TaskGroup() as tasks:
                name = f"discord-post-{job.id}"
                poster = tasks.create_task(self._post_now_and_then(job, latest, posting), name=name)
                async for news in self._studio.follow(job.id):
                    latest.put(news)
                async with posting:
                    poster.cancel()
        except* Exception as errors:
            log.info("job %d can no longer be followed: %s", job.id, errors.exceptions[0])

    async def _post_now_and_then(self, job: Job, latest: _Latest, posting: asyncio.Lock) -> None:
        while True:
            news = await latest.take()
            async with posting:
                try:
                    await self._post(job, news)
                except Exception as error:  # the result will come all the same
                    log.info("the progress of job %d could not be shown: %s", job.id, error)
            await asyncio.sleep(self._every)


class _Latest:
    """Hold the latest news, with the latest preview: few news bring one."""

    def __init__(self) -> None:
        self._news: News | None = None
        self._preview: bytes | None = None
        self._fresh = asyncio.Event()

    def put(self, news: News) -> None:
        """Replace what is held."""
        if isinstance(news, Progress):
            self._preview = news.preview or self._preview
            news = replace(news, preview=self._preview)
        self._news = news
        self._fresh.set()

    async def take(self) -> News:
        """Return the latest news, once there are any that were not taken yet."""
        await self._fresh.wait()
        self._fresh.clear()
        assert self._news
        return self._news
