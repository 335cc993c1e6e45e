"""The stage: two chats, the network to them, a disk, a clock, and Marble in the midst."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.cluster import Machines
from tests.chaos.deeds import Crowd
from tests.chaos.disk import Disk, a_disk
from tests.chaos.link import Link, Mode
from tests.chaos.service import GRACE, Service
from tests.chaos.witness import Witness
from tests.conftest import DISCORD_SPEC, PATIENCE, ROOT
from tests.fakes.discord import FakeDiscord
from tests.fakes.process import Marble
from tests.fakes.telegram.server import TelegramServer
from tests.ports import free_port

CLOCK: Final = Path(__file__).with_name("clock")
IN_TIME: Final = 3.0  # seconds that Discord gives to acknowledge an interaction


@dataclass(frozen=True, slots=True)
class Doubt:
    """Hold a time in which answers could be lost, by the steady clock, and at whom."""

    begins: float
    ends: float
    platforms: frozenset[str]


@dataclass(eq=False)
class Stage:
    """Hold everything that can be spoilt."""

    folder: Path
    seconds: float  # of the whole run, which bounds how long anything may last
    telegram: TelegramServer
    discord: FakeDiscord
    links: Mapping[str, Link]
    disk: Disk
    service: Service
    crowd: Crowd
    metrics_port: int
    machines: Machines | None = None  # where it draws, if not on this one
    done: Counter[str] = field(default_factory=Counter)  # faults, by kind
    doubts: list[Doubt] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def notes(self) -> Path:
        """Return where it is kept what engines measured, those of a cluster's machines, too."""
        return self.data / "engine"

    @property
    def database(self) -> Path:
        return self.data / "marble.db"

    def set_clock(self, seconds: float) -> None:
        """Let Marble's time of day be off by so much."""
        draft = self.folder / "clock.draft"
        draft.write_text(str(seconds))
        draft.replace(self.folder / "clock")

    def doubt(self, began: float, *platforms: str, after: float = 0.0) -> None:
        """Note that answers could be lost since then, and for so long from now on."""
        ends = time.monotonic() + after
        self.doubts.append(Doubt(began, ends, frozenset(platforms or self.links)))

    def in_doubt(self, platform: str, since: float, until: float) -> bool:
        """Say whether an answer could be lost within a time."""
        return any(
            platform in each.platforms and each.begins <= until and since <= each.ends
            for each in self.doubts
        )

    async def ready(self) -> None:
        """Wait until Marble is connected to both chats."""
        identified = self.discord.gateway.identified
        polls = self.telegram.polls
        async with asyncio.timeout(PATIENCE):
            await self.telegram.until(lambda: self.telegram.polls > polls)
            await self.discord.until(lambda: self.discord.gateway.identified > identified)

    def heal(self) -> None:
        """End everything that still lasts, but what was told to people."""
        for link in self.links.values():
            link.become(Mode.OPEN)
        self.telegram.faults.clear()
        self.discord.faults.waiting.clear()
        self.disk.empty(*self.service.processes())
        self.set_clock(0)


@asynccontextmanager
async def a_stage(
    folder: Path,
    seconds: float,
    *,
    mount: bool,
    machines: Machines | None = None,
    **settings: str,
) -> AsyncIterator[Stage]:
    """Set everything up, and take it down whatever happens."""
    if machines:
        settings = {**machines.settings, **settings}
    async with AsyncExitStack() as stack:
        telegram = TelegramServer()
        await telegram.start()
        stack.push_async_callback(telegram.stop)
        discord = await stack.enter_async_context(FakeDiscord.start(DISCORD_SPEC))
        ports = {"telegram": telegram.port, "discord": int(discord.url.rpartition(":")[2])}
        links = {
            name: await stack.enter_async_context(Link.to(port)) for name, port in ports.items()
        }
        discord.url = links["discord"].url  # what it tells Marble leads over the link, too
        discord.in_time = IN_TIME
        disk = stack.enter_context(a_disk(folder / "data", mount=mount))
        witness = Witness(telegram, discord)
        port = free_port()
        environment = _environment(telegram, discord, links, folder, port) | settings
        marble = Marble(folder, environment, fresh=True)
        stage = Stage(
            folder=folder,
            seconds=seconds,
            telegram=telegram,
            discord=discord,
            links=links,
            disk=disk,
            service=Service(marble),
            crowd=Crowd(telegram, discord, witness),
            metrics_port=port,
            machines=machines,
        )
        stage.set_clock(0)
        stack.push_async_callback(_end, marble)
        await stack.enter_async_context(_running(witness.watch(), "chaos-witness"))
        yield stage


def _environment(
    telegram: TelegramServer,
    discord: FakeDiscord,
    links: Mapping[str, Link],
    folder: Path,
    port: int,
) -> dict[str, str]:
    """Return the settings with which Marble finds all of it."""
    base = links["telegram"].url
    return {
        **telegram.environment,
        **discord.environment,
        "MARBLE_TELEGRAM_API_BASE": base,
        "MARBLE_TELEGRAM_FILE_BASE": f"{base}/file",
        "MARBLE_EXECUTOR": "child",
        "MARBLE_GRACE_SECONDS": str(GRACE),
        "MARBLE_METRICS_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{CLOCK}:{ROOT}",
        "CHAOS_CLOCK": str(folder / "clock"),
    }


async def _end(marble: Marble) -> None:
    if marble.pid:
        await marble.kill()


@asynccontextmanager
async def _running(work: object, name: str) -> AsyncIterator[None]:
    """Run a task until the end of the block; its failure is raised there."""
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    task.set_name(name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
