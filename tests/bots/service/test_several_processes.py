"""Several `marble serve` on one PostgreSQL: one has the chat, the others draw or stand by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from storage import Status, Storage
from storage.database.tables import jobs
from tests.bots.telegram.conftest import a_marble, a_server
from tests.conftest import PATIENCE
from tests.fakes.process import LOOK, Marble
from tests.fakes.telegram.people import person
from tests.fakes.telegram.server import TelegramServer
from tests.storage import postgres
from tests.storage.conftest import postgres_server

__all__ = ["postgres_server"]
PEOPLE = 4


def settings_of(database: str) -> dict[str, str]:
    """Return the settings of every process: it draws one job at a time."""
    return {
        "MARBLE_DATABASE_URL": database,
        "MARBLE_RUNNING_PER_PERSON": "1",
        "TESTS_SLOTS": "1",
    }


@pytest.fixture
def database(postgres_server: str) -> Iterator[str]:
    with postgres.database(postgres_server) as url:
        yield url


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramServer]:
    async with a_server() as server:
        yield server


@pytest.fixture
async def chat(telegram: TelegramServer, database: str, tmp_path: Path) -> AsyncIterator[Marble]:
    """Yield the process with the chat."""
    async with a_marble(telegram, tmp_path, **settings_of(database)) as marble:
        yield marble


@asynccontextmanager
async def another(chat: Marble, database: str, **more: str) -> AsyncIterator[Marble]:
    """Yield a second process on the same database, and with the same data folder."""
    folder = chat.folder / "second"
    folder.mkdir()
    settings = {**settings_of(database), "MARBLE_DATA_DIR": str(chat.folder / "data")}
    marble = Marble(folder, {**settings, **more})
    await marble.start()
    await marble.says("Marble is running")
    yield marble
    if marble.pid:
        await marble.kill()


@pytest.fixture
async def drawing(chat: Marble, database: str) -> AsyncIterator[Marble]:
    """Yield a process that only draws."""
    async with another(chat, database) as marble:
        yield marble


async def running(storage: Storage, count: int) -> tuple[int, int]:
    """Wait until so many jobs run; return in how many processes, and for how many people."""
    query = select(jobs.c.worker, jobs.c.person).where(jobs.c.status == Status.RUNNING.value)
    async with asyncio.timeout(PATIENCE):
        while True:
            rows = await storage.database.read(lambda c: c.execute(query).all())
            if len(rows) == count:
                return len({row.worker for row in rows}), len({row.person for row in rows})
            await asyncio.to_thread(time.sleep, LOOK)


@pytest.mark.parametrize("killed", ["none", "the one with the chat", "the other"])
async def test_both_draw_and_the_one_with_the_chat_answers_once_whichever_is_killed(
    telegram: TelegramServer, chat: Marble, drawing: Marble, database: str, killed: str
) -> None:
    people = [person(telegram, number) for number in range(1, PEOPLE + 1)]
    asked = [(each, await each.says("a cat wait")) for each in people * 2]
    async with Storage.open(chat.folder / "outside", database) as storage:
        # A process draws one at a time, and a person's jobs run one at a time over all of them.
        assert await running(storage, 2) == (2, 2)
        if killed == "the other":
            await drawing.kill()
        elif killed == "the one with the chat":
            await chat.kill()
        await asyncio.to_thread((chat.folder / "data" / "gate").touch)
        if not chat.pid:
            await chat.start()
        for each, said in asked:
            await each.chat.picture(said)
        page = await storage.jobs.list_queued()
        assert (page, await storage.jobs.list_running()) == ((), ())
    # What was on its way when its process was killed may come twice (docs/reliability.md).
    most = 3 if killed == "the one with the chat" else 2
    assert all(2 <= len(each.chat.shown) <= most for each in people)
    assert telegram.token not in drawing.log


async def test_a_second_one_with_the_token_stands_by_and_takes_over_when_the_first_is_killed(
    telegram: TelegramServer, chat: Marble, database: str
) -> None:
    async with another(chat, database, **telegram.environment) as second:
        await second.says("another process of this database serves telegram; this one stands by")
        ada = person(telegram, 1)
        await ada.chat.picture(await ada.says("a cat"))
        await chat.kill()
        await ada.chat.picture(await ada.says("a dog"))
        assert "this process serves telegram from now on" in second.log
        assert "asks Telegram for this bot's updates" not in chat.log + second.log
        assert telegram.token not in second.log
