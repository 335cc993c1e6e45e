"""Everything that can be wrong with a database: one sentence, and nothing lost."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from threading import Event, Semaphore

import asyncpg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.base import RootTransaction

from engine.errors import OptionError
from storage import Status, Storage
from storage.database import engines, urls
from storage.database.database import OUTCOME, apart
from storage.errors import (
    BadURL,
    Closed,
    Corrupt,
    DatabaseBusy,
    DatabaseFault,
    DiskFull,
    NewerSchema,
    ReadOnly,
)
from storage.jobs import jobs
from tests.conftest import PATIENCE
from tests.factories import add_claimed
from tests.storage import postgres
from tests.storage.conftest import Home, a_job, drawn


async def opening(folder: Path, url: str | None = None) -> str:
    """Return the sentence with which opening fails."""
    with pytest.raises((DatabaseFault, BadURL)) as caught:
        async with Storage.open(folder, url):
            pass
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


@contextmanager
def held(file: Path) -> Iterator[sqlite3.Connection]:
    """Hold a database's write lock, as another program would."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:secret@h/d", "does not speak mysql"),
        ("sqlite://", "in memory would lose every job"),
        ("sqlite:///:memory:", "in memory would lose every job"),
        ("sqlite:///file:x?mode=memory&uri=true", "in memory would lose every job"),
        ("postgresql://u:secret@h", "names no database"),
        ("u:secret@h/d", "it is no URL"),
    ],
)
async def test_a_url_of_another_kind(tmp_path: Path, url: str, words: str) -> None:
    sentence = await opening(tmp_path, url)
    assert words in sentence
    assert "secret" not in sentence


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    url = "postgresql://marble:secret@127.0.0.1:1/marble?password=secret"
    sentence = await opening(tmp_path, url)
    assert "postgresql+asyncpg://marble:***@127.0.0.1:1/marble cannot be reached" in sentence
    assert "secret" not in sentence


async def test_a_database_that_a_server_does_not_have(tmp_path: Path, postgres_server: str) -> None:
    sentence = await opening(tmp_path, postgres_server.replace("/postgres", "/absent"))
    assert "/absent cannot be reached" in sentence


async def test_a_path_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in await opening(tmp_path / "file" / "data")
    assert "cannot be reached" in await opening(tmp_path, f"sqlite:///{tmp_path}")


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "marble.db").write_bytes(b"no database at all" * 100)
    sentence = await opening(tmp_path)
    assert sentence.startswith(f"The database {tmp_path / 'marble.db'} is damaged")
    assert "marble db restore FILE" in sentence
    assert (tmp_path / "marble.db").read_bytes() == b"no database at all" * 100


