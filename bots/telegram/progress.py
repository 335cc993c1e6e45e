"""Placeholders: the message that shows a job's progress, and later becomes its picture."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from telegram import InputMediaPhoto
from telegram.error import RetryAfter, TelegramError
from telegram.ext import ExtBot

from bots.admission.gate import Gate
from bots.presentation.lines import progress_line
from bots.telegram import keyboards
from bots.telegram.address import Address, message_key, read_message_key
from bots.telegram.errors import never_sent, translate
from bots.telegram.rate_limits import ALL, DROPPABLE, Dropped
from bots.worker.delivery import back_off
from bots.worker.worker import Worker
from engine.errors import MarbleError
from engine.events import News, Progress
from storage import Job, StorageError
from storage.jobs.jobs import Jobs
from storage.states import OVER

PRIVATE: Final = 2.0  # seconds between two edits of a placeholder
GROUP: Final = 5.0
TRIES: Final = 10  # to find room for one edit, before what comes next is shown instead
RETRY: Final = 0.2  # seconds between them
PATIENCE: Final = 10.0  # seconds that one edit may take: the next one is more recent

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Placeholder:
    """The state of one placeholder; `media`: it shows a preview already."""

    message: str | None
    media: bool = False
    line: str | None = None  # that it shows now
    over: bool = False  # it becomes the reply: no more edits
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # held to send or edit it


@dataclass(frozen=True, slots=True)
class Placeholders:
    """Sends placeholders and keeps them up to date; `spawn` owns the tasks."""

    bot: ExtBot[str] = field(repr=False)  # it shows its token
    jobs: Jobs
    worker: Worker
    gate: Gate
    spawn: Callable[[Coroutine[Any, Any, None], str], object]
    _followed: dict[int, Placeholder] = field(default_factory=dict)  # by job

    def begin(self, job: Job, *, resumed: bool = False) -> None:
        """Show that a job waits, and then its progress; one asked for twice may be over.

        resumed: it is an earlier process's, read some time ago.
        """
        if job.status in OVER or job.id in self._followed:
            return
        self._followed[job.id] = Placeholder(job.message)
        self.spawn(self._keep(job, resumed), f"telegram-job-{job.id}")

    def stop(self, job: Job) -> Placeholder:
        """Begin no more edits of a job's placeholder, and return it; one may be under way."""
        placeholder = self._followed.get(job.id) or Placeholder(job.message)
        placeholder.over = True
        return placeholder

    @property
    def delay(self) -> float:
        """Return the seconds after which those that wait now for their chats may have been sent."""
        return 1.0 + sum(each.message is None for each in self._followed.values()) * ALL[1] / ALL[0]

    async def _keep(self, job: Job, resumed: bool) -> None:
        placeholder, address = self._followed[job.id], Address(**job.reply)
        try:
            if resumed:  # its picture may be on the way by now, as a new message
                job = await self.jobs.get(job.id)
            async with placeholder.lock:
                if not (placeholder.message or placeholder.over or job.status in OVER):
                    placeholder.message = await self._place(job, address)
            if placeholder.message is not None:
                await self._follow(job, placeholder, address)
        except MarbleError as error:  # the reply will come all the same
            log.info("the progress of job %d is not shown any more: %s", job.id, error)
        finally:
            del self._followed[job.id]

    async def _place(self, job: Job, address: Address) -> str | None:
        """Send a placeholder and record it; None where it is not known whether it arrived."""
        button = keyboards.single(address.words.cancel, "cancel", job.id)
        for failures in count():
            try:
                message = await self.bot.send_message(
                    address.chat, address.words.submitted, reply_markup=button, **address.spot
                )
                break
            except RetryAfter:
                continue  # the rate limiter waits for its chat
            except TelegramError as error:
                if not never_sent(error):
                    # Sent again it might stand there twice; the picture comes as a new message.
                    log.warning("job %d has no placeholder: %s", job.id, translate(error))
                    return None
                await asyncio.sleep(back_off(failures))
        key = message_key(message.chat.id, message.message_id)
        try:
            await self.jobs.acknowledged(job.id, key)
        except StorageError as error:
            log.error("the placeholder of job %d is not recorded: %s", job.id, error)
        return key

    async def _follow(self, job: Job, placeholder: Placeholder, address: Address) -> None:
        """Edit a placeholder whenever there are news, leaving out those that come too fast."""
        async for news in self.worker.follow(job.id):
            for _ in range(TRIES):
                async with placeholder.lock:
                    if placeholder.over or await self._show(job, placeholder, address, news):
                        break
                await asyncio.sleep(RETRY)
            if placeholder.over:
                return
            await asyncio.sleep(PRIVATE if address.private else GROUP)

    async def _show(self, job: Job, placeholder: Placeholder, address: Address, news: News) -> bool:
        """Show the news; False where there is no room for them now."""
        assert placeholder.message is not None
        chat, message = read_message_key(placeholder.message)
        line = progress_line(news, address.words)
        preview = news.preview if isinstance(news, Progress) else None
        if preview and not (await self.gate.view(job.place)).previews:
            preview = None
        if line == placeholder.line and not preview:
            return True
        common: dict[str, Any] = {
            "chat_id": chat,
            "message_id": message,
            "reply_markup": keyboards.single(address.words.cancel, "cancel", job.id),
            "rate_limit_args": DROPPABLE,
            "read_timeout": PATIENCE,
        }
        try:
            if preview:
                await self.bot.edit_message_media(InputMediaPhoto(preview, caption=line), **common)
                placeholder.media = True
            elif placeholder.media:
                await self.bot.edit_message_caption(caption=line, **common)
            else:
                await self.bot.edit_message_text(line, **common)
            placeholder.line = line
        except Dropped:
            return False
        except TelegramError as error:
            log.debug("job %d: progress was not shown: %s", job.id, error)
        return True
