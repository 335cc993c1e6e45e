"""Telegram on loopback, with the real `marble serve` connected to it."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.process import Marble
from tests.fakes.telegram import spec
from tests.fakes.telegram.people import Person, person
from tests.fakes.telegram.server import TOKEN, TelegramServer

TOKEN_SECRET = TOKEN.partition(":")[2]
CALLS: Counter[str] = Counter()
REJECTED: list[str] = []


def a_free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@asynccontextmanager
async def a_server() -> AsyncIterator[TelegramServer]:
    """Yield a server; no call to it may break the specification."""
    server = TelegramServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        CALLS.update(call.method for call in server.calls)
        REJECTED.extend(server.rejected)
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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many calls were held to the specification."""
    if CALLS:
        by = "the Bot API's description" if spec.description() else "limits only: no description"
        terminalreporter.write_line(
            f"Telegram: {CALLS.total()} calls of {len(CALLS)} methods held to {by}; "
            f"{len(REJECTED)} rejected."
        )
