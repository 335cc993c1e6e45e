"""How `marble serve` ends, as a whole process: what each exit code means to systemd."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from storage import Storage
from tests.conftest import PATIENCE
from tests.fakes.process import LOOK, Marble
from tests.storage.conftest import a_job

AGAIN_HELPS, AGAIN_IS_NO_USE, WELL = 1, 2, 0


@pytest.fixture
async def marble(tmp_path: Path) -> AsyncIterator[Marble]:
    found = Marble(tmp_path, fresh=True)
    yield found
    if found.pid:
        await found.kill()


async def end(marble: Marble, **settings: str) -> tuple[int, str]:
    """Start it, and return how it ended by itself and what it said."""
    await marble.start(**settings)
    code = await marble.ended()
    assert "Traceback" not in marble.log or code == AGAIN_HELPS
    return code, marble.log


async def test_a_token_that_is_none(marble: Marble) -> None:
    code, said = await end(marble, MARBLE_DISCORD_TOKEN="my secret")
    assert code == AGAIN_IS_NO_USE
    assert "MARBLE_DISCORD_TOKEN" in said
    assert "my secret" not in said


async def test_a_database_that_is_damaged(marble: Marble) -> None:
    (marble.folder / "data").mkdir()
    (marble.folder / "data" / "marble.db").write_bytes(b"no database at all" * 100)
    code, said = await end(marble)
    assert code == AGAIN_IS_NO_USE
    assert "is damaged or not a database" in said


async def test_a_database_that_another_program_holds(marble: Marble) -> None:
    data = marble.folder / "data"
    async with Storage.open(data) as storage:
        await storage.jobs.add(a_job())
    with closing(sqlite3.connect(data / "marble.db", isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        code, said = await end(marble)
    assert code == AGAIN_HELPS
    assert "is locked by another program" in said
    assert "Traceback" not in said


async def test_a_port_that_is_taken(marble: Marble) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = await end(marble, MARBLE_METRICS_PORT=str(taken.getsockname()[1]))
    assert code == AGAIN_IS_NO_USE
    assert "choose another MARBLE_METRICS_PORT" in said


async def test_a_part_that_it_cannot_be_without_fails(marble: Marble) -> None:
    code, said = await end(marble, MARBLE_EXECUTOR="tests.fakes.instant:make_broken")
    assert code == AGAIN_HELPS
    assert "marble-worker failed; Marble stops" in said


async def test_told_twice_it_ends_at_once_and_burns_no_attempt(marble: Marble) -> None:
    data = marble.folder / "data"
    async with Storage.open(data) as storage:
        job = await storage.jobs.add(a_job("wait"))
        await marble.start()
        async with asyncio.timeout(PATIENCE):
            while (await storage.jobs.get(job.id)).status != "running":
                await asyncio.to_thread(time.sleep, LOOK)
        marble.send(signal.SIGTERM)
        await marble.says("Marble stops after")
        assert marble.pid
        marble.send(signal.SIGTERM)
        assert await marble.ended() == WELL
        after = await storage.jobs.get(job.id)
    assert (after.status, after.attempts) == ("queued", 0)
