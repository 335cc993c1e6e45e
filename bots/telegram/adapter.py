"""The adapter: one connection to Telegram, from the first update to the last reply."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from telegram.error import TelegramError

from bots.chat.actions import Once
from bots.chat.places import Places
from bots.operations.settings import Settings
from bots.service.adapters import ConnectionState
from bots.service.app import App
from bots.telegram.actions import read_reactions
from bots.telegram.address import PLATFORM
from bots.telegram.commands import publish
from bots.telegram.connection import make_bot
from bots.telegram.errors import translate
from bots.telegram.features import Features
from bots.telegram.handler import Handler
from bots.telegram.inline import Acquaintances
from bots.telegram.progress import Placeholders
from bots.telegram.rate_limits import RateLimiter
from bots.telegram.replies import WAYS, Replies
from bots.telegram.supergroups import Supergroups
from bots.telegram.updates import Updates
from bots.worker.delivery import Shown, TryLater, Way
from storage import Job, PendingReply

LISTEN: Final = "127.0.0.1:8443"

log = logging.getLogger(__name__)


def webhook_listen(settings: Settings) -> str | None:
    """Return the host:port where Telegram's calls come in; None: at the web port."""
    below = (settings.telegram_webhook_url or "").startswith(f"{settings.web_url}/")
    return settings.telegram_webhook_listen or (None if settings.web_port and below else LISTEN)


class Telegram:
    """Turns updates into studio calls, and results into replies."""

    name: str = PLATFORM
    ways: Sequence[Way] = WAYS
    exclusive: bool = True  # Telegram ends the older of two questions for updates

    def __init__(self, app: App) -> None:
        self._app = app
        storage = app.storage
        self._supergroups = Supergroups(app.gate)
        self.bot = make_bot(app.settings, RateLimiter(self._supergroups))
        self._running = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._features = features = Features()
        self._placeholders = Placeholders(
            self.bot, storage.jobs, app.worker, app.gate, self._spawn, features
        )
        self._replies = Replies(
            *(self.bot, storage.jobs, app.gate, self._placeholders),
            site=app.settings.web_address,
        )
        self._handler = Handler(
            app,
            self.bot,
            self._placeholders,
            self._replies,
            self._spawn,
            read_reactions(app.settings.telegram_reactions),
            self._supergroups,
            Places(storage.people),
            features,
            Once(storage.moderation),
            Acquaintances(self.bot),
        )
        self._updates = Updates(
            self.bot, storage.inbox, features, self._handler.start, self._handler.put_off
        )

    def deliver(self, pending: PendingReply, way: Way) -> Coroutine[Any, Any, Shown]:
        """Send a reply; raises `TryLater` while there is no connection."""
        if not self._running:
            raise TryLater(1.0)
        return self._replies.deliver(pending, way)

    async def check(self) -> None:
        """Ask who the bot is; raises as `errors.translate` says."""
        try:
            async with make_bot(self._app.settings):  # the other may be shut down
                pass
        except TelegramError as error:
            raise translate(error) from None

    def stop_intake(self) -> None:
        """Take no more updates; those that were taken are still handled."""
        self._closing.set()

    def connections(self) -> Sequence[ConnectionState]:
        """Return nothing: each question for updates is a request of its own."""
        return ()

    async def run(self) -> None:
        """Serve until cancelled; raises as `errors.translate` says."""
        try:
            await self.bot.initialize()
            self._running = True
            self._spawn(publish(self.bot, self._features), "telegram-commands")
            await self._recover()
            await self._take_updates()
            await asyncio.Event().wait()
        except TelegramError as error:
            raise translate(error) from None
        finally:
            self._running = False
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.bot.shutdown()

    async def _take_updates(self) -> None:
        """Poll for updates, or take those sent to the webhook, until told to stop."""
        settings, updates = self._app.settings, self._updates
        if url := settings.telegram_webhook_url:
            work = updates.listen(url, webhook_listen(settings), self._app.front_door)
        else:
            work = updates.poll()
        taking = asyncio.create_task(work, name="telegram-updates")
        closing = asyncio.create_task(self._closing.wait(), name="telegram-closing")
        try:
            await asyncio.wait([taking, closing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
            taking.cancel()
        if not self._closing.is_set():
            taking.result()

    async def _recover(self) -> None:
        """Resume what an earlier process left unfinished: updates and placeholders."""
        await self._supergroups.recall()
        for letter in await self._app.storage.inbox.waiting(PLATFORM):
            self._handler.resume(letter)
        jobs = self._app.storage.jobs
        queued: list[Job] = []
        while page := await jobs.list_queued(queued[-1].id if queued else 0):
            queued += page
        for job in (*await jobs.list_running(), *queued):
            if job.adapter == PLATFORM:
                self._placeholders.begin(job, resumed=True)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        """Start a task that ends with the connection, which its failure does not end."""
        if not self._running:
            work.close()
            return None
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s failed", task.get_name(), exc_info=error)
