"""The real `marble serve`, in a process of its own, connected to a Discord on loopback."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage import Storage
from tests.conftest import DISCORD_SPEC, ROOT, SENT
from tests.fakes.discord import FakeDiscord, Person
from tests.forked import Process, serve

INSTANT = "tests.fakes.instant:make"


@dataclass
class Marble:
    """Start, stop and kill `marble serve`; its data outlives it."""

    discord: FakeDiscord
    data: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: Process | None = None

    @property
    def gate(self) -> Path:
        """Return the file that lets waiting jobs of the instant engine go on."""
        return self.data / "gate"

    @property
    def log(self) -> str:
        """Return all that it wrote to its log."""
        return (self.data.parent / "log").read_text(encoding="utf-8")

    async def start(self) -> None:
        """Start it and wait until it is connected."""
        connections = self.discord.gateway.identified
        await self.launch()
        await self.discord.until(
            lambda: self.discord.gateway.identified > connections, "connecting"
        )

    async def launch(self) -> None:
        """Start it."""
        self.data.mkdir(exist_ok=True)
        env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("MARBLE_")},
            "PYTHONPATH": str(ROOT),
            "MARBLE_DATA_DIR": str(self.data),
            "MARBLE_EXECUTOR": INSTANT,
            **self.discord.environment,
            **self.settings,
        }
        folder = self.data.parent
        self.process = Process(serve, env, folder, folder / "log")

    async def kill(self) -> None:
        """End it with no chance to tidy up."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Tell it to stop, and return its exit code."""
        return await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> int:
        assert self.process
        self.process.send_signal(how)
        code = await self.process.wait()
        await self.discord.gateway.drop()
        return code

    async def storage(self) -> AsyncIterator[Storage]:
        """Open its data, to look from outside."""
        async with Storage.open(self.data) as storage:
            yield storage


@pytest.fixture
async def discord() -> AsyncIterator[FakeDiscord]:
    """Yield a Discord; at its end, no body that it was sent may have been rejected."""
    async with FakeDiscord.start(DISCORD_SPEC) as discord:
        yield discord
        discord.specification.verify()
        SENT["Discord"] += discord.specification.validated
        SENT["Discord rejected"] += len(discord.specification.rejected)
        assert discord.specification.rejected == []


@pytest.fixture
async def cold(discord: FakeDiscord, tmp_path: Path) -> AsyncIterator[Marble]:
    """Yield a Marble that is not started yet."""
    marble = Marble(discord, tmp_path / "data")
    yield marble
    if marble.process and marble.process.returncode is None:
        await marble.kill()


@pytest.fixture
async def marble(cold: Marble) -> Marble:
    """Return a Marble that serves, with an engine that answers at once."""
    await cold.start()
    return cold


@pytest.fixture
def ann(discord: FakeDiscord) -> Person:
    return discord.person("ann")


@pytest.fixture
def bob(discord: FakeDiscord) -> Person:
    return discord.person("bob")
