"""A Discord on loopback, to which an unmodified discord.py client connects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from tests.conftest import PATIENCE
from tests.fakes.discord.faults import Faults
from tests.fakes.discord.gateway import Gateway
from tests.fakes.discord.people import Person
from tests.fakes.discord.rest import Rest
from tests.fakes.discord.schema import Specification
from tests.fakes.discord.world import (
    DM,
    TEXT,
    THREAD,
    Attachment,
    Channel,
    Guild,
    Interaction,
    Message,
    User,
)

TOKEN: Final = "fake.discord.token"
# Seconds to acknowledge an interaction: ten times what Discord itself gives, whose 3 s only a quiet
# machine can be held to; `make bench-discord` tells how many it takes.
IN_TIME: Final = 30.0
BODY: Final = 64 * 2**20  # bytes


class Waited(AssertionError):
    """Say what did not happen."""


class FakeDiscord:
    """Hold a small Discord: one bot, a server with a channel, and whoever comes."""

    def __init__(self, specification: Specification) -> None:
        self.specification = specification
        self.token = TOKEN
        self.bot = User("marble", bot=True)
        self.faults = Faults()
        self.gateway = Gateway(self)
        self.people: dict[int, User] = {self.bot.id: self.bot}
        self.channels: dict[int, Channel] = {}
        self.guilds: list[Guild] = []
        self.messages: dict[int, Message] = {}
        self.interactions: dict[int, Interaction] = {}
        self.uploads: dict[int, Attachment] = {}
        self.downloads: list[int] = []  # of files, by their number
        self.commands: list[dict[str, Any]] = []
        self.requests: list[tuple[float, str, str]] = []
        self.syncs = 0
        self.refused = 0  # identifications with a wrong token
        self.body_limit = BODY
        self.in_time = IN_TIME
        self.url = ""
        self._changed = asyncio.Condition()
        self.guild = self.add_guild()
        self.channel = self.guild.channels[0]

    @classmethod
    @asynccontextmanager
    async def start(cls, specification: Path) -> AsyncIterator[FakeDiscord]:
        """Serve on a free port of loopback until the block ends."""
        discord = cls(Specification(specification))
        rest = Rest(discord)
        app = web.Application(middlewares=[rest.middleware], client_max_size=BODY)
        app.add_routes([*rest.routes(), web.get("/gateway", discord.gateway.connect)])
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        discord.url = f"http://127.0.0.1:{port}"
        try:
            yield discord
        finally:
            await runner.cleanup()

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/v10"

    @property
    def gateway_url(self) -> str:
        return f"{self.url.replace('http', 'ws')}/gateway"

    @property
    def environment(self) -> dict[str, str]:
        """Return what points Marble here."""
        return {
            "MARBLE_DISCORD_TOKEN": self.token,
            "MARBLE_DISCORD_API_BASE": self.api_url,
            "MARBLE_DISCORD_GATEWAY": self.gateway_url,
        }

    def add_guild(self, **facts: Any) -> Guild:
        guild = Guild(**facts)
        self.guilds.append(guild)
        self.add_channel(guild)
        return guild

    def add_channel(self, guild: Guild | None, **facts: Any) -> Channel:
        channel = Channel(guild=guild, **{"kind": TEXT, **facts})
        self.channels[channel.id] = channel
        if guild:
            guild.channels.append(channel)
        return channel

    async def permit(self, guild: Guild, permissions: int) -> None:
        """Change what the bot may do in a server."""
        guild.permissions = permissions
        role = {"guild_id": str(guild.id), "role": guild.everyone}
        await self.gateway.emit("GUILD_ROLE_UPDATE", role)

    def add_thread(self, parent: Channel, kind: int = THREAD) -> Channel:
        return self.add_channel(parent.guild, kind=kind, parent=parent)

    def person(self, name: str, permissions: int = 0, **facts: Any) -> Person:
        """Let somebody join the server."""
        user = User(name, **facts)
        self.people[user.id] = user
        self.guild.members[user.id] = permissions
        return Person(self, user, self.channel)

    def dm_with(self, person: User) -> Channel:
        for channel in self.channels.values():
            if channel.kind == DM and channel.recipient is person:
                return channel
        return self.add_channel(None, kind=DM, recipient=person)

    def keep(self, message: Message) -> Message:
        self.messages[message.id] = message
        return message

    def sent(self) -> list[Attachment]:
        """Return every file that was ever sent, be it to one person alone."""
        found = {id(each): each for each in self.messages.values()}
        for interaction in self.interactions.values():
            there = (interaction.original, *interaction.followups)
            found |= {id(each): each for each in there if each}
        return [file for message in found.values() for file in message.held]

    def shown(self, channel: Channel | None = None) -> list[Message]:
        """Return the messages that everybody in a channel sees, oldest first."""
        channel = channel or self.channel
        return [
            message
            for message in self.messages.values()
            if message.channel is channel and not (message.ephemeral or message.deleted)
        ]

    async def happened(self) -> None:
        """Wake whoever waits for something."""
        async with self._changed:
            self._changed.notify_all()

    async def until(
        self, true: Callable[[], Any], what: str = "it", seconds: float = PATIENCE
    ) -> Any:
        """Wait until something is true and return what it returned."""
        async with self._changed:
            try:
                async with asyncio.timeout(seconds):
                    while not (found := true()):
                        await self._changed.wait()
            except TimeoutError:
                raise Waited(f"{what} did not happen within {seconds:g} s") from None
        return found

    async def ready(self) -> None:
        """Wait for the client to be connected."""
        await self.until(lambda: self.gateway.connected, "connecting")
