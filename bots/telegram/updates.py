"""Updates come in by polling, or sent to a webhook, and are stored before Telegram forgets them.

Asking with a higher offset is how Telegram is told that it may forget. PTB's own updater does so
as soon as an update is queued in memory, so that a crash loses it; here the offset moves after the
inbox has committed, by asking through the same bot. The webhook is a URL that the owner's web
server passes on; an update is acknowledged once it is stored, else Telegram sends it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Final
from urllib.parse import urlsplit
from warnings import catch_warnings, simplefilter

from aiohttp import web
from telegram import Update
from telegram.error import BadRequest, NetworkError, RetryAfter, TelegramError
from telegram.ext import ExtBot
from telegram.warnings import PTBUserWarning

from bots.service.front_door import FrontDoor, listening
from bots.telegram.address import PLATFORM
from bots.telegram.errors import seconds_of, translate
from bots.telegram.features import Features
from bots.telegram.messages import Incoming, read_update
from bots.worker.delivery import back_off
from storage import DatabaseFault, InboxEntry
from storage.people.inbox import Inbox

POLL: Final = 30  # seconds that Telegram may hold an empty answer
RETRY: Final = 1.0  # seconds between tries to store what has arrived
HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"
LARGEST: Final = 2**20  # bytes of one update
CONNECTIONS: Final = 40  # that Telegram may make

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Updates:
    """Stores the updates that are meant for Marble and starts their handling, once each."""

    bot: ExtBot[str] = field(repr=False)  # it shows its token
    inbox: Inbox
    features: Features
    start: Callable[[Incoming], None]
    put_off: Callable[[Update, DatabaseFault], None]  # tells why one is not stored yet

    async def poll(self) -> None:
        """Ask for updates and `take` them until cancelled; raises `TelegramError`."""
        await self.bot.delete_webhook()  # else Telegram refuses to be polled
        offset: int | None = None
        failures = wait = 0
        while True:
            try:
                updates, offset = await self._ask(offset, wait)
            except TelegramError as error:
                if isinstance(error, BadRequest) and self.features.refuses_new(error):
                    continue
                await self._rest(error, failures)
                failures += 1
                continue
            failures, wait = 0, POLL
            await self.take(updates)
            await self.features.learn(self.bot)

    async def _ask(self, offset: int | None, wait: int) -> tuple[Sequence[Update], int | None]:
        """Return new updates, and the offset that confirms them to Telegram."""
        try:
            updates = await self.bot.get_updates(
                offset=offset, timeout=wait, allowed_updates=self.features.updates
            )
        except TelegramError:
            raise
        except Exception:  # PTB reads all or nothing: one that it cannot read must not stop all
            log.exception("a batch of updates cannot be read")
            return await self._ask_one_by_one(offset)
        return updates, updates[-1].update_id + 1 if updates else offset

    async def _ask_one_by_one(self, offset: int | None) -> tuple[Sequence[Update], int | None]:
        wanted = {"offset": offset, "allowed_updates": self.features.updates}
        with catch_warnings():
            simplefilter("ignore", PTBUserWarning)  # that there is a method for it
            raw = await self.bot.do_api_request("getUpdates", api_kwargs=wanted)
        updates = []
        for each in raw:
            offset = each["update_id"] + 1
            try:
                updates.append(Update.de_json(each, self.bot))
            except Exception:
                log.exception("update %d is skipped", each["update_id"])
        return updates, offset

    async def take(self, updates: Sequence[Update]) -> None:
        """Store updates meant for Marble, waiting out a locked database; start new ones."""
        found = (read_update(each, self.bot.bot) for each in updates)
        arrived = {each.id: each for each in found if each}
        for each in [each for each in arrived.values() if each.update.inline_query]:
            self.start(arrived.pop(each.id))  # of no use in a second, and comes with each letter
        letters = [
            InboxEntry(id=each.id, adapter=PLATFORM, person=each.person, body=each.update.to_dict())
            for each in arrived.values()
        ]
        told = False
        while letters:
            try:
                for letter in await self.inbox.add(letters):
                    self.start(arrived[letter.id])
                return
            except DatabaseFault as fault:
                if not fault.passing:
                    raise
                log.warning("%d updates are waiting: %s", len(letters), fault)
                for each in () if told else arrived.values():
                    self.put_off(each.update, fault)
                told = True
                await asyncio.sleep(RETRY)

    async def listen(self, url: str, listen: str | None, front_door: FrontDoor) -> None:
        """Register a URL, and `take` what comes to it until cancelled.

        listen: the host:port where it comes in; None: the web port, at the URL's path. Raises
        `TelegramError`.
        """
        secret = hmac.new(self.bot.token.encode(), b"webhook", hashlib.sha256).hexdigest()
        path, receive = urlsplit(url).path or "/", partial(self._receive, secret)
        async with AsyncExitStack() as stack:
            if listen is None:
                stack.enter_context(front_door.answering({path: receive}))
            else:
                app = web.Application(client_max_size=LARGEST)
                app.router.add_post(path, receive)
                host, _, port = listen.rpartition(":")
                at = listening(app, host.strip("[]"), int(port), "MARBLE_TELEGRAM_WEBHOOK_LISTEN")
                await stack.enter_async_context(at)
            await self._set_webhook(url, secret)
            for failures in count():
                await self.features.learn(self.bot)
                if self.features.known.is_set():
                    break
                await asyncio.sleep(back_off(failures))
            await asyncio.Event().wait()

    async def _receive(self, secret: str, request: web.Request) -> web.Response:
        # A header may hold any bytes, which aiohttp keeps as surrogates.
        given = request.headers.get(HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, secret.encode()):
            return web.Response(status=403)
        try:
            update = Update.de_json(json.loads(await request.read()), self.bot)
        except Exception:  # sent again, it would fail again
            log.exception("an update is skipped")
            return web.Response()
        await self.take([update])
        return web.Response()

    async def _set_webhook(self, url: str, secret: str) -> None:
        while True:
            try:
                await self.bot.set_webhook(
                    url,
                    secret_token=secret,
                    allowed_updates=self.features.updates,
                    max_connections=CONNECTIONS,
                )
                return
            except BadRequest as error:
                if not self.features.refuses_new(error):
                    raise

    async def _rest(self, error: TelegramError, failures: int) -> None:
        """Wait where waiting helps, and raise where it does not."""
        if isinstance(error, RetryAfter):
            await asyncio.sleep(seconds_of(error))
        elif isinstance(error, NetworkError) and not isinstance(error, BadRequest):
            wait = back_off(failures)
            log.warning("Telegram cannot be reached (%s); retry in %.0f s", translate(error), wait)
            await asyncio.sleep(wait)
        else:
            raise error
