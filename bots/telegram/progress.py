"""Placeholders: the message that shows a job's progress, and later becomes its picture.

In a private chat a job that has to wait is shown as a draft first, where the server lets people
stop one: a preview of a message, which no notification announces and nobody has to delete. Drafts
have no pictures and disappear, so the message follows as soon as the job is drawn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Final

from telegram import InputMediaPhoto
from telegram.error import RetryAfter, TelegramError
from telegram.ext import ExtBot

from bots.admission.gate import Gate
from bots.presentation.grid import preview_of
from bots.presentation.lines import progress_line
from bots.telegram import keyboards
from bots.telegram.address import Address, key_of, read_message_key
from bots.telegram.errors import never_sent, translate
from bots.telegram.features import Features
from bots.telegram.rate_limits import ALL, DROPPABLE, Dropped
from bots.worker.delivery import back_off
from bots.worker.worker import Worker
from engine.errors import MarbleError
from engine.events import News, Progress, Waiting
from storage import Job, StorageError
from storage.jobs.jobs import Jobs
from storage.states import OVER

PRIVATE: Final = 2.0  # seconds between two edits of a placeholder
GROUP: Final = 5.0
TRIES: Final = 10  # to find room for one edit, before what comes next is shown instead
RETRY: Final = 0.2  # seconds between them
PATIENCE: Final = 10.0  # seconds that one edit may take: the next one is more recent
PROMPTLY: Final = 1.5  # seconds in which a job that has to wait says so: news come every second
FADES: Final = 20.0  # seconds after which a draft is sent again: Telegram shows one for 30

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Placeholder:
    """The state of one placeholder; `media`: it shows a preview already.

    finished: how many finished pictures that has.
    """

    message: str | None
    media: bool = False
    finished: int = 0
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
    features: Features
    _followed: dict[int, Placeholder] = field(default_factory=dict)  # by job
    _drafting: set[int] = field(default_factory=set)  # chats: each shows the latest draft alone

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

    def drafts(self, job: Job) -> bool:
        """Return whether a job that waits is shown as a draft."""
        return self.features.drafts and Address(**job.reply).private

    async def _keep(self, job: Job, resumed: bool) -> None:
        placeholder, address = self._followed[job.id], Address(**job.reply)
        try:
            if resumed:  # its picture may be on the way by now, as a new message
                job = await self.jobs.get(job.id)
            fresh = not (job.message or job.status in OVER)
            if fresh and self.drafts(job) and address.chat not in self._drafting:
                self._drafting.add(address.chat)
                try:
                    await self._draft(job, placeholder, address)
                finally:
                    self._drafting.discard(address.chat)
            async with placeholder.lock:
                if not (placeholder.message or placeholder.over or job.status in OVER):
                    placeholder.message = await self.place(job)
            if placeholder.message is not None:
                await self._follow(job, placeholder, address)
        except MarbleError as error:  # the reply will come all the same
            log.info("the progress of job %d is not shown any more: %s", job.id, error)
        finally:
            del self._followed[job.id]

    async def _draft(self, job: Job, placeholder: Placeholder, address: Address) -> None:
        """Show as a draft that a job waits, until it waits no more or no draft is taken."""
        following = self.worker.follow(job.id)
        news: News | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(PROMPTLY):
                news = await anext(following, None)
        now, again = asyncio.get_running_loop().time, 0.0
        while isinstance(news, Waiting):
            line = progress_line(news, address.words)
            if line != placeholder.line or now() >= again:
                try:
                    await self._try(placeholder, partial(self._send_draft, job, address, line))
                except TelegramError as error:
                    if self.features.refuses_draft(error):
                        break
                placeholder.line, again = line, now() + FADES
            if placeholder.over:
                return
            news = await anext(following, None)
        placeholder.line = None

    async def _send_draft(self, job: Job, address: Address, line: str) -> bool:
        """Send a draft or change it; False where there is no room now; raises `TelegramError`."""
        try:
            await self.bot.send_message_draft(
                address.chat,
                job.id,
                line,
                message_thread_id=address.thread,
                read_timeout=PATIENCE,
                rate_limit_args=DROPPABLE,
                api_kwargs={"can_stop": True},
            )
        except Dropped:
            return False
        return True

    async def place(self, job: Job, urgency: str | None = None) -> str | None:
        """Send a placeholder and record it; None where it is not known whether it arrived.

        urgency: as in `rate_limits`.
        """
        address = Address(**job.reply)
        button = keyboards.for_action("cancel", job, address.words)
        for failures in count():
            try:
                message = await self.bot.send_message(
                    address.chat,
                    address.words.submitted,
                    reply_markup=button,
                    rate_limit_args=urgency,
                    **address.spot,
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
        key = key_of(message)
        try:
            await self.jobs.acknowledged(job.id, key)
        except StorageError as error:
            log.error("the placeholder of job %d is not recorded: %s", job.id, error)
        return key

    async def _follow(self, job: Job, placeholder: Placeholder, address: Address) -> None:
        """Edit a placeholder whenever there are news, leaving out those that come too fast."""
        async for news in self.worker.follow(job.id):
            preview = await self._preview(job, placeholder, news)
            show = partial(self._show, job, placeholder, address, news, preview)
            await self._try(placeholder, show)
            if placeholder.over:
                return
            await asyncio.sleep(PRIVATE if address.private else GROUP)

    async def _try(self, placeholder: Placeholder, show: Callable[[], Awaitable[bool]]) -> None:
        """Show something once there is room for it, if that is soon."""
        for _ in range(TRIES):
            async with placeholder.lock:
                if placeholder.over or await show():
                    return
            await asyncio.sleep(RETRY)

    async def _preview(self, job: Job, placeholder: Placeholder, news: News) -> bytes | None:
        """Return the picture that the news bring, if the placeholder does not show it yet."""
        if not (isinstance(news, Progress) and (news.preview or news.finished)):
            return None
        if news.finished and len(news.finished) == placeholder.finished:
            return None
        view = await self.gate.view(job.place)
        return await asyncio.to_thread(preview_of, news, checked=not view.previews)

    async def _show(
        self,
        job: Job,
        placeholder: Placeholder,
        address: Address,
        news: News,
        preview: bytes | None,
    ) -> bool:
        """Show the news; False where there is no room for them now."""
        assert placeholder.message is not None
        chat, message = read_message_key(placeholder.message)
        line = progress_line(news, address.words)
        if line == placeholder.line and not preview:
            return True
        common: dict[str, Any] = {
            "chat_id": chat,
            "message_id": message,
            "reply_markup": keyboards.for_action("cancel", job, address.words),
            "rate_limit_args": DROPPABLE,
            "read_timeout": PATIENCE,
        }
        try:
            if preview:
                await self.bot.edit_message_media(InputMediaPhoto(preview, caption=line), **common)
                placeholder.media = True
                placeholder.finished = len(news.finished) if isinstance(news, Progress) else 0
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
