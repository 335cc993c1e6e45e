"""Measure storage: `python -m tests.bench.storage`; prints one table.

--jobs N     size of the history (default 1,000,000; filling it takes minutes)
--seconds S  how long each load lasts (default 5)
--folder F   where the database lies (default: a temporary folder; its disk is what counts)
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from engine.recipe.recipe import Recipe
from storage import NewJob, Storage
from storage.care import backups
from storage.database.tables import JobRow, jobs, people, pictures, places
from storage.jobs.jobs import PAGE
from storage.jobs.rows import add_if_new
from storage.jobs.words import index

CLIENTS = (1, 32)
QUEUED = 10_000
PEOPLE, PLACES = 2_000, 200
CHUNK = 5_000
# fmt: off
ENGLISH = (
    "marble", "bronze", "granite", "plaster", "clay", "glass", "scholar", "sculptor", "bust",
    "statue", "angel", "warrior", "poet", "child", "lion", "horse", "book", "lamp", "sword",
    "scroll", "flower", "harp", "garden", "museum", "temple", "night", "dawn", "fog", "dramatic",
    "soft", "light", "shadow", "detailed", "photo", "portrait", "closeup", "wide", "cracked",
)
CHINESE = (
    "大理石", "青铜", "学者", "雕像", "诗人", "战士", "狮子", "书", "灯", "花园", "博物馆", "黑色",
    "背景", "黎明", "拿着", "石膏",
)
# fmt: on


def p(values: list[float], share: float) -> float:
    """Return the value below which that share of the values lies, in milliseconds."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] * 1000


def say(*columns: str) -> None:
    """Print one row of the table."""
    widths = (58, 12, 12, 12, 22)
    line = "".join(f"{text:<{width}}" for text, width in zip(columns, widths, strict=False))
    sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()


def report(what: str, times: list[float], goal: str = "", rate: float | None = None) -> None:
    """Print how often and how quickly something was done."""
    per_second = "" if rate is None else f"{rate:,.0f}"
    say(what, per_second, f"{p(times, 0.5):.2f}", f"{p(times, 0.99):.2f}", goal)


def a_job(dice: random.Random) -> NewJob:
    """Make a request as people write them."""
    return NewJob(
        recipe=Recipe(
            prompt=a_prompt(dice),
            seed=dice.randrange(2**32),
            steps=20,
            guidance_scale=5.0,
            width=256,
            height=256,
            sampler="euler",
            schedule="normal",
            checkpoint="starter",
        ),
        person=f"bench:{min(int(dice.paretovariate(0.7)), PEOPLE)}",
        place=f"bench:{dice.randrange(PLACES)}",
        reply={"interaction": "x" * 40},
    )


def a_prompt(dice: random.Random) -> str:
    """Write a prompt: three in four in English, else Chinese; one word in it is rare."""
    if dice.random() < 0.25:
        return "".join(dice.choices(CHINESE, k=5)) + str(dice.randrange(100_000))
    return " ".join([*dice.choices(ENGLISH, k=8), f"style{dice.randrange(100_000)}"])


async def load(
    clients: int, seconds: float, act: Callable[[], Awaitable[object]]
) -> tuple[float, list[float]]:
    """Let clients act one time after another; return acts a second and each one's duration."""
    times: list[float] = []
    begin = time.perf_counter()

    async def client() -> None:
        while (start := time.perf_counter()) < begin + seconds:
            await act()
            times.append(time.perf_counter() - start)

    await asyncio.gather(*(client() for _ in range(clients)))
    return len(times) / (time.perf_counter() - begin), times


async def inserts(storage: Storage, seconds: float) -> None:
    """Compare the writer with one session a task, on the same file."""
    dice = random.Random(1)
    asked = itertools.cycle([a_job(dice) for _ in range(5_000)])  # what the clients say is ready
    engine = create_async_engine(storage.database.url.set(drivername="sqlite+aiosqlite"))
    locked = 0

    async def with_session() -> None:
        nonlocal locked
        new = next(asked)
        async with AsyncSession(engine) as session:
            session.add(
                JobRow(
                    recipe=new.recipe.to_dict(),
                    status="cancelled",
                    person="bench:0",
                    place="bench:0",
                    reply=dict(new.reply),
                    epoch=0,
                    attempts=0,
                    words=index(new.recipe.prompt, person=new.person, place=new.place),
                    created_at=datetime.now(UTC),
                )
            )
            try:
                await session.commit()
            except DBAPIError:
                locked += 1

    await storage.database.write(know_all, 60)
    for clients in CLIENTS:
        rate, times = await load(clients, seconds, with_session)
        report(f"insert, a session for each task, {clients} clients", times, rate=rate)
        mine, times = await load(clients, seconds, lambda: storage.jobs.add(next(asked)))
        goal = f"{mine / rate:.1f} × (goal 10 ×), p99 ≤ 30" if clients > 1 else ""
        report(f"insert, Marble's writer, {clients} clients", times, goal, mine)
    if locked:
        say(f"  ({locked} inserts of sessions failed: the database was locked)")
    await engine.dispose()


