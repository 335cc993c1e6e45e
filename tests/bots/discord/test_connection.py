"""A network that swallows what is sent holds nothing up for longer than Marble's own limits."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import discord
import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bots.discord.connection import Backoff, Connection, point_at
from bots.operations.settings import load_settings
from tests.chaos.link import Link, Mode
from tests.conftest import PATIENCE
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord.gateway import IDENTIFY

SHORT = 0.2  # seconds, in place of the real limits


@pytest.fixture
async def link(discord: FakeDiscord, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Link]:
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
    async with Link.to(int(discord.url.rpartition(":")[2])) as link:
        base = f"{link.url}/api/v10"
        environment = {**discord.environment, "MARBLE_DISCORD_API_BASE": base}
        point_at(load_settings(environment, env_file=""))
        yield link


async def test_logging_in_ends_where_nothing_is_answered(
    discord: FakeDiscord, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.discord.connection.LOGIN", SHORT)
    link.become(Mode.SILENT)
    async with asyncio.timeout(PATIENCE), Connection(load_settings({}, env_file="")) as client:
        with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
            await client.login(discord.token)


async def test_a_request_ends_where_nothing_is_answered(
    discord: FakeDiscord, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = aiohttp.ClientTimeout(total=PATIENCE, sock_read=SHORT)
    monkeypatch.setattr("bots.discord.connection.REQUEST", limits)
    async with asyncio.timeout(PATIENCE), Connection(load_settings({}, env_file="")) as client:
        await client.login(discord.token)
        link.become(Mode.SILENT)
        with pytest.raises(TimeoutError):
            await client.application_info()


def test_the_gateway_is_tried_again_within_seconds_however_long_the_network_was_away() -> None:
    assert discord.client.ExponentialBackoff is Backoff  # type: ignore[attr-defined]
    backoff = Backoff()
    assert max(backoff.delay() for _ in range(200)) <= 16


def kill(connection: Any) -> None:
    """Close a connection as the end of its process does: what is on the way is lost."""
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.shutdown(socket.SHUT_RDWR)


async def test_the_fake_says_nothing_of_a_client_that_is_killed_while_it_hears(
    discord: FakeDiscord, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
        gateway = await session.ws_connect(discord.gateway_url)
        await gateway.send_json({"op": IDENTIFY, "d": {"token": discord.token, "intents": 1}})
        await discord.ready()
        kill(gateway.get_extra_info("socket"))
        while discord.gateway.connected:
            await discord.permit(discord.guild, 0)
            await asyncio.sleep(0)
    assert caplog.records == []
