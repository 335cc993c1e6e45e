"""The connection to Discord: where its servers are, and how long anything may take.

discord.py waits up to five minutes for the answer to a request, and 17 minutes between two tries of
the gateway, and has no setting for either. After an outage that drops packets without an error,
nothing would be delivered for so long.
"""

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

# None of these is privileged: Marble reads no messages and no member lists.
INTENTS: Final = discord.Intents(guilds=True, guild_reactions=True, dm_reactions=True)
LOGIN: Final = 60.0  # seconds that logging in may take, the registering of commands included
# Seconds for a connection, for the first and each further byte of an answer once all is sent, and
# for all of a request, since an upload may be slow.
REQUEST: Final = aiohttp.ClientTimeout(total=SEND, sock_connect=10.0, sock_read=20.0)


class Backoff(ExponentialBackoff[Literal[False]]):
    """Waits up to 16 s before the gateway is tried again."""

    def __init__(self) -> None:
        super().__init__()
        self._max = 4


discord.client.ExponentialBackoff = Backoff  # type: ignore[attr-defined, assignment]


class Connection(discord.Client):
    """A client with bounded times for requests, through the proxy of the settings."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        # For requests, the gateway and attachments alike.
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
        """Set the timeouts of the session that all requests share; logging in has made it."""
        session: aiohttp.ClientSession = self.http._HTTPClient__session  # type: ignore[attr-defined]
        session._timeout = REQUEST


def point_at(settings: Settings) -> None:
    """Make discord.py use the server that the settings name."""
    Route.BASE = settings.discord_api_base
    DiscordWebSocket.DEFAULT_GATEWAY = URL(settings.discord_gateway)
