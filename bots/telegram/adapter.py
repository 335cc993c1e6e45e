"""The adapter: one connection to Telegram, from the first update to the last reply."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

from telegram.constants import ReactionEmoji
from telegram.error import TelegramError
from telegram.ext import ExtBot

from bots.operations.proxy import proxy_for
from bots.operations.settings import Settings
from bots.service.app import App
from bots.telegram.acts import REACTIONS, Act
from bots.telegram.addresses import NAME
from bots.telegram.connection import Connection
from bots.telegram.desk import Desk
from bots.telegram.intake import Intake
from bots.telegram.moves import Following, Moves
from bots.telegram.pace import Pace
from bots.telegram.progress import Placeholders
from bots.telegram.publishing import publish
from bots.telegram.reading import VARIATION, sender
from bots.telegram.replies import Replies
from bots.telegram.troubles import explain
from bots.telegram.webhook import Webhook
from bots.worker.delivery import Shown, TryLater, Way
from engine.errors import SettingError
from storage import Job, Parcel

CONNECTIONS: Final = 64
ANSWER: Final = 30.0  # seconds to wait for an answer to a call
UPLOAD: Final = 120.0
CONNECT: Final = 10.0

log = logging.getLogger(__name__)


class Telegram:
    """Translate updates into studio calls, and results into replies."""

    name: str = NAME

    def __init__(self, app: App) -> None:
        self._app = app
        storage = app.storage
        self._moves = Moves(storage.moving, app.gate)
        self.bot = make_bot(app.settings, Following(self._moves))
        self._tasks: asyncio.TaskGroup | None = None
        self._closing = asyncio.Event()
        placeholders = Placeholders(self.bot, storage.jobs, app.studio, app.screen, self._spawn)
        self._placeholders = placeholders
        self._replies = Replies(self.bot, app.screen, placeholders)
        reactions = read_reactions(app.settings.telegram_reactions)
        self._desk = Desk(
            app, self.bot, placeholders, self._replies, self._spawn, reactions, self._moves
        )
        self._intake = Intake(
            self.bot,
            storage.inbox,
            lambda update: sender(update, self.bot.bot),
            self._desk.hand_in,
            self._desk.put_off,
        )

    @property
    def ways(self) -> Sequence[Way]:
        """Return the ways to send a reply, best first."""
        return self._replies.ways

    async def deliver(self, parcel: Parcel, way: Way) -> Shown:
        """Send a reply."""
        if self._tasks is None:
            raise TryLater(1.0)
        return await self._replies.deliver(parcel, way)

    async def check(self) -> None:
        """Ask who the bot is; raises as `troubles.explain` says."""
        bot = make_bot(self._app.settings)  # the other may be shut down
        try:
            await bot.initialize()
        except TelegramError as error:
            raise explain(error) from None
        finally:
            await bot.shutdown()

    def stop_intake(self) -> None:
        """Ask Telegram for nothing more; what was taken in is still dealt with."""
        self._closing.set()

    async def run(self) -> None:
        """Serve until cancelled; raises as `troubles.explain` says."""
        try:
            await self.bot.initialize()
            async with asyncio.TaskGroup() as self._tasks:
                self._spawn(publish(self.bot), "telegram-commands")
                await self._recover()
                await self._take_in()
                await asyncio.Event().wait()
        except TelegramError as error:
            raise explain(error) from None
        except ExceptionGroup as group:
            # One failure ends the group: it alone tells what happened.
            raise group.exceptions[0] from None
        finally:
            self._tasks = None
            await self.bot.shutdown()

    async def _take_in(self) -> None:
        """Take updates in until told to stop."""
        taking = asyncio.create_task(self._listen(), name="telegram-intake")
        closing = asyncio.create_task(self._closing.wait(), name="telegram-closing")
        try:
            await asyncio.wait([taking, closing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
            taking.cancel()
        if not self._closing.is_set():
            taking.result()

    async def _listen(self) -> None:
        """Ask for updates, or wait for those that Telegram brings."""
        settings = self._app.settings
        if url := settings.telegram_webhook_url:
            listen = settings.telegram_webhook_listen
            await Webhook(self.bot, url, listen, self._intake.take).run()
        else:
            await self.bot.delete_webhook()
            await self._intake.poll()

    async def _recover(self) -> None:
        """Go on with what a process before this one left: letters and placeholders."""
        await self._moves.recall()
        for letter in await self._app.storage.inbox.waiting(NAME):
            self._desk.hand_in(letter)
        jobs = self._app.storage.jobs
        queued: list[Job] = []
        while page := await jobs.list_queued(queued[-1].id if queued else 0):
            queued += page
        for job in (*await jobs.list_running(), *queued):
            if job.adapter == NAME:
                self._placeholders.begin(job)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._tasks is None:
            work.close()
            return
        self._tasks.create_task(self._guard(work), name=name)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Let no task take the connection down with it."""
        try:
            await work
        except Exception:
            log.exception("a task for Telegram failed")


def make_bot(settings: Settings, pace: Pace | None = None) -> ExtBot[str]:
    """Return a client for the bot that the settings name."""
    assert settings.telegram_token is not None
    # The environment is looked at by `proxy_for` alone, for all chats alike.
    out: dict[str, Any] = {
        "proxy": proxy_for(settings, settings.telegram_api_base),
        "httpx_kwargs": {"trust_env": False},
    }
    return ExtBot(
        settings.telegram_token,
        base_url=f"{settings.telegram_api_base}/bot",
        base_file_url=f"{settings.telegram_file_base}/bot",
        request=Connection(
            connection_pool_size=CONNECTIONS,
            connect_timeout=CONNECT,
            read_timeout=ANSWER,
            write_timeout=ANSWER,
            pool_timeout=ANSWER,
            media_write_timeout=UPLOAD,
            **out,
        ),
        get_updates_request=Connection(
            connection_pool_size=2, connect_timeout=CONNECT, read_timeout=CONNECT, **out
        ),
        rate_limiter=pace or Pace(),
    )


def read_reactions(settings: Mapping[str, str]) -> Mapping[str, Act]:
    """Return what reactions do; raises `SettingError` for what Telegram or Marble does not know."""
    key = "MARBLE_TELEGRAM_REACTIONS"
    known = {emoji.value.replace(VARIATION, "") for emoji in ReactionEmoji}
    found = {}
    for emoji, act in settings.items():
        if emoji.replace(VARIATION, "") not in known:
            raise SettingError(key, emoji, f"any of {' '.join(sorted(known))}")
        if act not in REACTIONS:
            raise SettingError(key, act, f"one of {', '.join(REACTIONS)}")
        found[emoji.replace(VARIATION, "")] = REACTIONS[act]
    return found