async def queue(storage: Storage) -> None:
    """List what is queued and claim one, among many."""
    dice = random.Random(2)
    await storage.database.write(lambda c: c.execute(jobs.update().values(status="cancelled")), 60)
    for _ in range(QUEUED // 500):
        await asyncio.gather(*(storage.jobs.add(a_job(dice)) for _ in range(500)))
    listing, claiming = [], []
    for _ in range(500):
        start = time.perf_counter()
        waiting = await storage.jobs.list_queued()
        middle = time.perf_counter()
        claimed = await storage.worker.claim(dice.choice(waiting).id)
        listing.append(middle - start)
        claiming.append(time.perf_counter() - middle)
        assert claimed is not None
    report(f"list the next {PAGE} of {QUEUED:,} queued jobs", listing, "p99 ≤ 5")
    report(f"claim one of {QUEUED:,} queued jobs", claiming, "p99 ≤ 5")


def rows(count: int, dice: random.Random) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield delivered jobs and their pictures."""
    now = datetime.now(UTC) - timedelta(days=365)
    for number in range(count):
        new = a_job(dice)
        job = {
            "recipe": new.recipe.to_dict(),
            "status": "delivered",
            "person": new.person,
            "place": new.place,
            "reply": new.reply,
            "epoch": 1,
            "attempts": 1,
            "words": index(new.recipe.prompt, person=new.person, place=new.place),
            "created_at": now,
            "finished_at": now,
        }
        picture = {"index": 0, "sha256": f"{number:064x}", "seed": new.recipe.seed}
        yield job, {**picture, "width": 256, "height": 256, "size": 100_000}


def know_all(connection: Connection) -> None:
    """Make everybody and every place known."""
    for table, number in ((people, PEOPLE), (places, PLACES)):
        for key in range(number + 1):
            add_if_new(connection, table, {"id": f"bench:{key}", "created_at": datetime.now(UTC)})


async def fill(storage: Storage, count: int) -> float:
    """Fill the history and return how many seconds that took."""
    begin, dice = time.perf_counter(), random.Random(3)
    await storage.database.write(know_all, 60)
    first = (await storage.history.page(limit=1))[0].id + 1
    made = rows(count, dice)
    for start in range(first, first + count, CHUNK):
        chunk = [pair for pair, _ in zip(made, range(CHUNK), strict=False)]
        some_jobs = [{"id": start + at, **job} for at, (job, _) in enumerate(chunk)]
        drawn = [{"job": start + at, **picture} for at, (_, picture) in enumerate(chunk)]

        def add(c: Connection, a: Any = some_jobs, b: Any = drawn) -> None:
            c.execute(insert(jobs), a)
            c.execute(insert(pictures), b)

        await storage.database.write(add, 60)
    return time.perf_counter() - begin


async def reading(storage: Storage, count: int) -> None:
    """Page through and search a long history."""
    dice = random.Random(5)
    newest = (await storage.history.page(limit=1))[0].id

    def someone() -> str:
        return f"bench:{min(int(dice.paretovariate(0.7)), PEOPLE)}"

    def prompt_words(number: int) -> str:
        return " ".join(dice.sample(ENGLISH, number))

    search, page = storage.history.search, storage.history.page
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "history, a person's page at any depth": lambda: page(
            person=someone(), before=dice.randrange(1, newest)
        ),
        "history, a place's newest page": lambda: page(place=f"bench:{dice.randrange(PLACES)}"),
        "search, one common word": lambda: search(prompt_words(1)),
        "search, three common words": lambda: search(prompt_words(3)),
        "search, a rare word": lambda: search(f"style{dice.randrange(100_000)}"),
        "search, a common and a rare word": lambda: search(
            f"{prompt_words(1)} style{dice.randrange(100_000)}"
        ),
        "search, Chinese": lambda: search("".join(dice.sample(CHINESE, 1))),
        "search, a Chinese text of two words": lambda: search("".join(dice.sample(CHINESE, 2))),
        "search, one Chinese character": lambda: search("石"),
        "search, a person's two common words": lambda: search(prompt_words(2), person=someone()),
        "search, at any depth": lambda: search(prompt_words(1), before=dice.randrange(1, newest)),
    }
    for what, act in acts.items():
        times = []
        for _ in range(300):
            start = time.perf_counter()
            await act()
            times.append(time.perf_counter() - start)
        report(what, times, "p99 ≤ 20")
    start = time.perf_counter()
    await storage.history.stats()
    say(f"stats over {count:,} jobs: {time.perf_counter() - start:.2f} s")


async def backing_up(storage: Storage, folder: Path) -> None:
    """Back up while one client writes, as people do."""
    dice = random.Random(6)
    times: list[float] = []
    target = folder / "backup.db"

    async def write() -> None:
        while True:
            start = time.perf_counter()
            await storage.jobs.add(a_job(dice))
            times.append(time.perf_counter() - start)
            await asyncio.sleep(0.005)

    writing = asyncio.create_task(write())
    start = time.perf_counter()
    size = await backups.backup(storage.database.url, target)
    seconds = time.perf_counter() - start
    writing.cancel()
    report(f"insert during a backup ({size / 1e6:,.0f} MB in {seconds:.1f} s)", times)


@asynccontextmanager
async def place(folder: Path | None) -> Any:
    """Yield the folder that was asked for, or one that is gone afterwards."""
    if folder:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="marble-bench-") as name:
        yield Path(name)


async def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="the queue alone")
    arguments = parser.parse_args()
    logging.getLogger("marble.storage").setLevel(logging.ERROR)
    say(f"SQLite {sqlite3.sqlite_version}, WAL, synchronous FULL; milliseconds")
    say("", "per second", "p50", "p99", "goal")
    async with place(arguments.folder) as folder:
        async with Storage.open(folder / "small") as storage:
            await inserts(storage, arguments.seconds)
            await queue(storage)
        if arguments.quick:
            return
        async with Storage.open(folder / "large") as storage:
            await storage.jobs.add(a_job(random.Random(0)))
            seconds = await fill(storage, arguments.jobs)
            size = (folder / "large" / "marble.db").stat().st_size / 1e6
            say(f"history of {arguments.jobs:,} jobs: {size:,.0f} MB, filled in {seconds:.0f} s")
            await reading(storage, arguments.jobs)
            await backing_up(storage, folder)


if __name__ == "__main__":
    asyncio.run(main())
