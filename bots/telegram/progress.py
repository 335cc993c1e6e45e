"""Placeholders: the message that says where a job stands, and later becomes its picture."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from telegram import InputMediaPhoto
from telegram.error import RetryAfter, TelegramError
from telegram.ext import ExtBot

from bots.admission.visibility import Screen
from bots.presentation import progress_line
from bots.requests.studio import Studio
from bots.telegram import keyboards
from bots.telegram.addresses import Address, message_key, message_of
from bots.telegram.pace import ALL, BRIEF, SPARE, Crowded
from bots.telegram.sending import post_at
from bots.telegram.troubles import explain, never_sent
from bots.worker.delivery import TryLater, back_off
from engine.errors import MarbleError
from engine.events import News, Progress
from storage import Job, Status, StorageError
from storage.jobs.jobs import Jobs

AWAITED: Final = (Status.QUEUED, Status.RUNNING)
PRIVATE: Final = 2.0  # seconds between two edits of a placeholder
GROUP: Final = 5.0
TRIES: Final = 10  # to find room for one edit, before what comes next is shown instead
AGAIN: Final = 0.2  # seconds between them
PATIENCE: Final = 10.0  # seconds that one edit may take: the next one knows better

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Standing:
    """Hold what is known of one placeholder; `media` says that it shows a preview already."""

    message: str | None
    media: bool = False
    told: str | None = None
    over: bool = False
    placed: asyncio.Event = field(default_factory=asyncio.Event)
    editing: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Placeholders:
    """Send placeholders and keep them up to date; `spawn` owns the tasks."""

    bot: ExtBot[str] = field(repr=False)  # it shows its token
    jobs: Jobs
    studio: Studio
    screen: Screen
    spawn: Callable[[Coroutine[Any, Any, None], str], object]
    _standing: dict[int, Standing] = field(default_factory=dict)

    def begin(self, job: Job) -> None:
        """Tell whoever asked for a job that it waits, and then how far it is."""
        if job.id in self._standing:  # its update was handed over twice
            return
        self._standing[job.id] = Standing(job.message)
        self.spawn(self._accompany(job), f"telegram-job-{job.id}")

    async def settle(self, job: Job) -> Standing:
        """Return a job's placeholder once it stands and nothing edits it any more.

        Raises `TryLater` while it waits for its turn.
        """
        standing = self._standing.get(job.id)
        if standing is None:
            # The job may have been read before its placeholder stood.
            return Standing(job.message or (await self.jobs.get(job.id)).message)
        standing.over = True
        try:
            async with asyncio.timeout(BRIEF):
                await standing.placed.wait()
        except TimeoutError:  # it waits for its chat, and this reply must not wait in others' way
            ahead = sum(not each.placed.is_set() for each in self._standing.values())
            raise TryLater(1.0 + ahead * ALL[1] / ALL[0]) from None
        async with standing.editing:
            return standing

    async def _accompany(self, job: Job) -> None:
        standing, address = self._standing[job.id], Address.from_reply(job.reply)
        try:
            # A job that outlived a kill may have its picture on the way already, as a new message.
            if standing.message is None and (await self.jobs.get(job.id)).status in AWAITED:
                standing.message = await self._place(job, address)
            standing.placed.set()
            if standing.message is not None:
                await self._follow(job, standing, address)
        except MarbleError as error:  # the reply will tell, whatever it is
            log.info("job %d is not followed any more: %s", job.id, error)
        finally:
            standing.placed.set()
            del self._standing[job.id]

    async def _place(self, job: Job, address: Address) -> str | None:
        """Send a placeholder and record it; None where it is not known whether it arrived."""
        failures = 0
        while True:
            try:
                message = await post_at(
                    self.bot.send_message,
                    address,
                    address.words.submitted,
                    reply_markup=keyboards.of_waiting(job.id, address.words),
                )
                break
            except RetryAfter:
                continue  # its chat's lane knows how long
            except TelegramError as error:
                if not never_sent(error):
                    # Sent again it might stand there twice; the picture comes as a new message.
                    log.warning("job %d has no placeholder: %s", job.id, explain(error))
                    return None
                await asyncio.sleep(back_off(failures))
                failures += 1
        key = message_key(message.chat.id, message.message_id)
        try:
            await self.jobs.acknowledged(job.id, key)
        except StorageError as error:
            log.error("the placeholder of job %d is not recorded: %s", job.id, error)
        return key

    async def _follow(self, job: Job, standing: Standing, address: Address) -> None:
        """Edit a placeholder whenever there are news; those that came too fast are left out."""
        async for news in self.studio.follow(job.id):
            for _ in range(TRIES):
                async with standing.editing:
                    if standing.over or await self._tell(job, standing, address, news):
                        break
                await asyncio.sleep(AGAIN)
            if standing.over:
                return
            await asyncio.sleep(PRIVATE if address.private else GROUP)

    async def _tell(self, job: Job, standing: Standing, address: Address, news: News) -> bool:
        """Show the news; False where there is no room for them now."""
        assert standing.message is not None
        chat, message = message_of(standing.message)
        line = progress_line(news, address.words)
        preview = news.preview if isinstance(news, Progress) else None
        if preview is not None and not (await self.screen.of(job.place)).previews:
            preview = None
        if line == standing.told and preview is None:
            return True
        common: dict[str, Any] = {
            "chat_id": chat,
            "message_id": message,
            "reply_markup": keyboards.of_waiting(job.id, address.words),
            "rate_limit_args": SPARE,
            "read_timeout": PATIENCE,
        }
        try:
            if preview is not None:
                await self.bot.edit_message_media(InputMediaPhoto(preview, caption=line), **common)
                standing.media = True
            elif standing.media:
                await self.bot.edit_message_caption(caption=line, **common)
            else:
                await self.bot.edit_message_text(line, **common)
            standing.told = line
        except Crowded:
            return False
        except TelegramError as error:
            log.debug("job %d: progress was not shown: %s", job.id, error)
        return True
