"""Measure the web page: `python -m tests.bench.web`; prints one table.

--jobs N      size of the history (default 1,000,000; filling it takes minutes)
--people N    how many have a page with live progress open (default 200)
--rate R      jobs that are asked for a second, as from chats, all the time (default 5)
--seconds S   how long each round lasts (default 30), --rounds how many of each kind (default 3)
--folder F    where the data lies (default: a temporary folder); a history that is there is kept

One visitor loads the first page of their pictures and its 60 thumbnails, over six connections as
browsers do, again and again: in turn without and with the others' open pages, in one run. Told are
the event loop's lag in the serving process, and how long the visitor waits for the first byte.
Those who look are in a process of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import random
import re
import sys
import time
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout

from bots.operations.settings import load_settings
from bots.requests.studio import Asker
from bots.service.adapters import Service
from bots.service.app import App, open_app
from bots.service.kept import KeptAdapter
from bots.web.adapter import Web
from engine.events import Event, Picture, Progress, Stage
from engine.executors.config import EngineConfig
from engine.formats.metadata import write_png
from storage import Storage
from tests.bench.storage import a_job, a_prompt, fill, p, place
from tests.factories import add_claimed, pixels
from tests.fakes.instant import InstantExecutor, _jpeg
from tests.ports import free_port

STEPS, PACE = 8, 0.25  # steps of a job, and seconds of each
VISITOR: Final = "bench:1"  # who asked for most of the history
SHOWN: Final = 60  # pictures of a page
CONNECTIONS: Final = 6  # of a browser to one site
SESSIONS: Final = 16  # of the visitor
SIDE: Final = 256  # pixels of those that are shown
BEAT: Final = 0.01  # seconds between two measurements of the lag
SETTLED: Final = 2.0  # seconds after pages were opened


class PacedExecutor(InstantExecutor):
    """Draw step by step, with a preview at each."""

    async def _draw(self, spec: Any, key: tuple[int, int]) -> AsyncGenerator[Event]:
        recipe, preview = spec.recipe, _jpeg()
        for step in range(STEPS):
            yield Progress(stage=Stage.DENOISE, step=step, total=STEPS, preview=preview)
            await asyncio.sleep(PACE)
        png = write_png(pixels(recipe.seed % 2**32, 64, 64), recipe, 0)
        yield Picture(index=0, width=64, height=64, png=png)


def make(config: EngineConfig) -> PacedExecutor:
    assert config.notes is not None
    return PacedExecutor(config.notes.parent / "gate")


@dataclass
class Lag:
    """By how much the event loop is late, in seconds."""

    found: list[float] = field(default_factory=list)

    async def measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT
            await asyncio.sleep(BEAT)
            self.found.append(max(0.0, loop.time() - due))


@dataclass
class Round:
    """What was measured while pages were open, or none was: all in seconds."""

    lags: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)
    thumbnails: list[float] = field(default_factory=list)
    events: int = 0

    def rows(self) -> Sequence[str]:
        times = (self.lags, self.pages, self.thumbnails)
        return [f"{p(each, 0.5):.1f} / {p(each, 0.99):.1f}" for each in times]


class Lookers:
    """The process of those who look at pages; it does what it reads line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, **what: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        return json.loads(await self._process.stdout.readline())


@asynccontextmanager
async def lookers(origin: str) -> AsyncIterator[Lookers]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.web", "--look-at", origin),
        stdin=pipe,
        stdout=pipe,
        limit=2**26,
    )
    try:
        yield Lookers(process)
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def a_marble(folder: Path, port: int) -> AsyncIterator[App]:
    """Serve the page from a folder."""
    chosen = {
        "MARBLE_DATA_DIR": str(folder),
        "MARBLE_EXECUTOR": "tests.bench.web:make",
        "MARBLE_WEB_PORT": str(port),
        "MARBLE_BACKUPS": "0",
        **dict.fromkeys(("MARBLE_PER_MINUTE", "MARBLE_PLACE_PER_MINUTE"), "0"),
    }
    async with open_app(load_settings(chosen, env_file=""), serving=True) as app:
        service = Service(app, [KeptAdapter("terminal"), Web(app)])
        running = asyncio.create_task(service.run())
        try:
            yield app
        finally:
            service.stop()
            await running


async def make_history(folder: Path, count: int) -> None:
    """Fill the history, unless it is there, and let the visitor's newest pictures have files."""
    async with Storage.open(folder) as storage:
        dice = random.Random(0)
        if not await storage.history.page(limit=1):
            await storage.jobs.add(a_job(dice))
            say(f"a history of {count:,} jobs was filled in {await fill(storage, count):.0f} s")
        for number in range(SHOWN):
            new = a_job(dice)
            new = type(new)(recipe=new.recipe, person=VISITOR, place="terminal")
            job = await add_claimed(storage, new)
            png = write_png(pixels(number, SIDE, SIDE), job.recipe, 0)
            drawn = Picture(index=0, width=SIDE, height=SIDE, png=png)
            await storage.jobs.rendered(job.id, job.epoch, [drawn])
            await storage.jobs.delivered(job.id, {})


async def ask(app: App, people: Sequence[str], rate: float) -> None:
    """Ask for jobs, so many a second, as people do in chats."""
    dice = random.Random(1)
    values = {"steps": STEPS, "width": 64, "height": 64}
    while True:
        asker = Asker(person=dice.choice(people), place="terminal")
        await app.studio.imagine({**values, "prompt": a_prompt(dice)}, asker)
        await asyncio.sleep(dice.expovariate(rate))


