"""The connection to Discord: where its servers are, and how long anything may take.

discord.py lets a request wait five minutes for its answer, and the gateway 17 minutes for its next
try, without a setting for either: after a network that drops packets and reports no error, nothing
would be delivered for so long once it works again.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal

import aiohttp
import discord
from discord.backoff import ExponentialBackoff
from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL

from bots.operations.proxy import proxy_for
from bots.operations.settings import Settings
from bots.worker.delivery import SEND

# None of these is privileged: Marble reads no messages and knows no member lists.
INTENTS: Final = discord.Intents(guilds=True, guild_reactions=True, dm_reactions=True)
LOGIN: Final = 60.0  # seconds that logging in may take, the registering of commands included
# Seconds for a connection, for the first and each further byte of an answer once all is sent, and
# for all of a request, since an upload may be slow.
REQUEST: Final = aiohttp.ClientTimeout(total=SEND, sock_connect=10.0, sock_read=20.0)


class Backoff(ExponentialBackoff[Literal[False]]):
    """Wait up to 16 s before the gateway is tried again."""

    def __init__(self) -> None:
        super().__init__()
        self._max = 4


discord.client.ExponentialBackoff = Backoff  # type: ignore[attr-defined, assignment]


class Connection(discord.Client):
    """Speak with Discord within bounded times, through the proxy that the settings name."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        # It takes requests, the gateway and attachments alike.
        proxy = proxy_for(settings, settings.discord_api_base)
        super().__init__(intents=INTENTS, proxy=proxy, **options)

    async def login(self, token: str) -> None:
        """Log in; raises `TimeoutError` where that takes more than `LOGIN` seconds."""
        try:
            async with asyncio.timeout(LOGIN):
                await super().login(token)
        except TimeoutError:
            raise TimeoutError(f"no answer within {LOGIN:g} s") from None

    async def setup_hook(self) -> None:
        """Bound all requests; they share the session that logging in has made."""
        session: aiohttp.ClientSession = self.http._HTTPClient__session  # type: ignore[attr-defined]
        session._timeout = REQUEST


def point_at(settings: Settings) -> None:
    """Let discord.py speak with the server that the settings name."""
    Route.BASE = settings.discord_api_base
    DiscordWebSocket.DEFAULT_GATEWAY = URL(settings.discord_gateway)
