"""Soak: ten thousand jobs through an engine that answers at once, as a service runs for years.

python -m tests.bench.soak [--jobs 10000]

Prints jobs a second, the growth of memory over the second half, the event loop's lag, and what is
left behind at the end; exits with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bots.operations.settings import load_settings
from bots.requests.studio import Asker
from bots.service.adapters import ConnectionState, Service
from bots.service.app import App, open_app
from bots.worker.delivery import Shown, Way
from engine.events import Event, Picture, Progress, Stage
from engine.executors import Executor, Health
from engine.executors.config import EngineConfig
from engine.formats.metadata import write_png
from engine.spec import Spec
from storage import PendingReply
from tests.factories import pixels

PEOPLE: Final = 50
AT_ONCE: Final = 200  # jobs that people have asked for and not yet got
GROWTH: Final = 1.05
LAG: Final = 0.05  # seconds, p99
BEAT: Final = 0.01


class Instant(Executor):
    """Draw the same small picture for everybody, at once."""

    slots = 8

    def __init__(self, config: EngineConfig) -> None:
        self.png: dict[str, bytes] = {}

    async def __aexit__(self, *error: object) -> None:
        pass

    async def ready(self) -> None:
        pass

    def health(self) -> Health:
        return Health(alive=True)

    def cancel(self, job: int, epoch: int) -> None:
        pass

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        for step in range(4):
            yield Progress(stage=Stage.DENOISE, step=step, total=4, preview=b"jpeg" * 500)
        png = write_png(pixels(spec.recipe.seed), spec.recipe, 0)
        yield Picture(index=0, width=8, height=8, png=png)


@dataclass
class Chat:
    """Take replies, and follow every job as a chat's placeholder does."""

    name: str = "soak"
    ways: Sequence[Way] = (Way("edit", repeatable=True),)
    exclusive: bool = False
    replies: dict[int, int] = field(default_factory=dict)
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def check(self) -> None:
        """Know the token."""

    def stop_intake(self) -> None:
        pass

    def connections(self) -> Sequence[ConnectionState]:
        return ()

    async def deliver(self, pending: PendingReply, way: Way) -> Shown:
        self.replies[pending.job.id] = self.replies.get(pending.job.id, 0) + 1
        self.room.release()
        return {f"soak:{pending.job.id}": None}


@dataclass
class Figures:
    """Hold what was measured."""

    lags: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    async def watch(self) -> None:
        """Note the loop's lag and the memory, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT
            await asyncio.sleep(BEAT)
            self.lags.append(loop.time() - due)
            if len(self.lags) % 50 == 0:
                self.memory.append(resident())

    def p99(self) -> float:
        """Return the lag that one beat of a hundred exceeds, in seconds."""
        return sorted(self.lags)[int(len(self.lags) * 0.99)]

    def growth(self) -> float:
        """Return by what factor memory grew over the second half: medians of its ends."""
        half = self.memory[len(self.memory) // 2 :]
        part = max(1, len(half) // 5)
        ends = [sorted(each)[len(each) // 2] for each in (half[:part], half[-part:])]
        return ends[1] / ends[0]


async def ask(app: App, chat: Chat, jobs: int) -> None:
    """Ask for so many pictures, many people at a time, and follow each."""
    async with asyncio.TaskGroup() as group:
        for number in range(jobs):
            await chat.room.acquire()
            asker = Asker(person=f"soak:{number % PEOPLE}", place=f"soak:{number % 7}")
            words = {"prompt": f"a cat, number {number}", "seed": number}
            job = await app.studio.imagine(words, asker)
            group.create_task(_follow(app, job.id), name=f"follow-{job.id}")


async def _follow(app: App, job: int) -> None:
    async for _ in app.worker.follow(job):
        pass


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[App, Chat]]:
    """Serve one chat with the engine that answers at once."""
    settings = load_settings({"MARBLE_EXECUTOR": "tests.bench.soak:Instant"}, env_file="")
    settings = replace(settings, data_dir=folder, per_minute=0, place_per_minute=0)
    async with open_app(settings, serving=True) as app:
        chat = Chat()
        service = Service(app, [chat])
        running = asyncio.create_task(service.run(), name="service")
        yield app, chat
        service.stop()
        await running


def resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    """Return how many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


async def soak(jobs: int) -> int:
    """Run it; return how many goals were missed."""
    loop, figures = asyncio.get_running_loop(), Figures()
    tasks, files = len(asyncio.all_tasks()), open_files()
    with tempfile.TemporaryDirectory() as folder:
        begun = loop.time()
        async with serving(Path(folder)) as (app, chat):
            watching = asyncio.create_task(figures.watch(), name="watch")
            await ask(app, chat, jobs)
            seconds = loop.time() - begun
            watching.cancel()
        del app
        gc.collect()
        left = len(asyncio.all_tasks()) - tasks
        open_left = open_files() - files
    twice = sum(count != 1 for count in chat.replies.values())
    goals = (
        (f"jobs {jobs:,}, replies {len(chat.replies):,}", len(chat.replies) == jobs),
        (f"replies other than once: {twice}", twice == 0),
        (f"memory over the second half: {figures.growth():.3f} ×", figures.growth() <= GROWTH),
        (f"loop lag p99: {figures.p99() * 1000:.1f} ms", figures.p99() <= LAG),
        (f"tasks left: {left}, files left: {open_left}", left <= 0 and open_left <= 0),
    )
    sys.stdout.write(f"{jobs / seconds:.0f} jobs a second, most memory {max(figures.memory):,} B\n")
    for text, met in goals:
        sys.stdout.write(f"{'met   ' if met else 'MISSED'}  {text}\n")
    return sum(not met for _, met in goals)


def main() -> int:
    """Read the arguments and soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    logging.basicConfig(level=logging.ERROR)
    return int(asyncio.run(soak(parser.parse_args().jobs)) > 0)


if __name__ == "__main__":
    sys.exit(main())
