"""Telegram on loopback, with the real `marble serve` connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import SENT
from tests.fakes.process import Marble
from tests.fakes.telegram.people import Person, person
from tests.fakes.telegram.server import TOKEN, TelegramServer

TOKEN_SECRET = TOKEN.partition(":")[2]


@asynccontextmanager
async def a_server() -> AsyncIterator[TelegramServer]:
    """Yield a server; no call to it may break the specification."""
    server = TelegramServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        SENT["Telegram"] += len(server.calls)
        SENT["Telegram rejected"] += len(server.rejected)
    assert server.rejected == []


@asynccontextmanager
async def a_marble(server: TelegramServer, folder: Path, **more: str) -> AsyncIterator[Marble]:
    """Yield Marble, connected and with an engine that answers at once; its log has no token."""
    settings = {**server.environment, "MARBLE_DEBUG": "1", **more}
    marble = Marble(folder, settings)
    await marble.start()
    try:
        await server.until(lambda: server.polls)
        yield marble
    finally:
        await marble.kill()
    assert TOKEN_SECRET not in marble.log


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramServer]:
    """Yield a server for one test."""
    async with a_server() as server:
        yield server


@pytest.fixture
async def marble(telegram: TelegramServer, tmp_path: Path) -> AsyncIterator[Marble]:
    """Yield Marble for one test."""
    async with a_marble(telegram, tmp_path) as marble:
        yield marble


@pytest.fixture
def ada(telegram: TelegramServer) -> Person:
    """Return somebody whose private chat with the bot is open."""
    return person(telegram)
