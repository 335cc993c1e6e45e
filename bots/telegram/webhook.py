"""The webhook: Telegram sends updates to a URL that the owner's web server passes on."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from telegram import Update
from telegram.error import TelegramError
from telegram.ext import ExtBot

from bots.telegram.errors import translate
from bots.telegram.updates import ALLOWED

HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"
LARGEST: Final = 2**20  # bytes of one update
CONNECTIONS: Final = 40


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Listens for updates; each is acknowledged once it is stored, else Telegram sends it again."""

    bot: ExtBot[str] = field(repr=False)  # it shows its token
    url: str
    listen: str  # host:port
    take: Callable[[Sequence[Update]], Awaitable[None]]

    async def run(self) -> None:
        """Register the URL with Telegram, and listen until cancelled."""
        app = web.Application(client_max_size=LARGEST)
        app.router.add_post(urlsplit(self.url).path or "/", self._receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            host, _, port = self.listen.rpartition(":")
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
            await self.bot.set_webhook(
                self.url,
                secret_token=self._secret,
                allowed_updates=ALLOWED,
                max_connections=CONNECTIONS,
            )
            await asyncio.Event().wait()
        except TelegramError as error:
            raise translate(error) from None
        finally:
            await runner.cleanup()

    @property
    def _secret(self) -> str:
        """Return a secret derived from the token, so that it is the same after a restart."""
        return hmac.new(self.bot.token.encode(), b"webhook", hashlib.sha256).hexdigest()

    async def _receive(self, request: web.Request) -> web.Response:
        # A header may hold any bytes, which aiohttp keeps as surrogates.
        given = request.headers.get(HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._secret.encode()):
            return web.Response(status=403)
        try:
            update = Update.de_json(json.loads(await request.read()), self.bot)
        except Exception:  # sent again, it would fail again
            log.exception("an update is skipped")
            return web.Response()
        await self.take([update])
        return web.Response()
