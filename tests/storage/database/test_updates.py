"""Read-then-write updates at the same time: none is lost, and the recipe is why."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from storage import Storage
from storage.errors import UnknownJob
from tests.storage.conftest import Home, a_job

MANY = 100
FEW = 10  # sessions at once


def count_up(connection: Connection) -> None:
    """Read a number and write the next: two statements that nobody may come between."""
    count = connection.scalar(text("SELECT attempts FROM jobs WHERE id = 1"))
    connection.execute(text("UPDATE jobs SET attempts = :n WHERE id = 1"), {"n": (count or 0) + 1})


async def test_a_hundred_updates_at_once_all_survive(storage: Storage) -> None:
    await storage.jobs.add(a_job())
    await asyncio.gather(*(storage.database.write(count_up) for _ in range(MANY)))
    assert (await storage.jobs.get(1)).attempts == MANY


async def test_so_do_those_of_two_processes(home: Home) -> None:
    async with home.open() as one, home.open() as two:
        await one.jobs.add(a_job())
        both = [one, two] * (MANY // 2)
        await asyncio.gather(*(each.database.write(count_up, 30) for each in both))
        assert (await two.jobs.get(1)).attempts == MANY


async def test_plain_sessions_lose_most_of_them(tmp_path: Path) -> None:
    """Hold what the recipe is for: the same updates, as SQLAlchemy comes."""
    async with Storage.open(tmp_path) as storage:
        await storage.jobs.add(a_job())
    engine = create_engine(f"sqlite:///{tmp_path / 'marble.db'}", pool_size=FEW)
    read = threading.Barrier(FEW, timeout=30)

    def update() -> None:
        with Session(engine) as session:
            count = session.scalar(text("SELECT attempts FROM jobs WHERE id = 1"))
            read.wait()  # or anything else that this task may wait for
            values = {"n": (count or 0) + 1}
            with suppress(DBAPIError):
                session.execute(text("UPDATE jobs SET attempts = :n WHERE id = 1"), values)
                session.commit()

    with ThreadPoolExecutor(FEW) as threads:
        for done in [threads.submit(update) for _ in range(FEW)]:
            done.result()
    engine.dispose()
    async with Storage.open(tmp_path) as storage:
        assert (await storage.jobs.get(1)).attempts == 1


async def test_one_failing_unit_undoes_only_itself(storage: Storage) -> None:
    def fail(connection: Connection) -> None:
        count_up(connection)
        raise UnknownJob(7)

    await storage.jobs.add(a_job())
    units: list[Any] = [count_up, fail] * 10
    results = await asyncio.gather(
        *(storage.database.write(unit) for unit in units), return_exceptions=True
    )
    assert sum(isinstance(result, UnknownJob) for result in results) == 10
    assert (await storage.jobs.get(1)).attempts == 10


async def test_reads_are_snapshots_and_cannot_write(storage: Storage) -> None:
    await storage.jobs.add(a_job())
    with pytest.raises(Exception, match="read"):
        await storage.database.read(count_up)
    assert (await storage.jobs.get(1)).attempts == 0


async def test_the_loop_is_never_held_up_for_long(storage: Storage) -> None:
    """Measure how late the loop comes round while 32 clients write."""
    loop = asyncio.get_running_loop()
    late: list[float] = []

    async def watch() -> None:
        while True:
            begin = loop.time()
            await asyncio.sleep(0.001)
            late.append(loop.time() - begin)

    async def client() -> None:
        for _ in range(20):
            await storage.jobs.add(a_job())

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(client() for _ in range(32)))
    watching.cancel()
    assert sorted(late)[len(late) // 2] < 0.05