async def test_pages_that_were_damaged(tmp_path: Path) -> None:
    async with Storage.open(tmp_path) as storage:
        for _ in range(50):
            await storage.jobs.add(a_job())
    content = bytearray((tmp_path / "marble.db").read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    (tmp_path / "marble.db").write_bytes(content)
    with pytest.raises(Corrupt):
        async with Storage.open(tmp_path) as storage:
            await storage.history.page()


async def test_a_schema_of_a_newer_version(empty_home: Home) -> None:
    async with empty_home.open() as storage:
        newer = text("UPDATE alembic_version SET version_num = '9999'")
        await storage.database.write(lambda c: c.execute(newer))
    with pytest.raises(NewerSchema, match=r"newer Marble \(revision 9999\): update Marble"):
        async with empty_home.open():
            pass


async def test_a_folder_that_may_not_be_written() -> None:
    with small_disk(8) as folder, read_only(folder):
        sentence = await opening(folder)
        inside = await opening(folder / "data")
    assert sentence.startswith(f"The database {folder / 'marble.db'} is read-only")
    assert inside.startswith(f"The database {folder / 'data'} is read-only")


async def test_a_database_that_may_only_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MIN_FREE", 0)
    with small_disk(8) as folder:
        await _use(folder)
        with read_only(folder):
            sentence = await opening(folder)
    assert sentence == (
        f"The database {folder / 'marble.db'} is read-only: give this user the right to write "
        "to it and its folder."
    )


async def _use(folder: Path) -> None:
    async with Storage.open(folder) as storage:
        await storage.jobs.add(a_job())


async def test_a_server_that_only_reads(server_home: Home) -> None:
    async with server_home.open() as storage:
        await storage.jobs.add(a_job())
    name = make_url(server_home.address).database
    reads = f"ALTER DATABASE {name} SET default_transaction_read_only = on"
    await asyncio.to_thread(postgres.execute, server_home.address, reads)
    async with server_home.open() as storage:
        with pytest.raises(ReadOnly, match="is read-only"):
            await storage.jobs.add(a_job())
        assert len(await storage.history.page()) == 1


async def test_people_wait_for_a_lock_only_so_long(storage: Storage) -> None:
    loop = asyncio.get_running_loop()
    job = await storage.jobs.add(a_job())
    async with locked(storage):
        begin = loop.time()
        with pytest.raises(DatabaseBusy, match="nothing was written; try again in a moment"):
            await storage.jobs.add(a_job())
        assert 2 <= loop.time() - begin < OUTCOME  # however busy the machine, not so long as work
        assert await storage.jobs.get(job.id) == job  # reading goes on
    assert await storage.jobs.list_queued() == (job,)
    assert (await storage.jobs.add(a_job())).status is Status.QUEUED  # by itself


async def test_an_outcome_waits_for_a_lock_longer_than_people_do(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await add_claimed(storage, a_job())
    async with locked(storage):
        outcome = asyncio.create_task(storage.jobs.rendered(job.id, job.epoch, drawn()))
        with pytest.raises(DatabaseBusy):
            await storage.jobs.add(a_job())
        assert not outcome.done()
    assert (await outcome).status is Status.RENDERED


@asynccontextmanager
async def locked(storage: Storage) -> AsyncIterator[None]:
    """Hold the lock that keeps every writer out, as another program would."""
    if file := urls.file_of(storage.database.url):
        with held(file):
            yield
        return
    connection = await asyncpg.connect(
        storage.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    )
    try:
        await connection.execute(f"SELECT pg_advisory_lock({engines.ADVISORY_LOCK})")
        yield
    finally:
        await connection.close()


async def test_people_wait_for_a_free_reader_only_so_long(
    empty_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "READER_WAIT", 0.05)
    async with empty_home.open() as storage:
        database, begun, go_on = storage.database, Semaphore(0), Event()

        def hang(connection: Connection) -> str:
            begun.release()
            apart(go_on.wait)
            return "read"

        hanging = [asyncio.create_task(database.read(hang)) for _ in range(engines.READERS)]
        for _ in hanging:
            await asyncio.to_thread(begun.acquire)
        with pytest.raises(DatabaseBusy, match="all connections are in use"):
            await database.read(hang)
        go_on.set()
        assert await asyncio.gather(*hanging) == ["read"] * engines.READERS
        assert await storage.jobs.list_queued() == ()
    with pytest.raises(Closed):
        await storage.jobs.list_queued()


async def test_who_gives_up_a_read_does_not_free_its_thread_before_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "READER_WAIT", 0.05)
    async with Storage.open(tmp_path) as storage:
        begun, go_on = Semaphore(0), Event()

        def hang(connection: Connection) -> None:
            begun.release()
            go_on.wait(PATIENCE)

        hanging = [asyncio.create_task(storage.database.read(hang)) for _ in range(engines.READERS)]
        for each in hanging:
            await asyncio.to_thread(begun.acquire)
            each.cancel()
        await asyncio.wait(hanging)
        try:
            with pytest.raises(DatabaseBusy, match="all connections are in use"):
                await storage.database.read(lambda _: None)
        finally:
            go_on.set()
        monkeypatch.setattr(engines, "READER_WAIT", PATIENCE)
        for _ in range(2 * engines.READERS):
            assert await storage.jobs.list_queued() == ()


async def test_a_caller_that_gives_up_leaves_nothing_behind(storage: Storage) -> None:
    async with locked(storage):
        asking = asyncio.create_task(storage.jobs.add(a_job()))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await storage.jobs.add(a_job("the next"))
    assert [job.recipe.prompt for job in await storage.history.page()] == ["the next"]


async def test_a_caller_that_gives_up_too_late_is_kept_whole(storage: Storage) -> None:
    """A cancelled caller's job is either not there or complete and found by its event."""

    async def ask(number: int) -> None:
        asking = asyncio.create_task(storage.jobs.add(a_job(event=f"x:{number}")))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    await asyncio.gather(*(ask(number) for number in range(100)))
    again = [await storage.jobs.add(a_job(event=f"x:{number}")) for number in range(100)]
    everything = await storage.history.page(limit=200)
    assert {job.id for job in again} == {job.id for job in everything}


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Let a mounted disk refuse writes for a while."""
    remount = ["mount", "-o", "remount,{}", str(disk)]
    for mode in ("ro", "rw"):
        subprocess.run([part.format(mode) for part in remount], check=True)
        if mode == "ro":
            yield


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Mount a disk of a few megabytes, or skip where that is not allowed."""
    folder = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk is not allowed here")
        try:
            yield folder
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    finally:
        folder.rmdir()


async def test_a_full_disk_stops_admission_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "MIN_FREE", 0)  # let it really fill up
    monkeypatch.setattr(jobs, "RETRY", 0.01)
    with small_disk(4) as folder:
        async with Storage.open(folder) as storage:
            job = await add_claimed(storage, a_job())
            filler = folder / "filler"
            fill(filler)
            with pytest.raises(DiskFull, match=r"disk is full.*marble db prune"):
                await add_many(storage)
            outcome = asyncio.create_task(storage.jobs.rendered(job.id, job.epoch, drawn(PNG)))
            before = len(await storage.history.page(limit=2000))
            assert not outcome.done()
            filler.unlink()
            assert (await outcome).status is Status.RENDERED
            await storage.jobs.add(a_job("after"))
            assert len(await storage.history.page(limit=2000)) == before + 1
            assert (await storage.care.check(deep=True)).problems == ()


