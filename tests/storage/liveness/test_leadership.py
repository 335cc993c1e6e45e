"""Which process leads: one at a time, and another when it is gone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text

from storage.database.engines import NOTICED, alone
from storage.errors import DatabaseFault
from storage.liveness.alive import ServerAlive
from storage.liveness.leadership import HELD
from storage.liveness.locks import FileLock
from tests.conftest import PATIENCE
from tests.storage import postgres
from tests.storage.conftest import Home

END_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
    "AND classid = 1835102819"
)


async def test_one_process_leads_and_another_when_it_is_gone(home: Home) -> None:
    async with home.open() as one, home.open() as two:
        first, second, other = (
            one.leadership("red"),
            two.leadership("red"),
            two.leadership("blue"),
        )
        assert [await first.take(), await second.take(), await other.take()] == [True, False, True]
        assert await first.keep()
        await first.release()
        assert [await second.take(), await first.take()] == [True, False]
        await second.release()
        await other.release()


async def test_who_lost_the_connection_leads_again_unless_another_was_faster(
    server_home: Home,
) -> None:
    async with server_home.open() as one, server_home.open() as two:
        first, second = one.leadership("red"), two.leadership("red")
        assert await first.take()
        await asyncio.to_thread(postgres.execute, server_home.address, END_ALL)
        assert await first.keep()
        assert not await second.take()
        await asyncio.to_thread(postgres.execute, server_home.address, END_ALL)
        assert await second.take()
        assert not await first.keep()
        await second.release()


async def test_whether_one_leads_is_not_known_while_the_server_is_away(
    server_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    async with server_home.open() as storage:
        leadership = storage.leadership("red")
        assert await leadership.take()
        await asyncio.to_thread(postgres.execute, server_home.address, END_ALL)
        with monkeypatch.context() as away:
            away.setattr("sqlalchemy.ext.asyncio.AsyncEngine.connect", fail)
            for _ in range(2):
                with pytest.raises(DatabaseFault):
                    await leadership.keep()
        assert await leadership.keep()
        await leadership.release()


async def test_a_server_that_does_not_answer_holds_nobody_up(
    server_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.liveness.alive.CLOSE", 0.05)

    async def hang(connection: asyncpg.Connection, **more: object) -> None:
        connection.terminate()
        await asyncio.Event().wait()

    async with server_home.open() as storage:
        leadership, alive = storage.leadership("red"), ServerAlive(alone(storage.database.url))
        assert await leadership.take()
        await alive.take("0123abcd")
        with monkeypatch.context() as away:
            away.setattr("asyncpg.connection.Connection.close", hang)
            async with asyncio.timeout(PATIENCE):
                await leadership.release()
                await alive.release()


async def test_the_server_lets_another_lead_only_after_a_leader_has_stopped(
    server_home: Home,
) -> None:
    query = "SELECT setting::int FROM pg_settings WHERE name = :name"
    async with server_home.open() as storage, alone(storage.database.url).connect() as connection:
        idle, interval, times = [
            await connection.scalar(text(query), {"name": f"tcp_keepalives_{name}"})
            for name in ("idle", "interval", "count")
        ]
    assert idle + interval * times == NOTICED > HELD


async def test_a_folder_that_cannot_be_written_is_one_sentence(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home.open() as storage:
        leadership = storage.leadership("red")

        def fail(*arguments: object, **more: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("os.open", fail)
        monkeypatch.setattr("sqlalchemy.ext.asyncio.AsyncEngine.connect", fail)
        with pytest.raises(DatabaseFault, match="Permission denied"):
            await leadership.take()


def test_a_file_that_was_removed_while_it_was_opened_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, one, two = (FileLock(tmp_path / "red.lock") for _ in range(3))
    assert before.take()
    really = os.open

    def slow(path: Path, *arguments: int) -> int:
        handle = really(path, *arguments)
        before.release()  # after the file was opened, and before it is locked
        return handle

    monkeypatch.setattr("os.open", slow)
    assert one.take()
    monkeypatch.undo()
    assert not two.take()
    one.release()
