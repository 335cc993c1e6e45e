"""Progress of jobs: a few edits of each one's message, and none after its result."""

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import Final

import discord

from bots.discord.address import Address, message_id
from bots.discord.messages import edit, edit_answer, is_adult
from bots.discord.replies import progress_reply
from bots.service.app import App
from bots.texts import words_of
from engine.events import News, Progress
from storage import Job

EVERY: Final = 3.0  # seconds between two edits of one message

log = logging.getLogger(__name__)


class _Latest:
    """The latest progress and the last preview; most updates carry no preview."""

    def __init__(self) -> None:
        self._news: News | None = None
        self._preview: bytes | None = None
        self._fresh = asyncio.Event()

    def put(self, news: News) -> None:
        """Replace the news."""
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


class Placeholders:
    """Follows jobs and shows their latest news in their placeholders."""

    def __init__(self, app: App, client: discord.Client) -> None:
        self._app = app
        self._client = client
        self._followed: dict[int, tuple[asyncio.Task[None], asyncio.Lock]] = {}

    def follow(self, job: Job) -> None:
        """Begin to show the progress of a job; a second call changes nothing."""
        if job.id in self._followed:
            return
        editing = asyncio.Lock()
        task = asyncio.create_task(self._follow(job, editing), name=f"discord-follow-{job.id}")
        self._followed[job.id] = (task, editing)
        task.add_done_callback(lambda _: self._followed.pop(job.id, None))

    async def stop(self, job: int) -> None:
        """End the edits of a job's message; one under way ends first.

        Cut off, it might still be carried out by Discord after the result.
        """
        if followed := self._followed.get(job):
            task, editing = followed
            async with editing:
                task.cancel()

    async def close(self) -> None:
        """End all edits."""
        tasks = [task for task, _ in self._followed.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, job: Job, editing: asyncio.Lock) -> None:
        """Read all news of a job, and show the latest now and then until it is over."""
        latest = _Latest()
        try:
            async with asyncio.TaskGroup() as tasks:
                name = f"discord-edit-{job.id}"
                shower = tasks.create_task(self._show_latest(job, latest, editing), name=name)
                async for news in self._app.worker.follow(job.id):
                    latest.put(news)
                async with editing:
                    shower.cancel()
        except* Exception as errors:
            log.info("job %d: its progress is no longer shown: %s", job.id, errors.exceptions[0])

    async def _show_latest(self, job: Job, latest: _Latest, editing: asyncio.Lock) -> None:
        while True:
            news = await latest.take()
            async with editing:
                try:
                    await self._show(job, news)
                except Exception as error:  # the result will come all the same
                    log.info("the progress of job %d could not be shown: %s", job.id, error)
            await asyncio.sleep(EVERY)

    async def _show(self, job: Job, news: News) -> None:
        """Edit a job's message."""
        address, message = Address.from_dict(job.reply), message_id(job.message)
        preview = await self._preview(job, news)
        reply = progress_reply(job, news, preview, words_of(address.language))
        if not address.expired:
            await edit_answer(self._client, address, message, reply)
        elif message:
            await edit(self._client, address, message, reply)

    async def _preview(self, job: Job, news: News) -> bytes | None:
        """Return the preview that comes with news, if the rules of now allow it."""
        if not isinstance(news, Progress) or not news.preview:
            return None
        view = await self._app.gate.view(job.place, partial(is_adult, self._client))
        return news.preview if view.previews else None