PNG = bytes(200_000)


async def add_many(storage: Storage) -> None:
    for _ in range(1000):
        await storage.jobs.add(a_job("word " * 300))


def fill(file: Path) -> None:
    """Write until nothing more fits."""
    with file.open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(4096)):
            pass


async def test_a_disk_that_is_nearly_full_admits_nothing_but_goes_on(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await add_claimed(storage, a_job())
    real = shutil.disk_usage
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=1_000_000))
        with pytest.raises(DiskFull, match="less than 64 MB are free"):
            await storage.jobs.add(a_job())
        await storage.jobs.rendered(running.id, running.epoch, drawn())
        await storage.jobs.delivered(running.id)
    assert await storage.jobs.add(a_job())


async def test_a_picture_that_cannot_be_written_leaves_no_trace(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    job = await add_claimed(storage, a_job())
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(ReadOnly, match="pictures"):
            await storage.jobs.rendered(job.id, job.epoch, drawn())
    assert (await storage.jobs.get(job.id)).status is Status.RUNNING
    assert [path for path in storage.pictures.folder.rglob("*") if path.is_file()] == []


async def test_a_server_that_restarts_is_found_again(server_home: Home) -> None:
    name = make_url(server_home.address).database
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    )
    async with server_home.open() as storage:
        job = await add_claimed(storage, a_job())
        await asyncio.to_thread(postgres.execute, server_home.address, kill)
        assert (await storage.jobs.add(a_job())).id == job.id + 1
        assert await storage.jobs.get(job.id) == job
        await storage.worker.beat()  # takes its lock again
        async with server_home.open() as other:
            assert await other.worker.requeue_lost() == ()


async def test_a_commit_whose_answer_was_lost_happens_once(
    server_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server_home.open() as storage:
        for really in (True, False):
            with monkeypatch.context() as lossy:
                lose_one_commit(lossy, really)
                job = await storage.jobs.add(a_job())
            assert await storage.jobs.list_queued() == (job,)
            await storage.jobs.cancel(job.id)


def lose_one_commit(monkeypatch: pytest.MonkeyPatch, really: bool) -> None:
    """Break the connection once, just after or just before a commit."""
    left = [RootTransaction.commit]

    def commit(transaction: RootTransaction) -> None:
        if not left:
            real(transaction)
            return
        left.pop()
        if really:
            real(transaction)
        transaction.connection.invalidate()
        raise OSError(errno.ECONNRESET, "Connection reset by peer")

    real = RootTransaction.commit
    monkeypatch.setattr(RootTransaction, "commit", commit)


@pytest.mark.parametrize("text_", ["nul \0", "half \ud800"])
async def test_text_that_no_database_keeps_is_refused(storage: Storage, text_: str) -> None:
    with pytest.raises(OptionError, match="prompt must be"):
        await storage.jobs.add(a_job(text_))
    with pytest.raises(OptionError, match="person must be 1 to 200 characters"):
        await storage.jobs.add(a_job(person="x" * 201))


async def test_the_old_log_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_warned", False)
    for safe in ((0, 0, 0), (99, 0, 0), (99, 0, 0)):
        monkeypatch.setattr(engines, "SAFE_WAL", safe)
        async with Storage.open(tmp_path):
            pass
    assert caplog.text.count("rare bug") == 1