async def one_round(app: App, eyes: Lookers, seconds: float, into: Round) -> None:
    lag = Lag()
    measuring = asyncio.create_task(lag.measure())
    found = await eyes.do(do="visit", seconds=seconds)
    measuring.cancel()
    into.lags += lag.found
    into.pages += found["pages"]
    into.thumbnails += found["thumbnails"]
    into.events += found["events"]


async def memory_of_streams(eyes: Lookers, tokens: Sequence[str]) -> int:
    """Return the bytes of Python's memory that open streams take, while nothing else is done."""
    tracemalloc.start()
    await asyncio.sleep(SETTLED)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    await open_all(eyes, tokens)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await eyes.do(do="close")
    return after - before


async def open_all(eyes: Lookers, tokens: Sequence[str]) -> None:
    """Open a stream for each session."""
    opened = await eyes.do(do="open", tokens=tokens)
    assert opened == len(tokens), f"{opened} streams were opened"
    await asyncio.sleep(SETTLED)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def compare(app: App, eyes: Lookers, options: argparse.Namespace) -> None:
    """Measure rounds without and with open pages in turn, and print both."""
    people = [f"bench:{1000 + number}" for number in range(options.people)]
    access = app.storage.web_access
    tokens = [await access.open_session(person) for person in people]
    own = [await access.open_session(VISITOR) for _ in range(SESSIONS)]
    await eyes.do(do="know", tokens=own)
    asking = asyncio.create_task(ask(app, people, options.rate))
    await eyes.do(do="visit", seconds=SETTLED)  # thumbnails are made, templates are warm
    alone, together = Round(), Round()
    for _ in range(options.rounds):
        await one_round(app, eyes, options.seconds, alone)
        await open_all(eyes, tokens)
        await one_round(app, eyes, options.seconds, together)
        await eyes.do(do="close")
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    say(f"{'milliseconds, p50 / p99':<34}{'nobody else':>18}{options.people:>12} live pages")
    what = ("lag of the event loop", "first byte of the page", "first byte of a thumbnail")
    for name, one, two in zip(what, alone.rows(), together.rows(), strict=True):
        say(f"{name:<34}{one:>18}{two:>23}")
    say(f"{'pages loaded':<34}{len(alone.pages):>18}{len(together.pages):>23}")
    say(f"{'events told':<34}{alone.events:>18}{together.events:>23}")
    more = await memory_of_streams(eyes, tokens)
    say(f"memory of a stream: {more / len(tokens) / 1024:.0f} KiB")


async def look(origin: str) -> None:
    """Do what is read from the standard input, and answer each with a line of JSON."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    eyes = Eyes(origin)
    while line := await reader.readline():
        what = json.loads(line)
        say(json.dumps(await getattr(eyes, what.pop("do"))(**what)))


class Eyes:
    """Looks at pages as browsers do."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._own = cycle([""])
        self._open: list[asyncio.Task[None]] = []
        self._events = 0
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def know(self, tokens: Sequence[str]) -> None:
        """Keep the visitor's sessions, which take turns: each may read only so much a minute."""
        self._own = cycle(tokens)

    async def open(self, tokens: Sequence[str]) -> int:
        """Open a stream for each session; return how many have begun."""
        begun = [asyncio.get_running_loop().create_future() for _ in tokens]
        pairs = zip(tokens, begun, strict=True)
        self._open = [asyncio.create_task(self._stream(*each)) for each in pairs]
        return sum(await asyncio.gather(*begun))

    async def close(self) -> None:
        """Close all streams."""
        for each in self._open:
            each.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def visit(self, seconds: float) -> dict[str, Any]:
        """Load the page with its thumbnails again and again; return seconds to first bytes."""
        pages: list[float] = []
        small: list[float] = []
        end, self._events = time.monotonic() + seconds, 0
        async with ClientSession() as http:
            while time.monotonic() < end:
                as_visitor = self._headers(next(self._own))
                wait, page = await self._load(http, "/pictures", as_visitor)
                pages.append(wait)
                paths = re.findall(r'src="(/thumbnails/[^"]+)"', page.decode())
                assert len(paths) == SHOWN, f"{len(paths)} thumbnails"
                loaded = await asyncio.gather(
                    *(self._load(http, path, as_visitor) for path in paths)
                )
                small += [wait for wait, _ in loaded]
        return {"pages": pages, "thumbnails": small, "events": self._events}

    async def _load(
        self, http: ClientSession, path: str, headers: dict[str, str]
    ) -> tuple[float, bytes]:
        """Return the seconds from the question to the first byte, and all bytes."""
        async with self._free:
            began = time.monotonic()
            async with http.get(self._origin + path, headers=headers) as answer:
                waited = time.monotonic() - began
                assert answer.status == 200, answer.status
                return waited, await answer.read()

    async def _stream(self, token: str, begun: asyncio.Future[bool]) -> None:
        address, endless = f"{self._origin}/events", ClientTimeout(total=None)
        try:
            async with (
                ClientSession(headers=self._headers(token), timeout=endless) as http,
                http.get(address) as answer,
            ):
                async for line in answer.content:
                    if line.startswith(b"event:"):
                        self._events += 1
                        if not begun.done():
                            begun.set_result(True)
        finally:
            if not begun.done():
                begun.set_result(False)

    def _headers(self, token: str) -> dict[str, str]:
        return {"Cookie": f"marble={token}"}


async def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--look-at", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look_at:
        await look(options.look_at)
        return
    logging.getLogger("marble.storage").setLevel(logging.ERROR)
    port = free_port()
    async with place(options.folder) as folder:
        await make_history(folder, options.jobs)
        async with a_marble(folder, port) as app, lookers(f"http://127.0.0.1:{port}") as eyes:
            await compare(app, eyes, options)


if __name__ == "__main__":
    asyncio.run(main())
