"""The database: opened by URL, upgraded, with several readers and one writer.

On SQLite a transaction runs from begin to commit in a thread: one writes, a few read. Through
aiosqlite each statement would be four messages to a thread and back (measured in docs/storage.md).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util.concurrency import await_only, in_greenlet

from engine.files import private
from storage.database import engines, schema, urls
from storage.database.faults import explain
from storage.database.writer import Item, Unit, Writer
from storage.errors import BadURL, Closed, DatabaseBusy, DatabaseFault, ReadOnly, StorageError

T = TypeVar("T")
BackUp = Callable[[URL, Path], Awaitable[object]]

ADMISSION: Final = 2.5  # seconds that somebody may wait to be told "queued" or why not
UPGRADE: Final = 3.0  # seconds to wait for a lock at the start
OUTCOME: Final = 60.0  # seconds for which the outcome of finished work is held in memory
LOOK: Final = 0.1  # seconds between looks at whose patience has ended
PAUSES: Final = (0.02, 0.05, 0.1, 0.25, 0.5)  # seconds between tries of a database that fails
# A negative number marks the whole search index for merging: deleted words lie in it until then.
_MERGE: Final = text("INSERT INTO search(search, rank) VALUES ('merge', :pages)")
_log: Final = logging.getLogger("marble.storage")


@dataclass(slots=True)
class Database:
    """Run units of work; every error of the driver comes out as a `StorageError`."""

    url: URL = field(repr=False)  # its query may hold a password
    where: str  # the file, or the URL without its password
    _writes: Engine | AsyncEngine  # of one connection
    _reads: Engine | AsyncEngine
    _writer: Writer
    _thread: ThreadPoolExecutor = field(  # of SQLite's writes, which block
        default_factory=lambda: ThreadPoolExecutor(1, "storage-writer")
    )
    _readers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(engines.READERS, "storage-reader")
    )
    _free: asyncio.Semaphore = field(  # of the threads that read
        default_factory=lambda: asyncio.Semaphore(engines.READERS)
    )
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _closing: bool = False

    @classmethod
    async def open(cls, url: URL, folder: Path, back_up: BackUp) -> Database:
        """Connect, upgrade the schema and start the writer.

        back_up: called with `url` and `folder` before a schema is upgraded. Raises `BadURL` or a
        `DatabaseFault`.
        """
        where = urls.show(url)
        await asyncio.to_thread(_make_folder, folder)
        if file := urls.file_of(url):
            await asyncio.to_thread(_make_folder, file.parent)
            await asyncio.to_thread(_prepare, file)
        try:
            database = cls(url, where, *engines.create(url), Writer(where))
        except (ArgumentError, ImportError) as error:
            raise BadURL(where, str(error)) from error
        try:
            await database._upgrade(folder, back_up)
        except BaseException:
            await database.close()
            raise
        database._task = asyncio.create_task(database._commit_all(), name="storage-writer")
        return database

    @property
    def is_sqlite(self) -> bool:
        """Return whether the database is a file."""
        return urls.is_sqlite(self.url)

    async def read(self, unit: Unit[T]) -> T:
        """Run a unit on a snapshot; it cannot write."""
        if self._closing and (self._task is None or self._task.done()):
            raise Closed(self.where)
        try:
            if isinstance(self._reads, AsyncEngine):
                return await _run_on(self._reads, unit)
            return await self._read_in_thread(self._reads, unit)
        except StorageError:
            raise
        except Exception as error:
            raise explain(error, self.where) or error from error

    async def write(self, unit: Unit[T], patience: float = ADMISSION, *, alone: bool = False) -> T:
        """Run a unit in the next transaction and return its result once it is committed.

        Waits at most `patience` seconds for a database that is locked, full or out of reach,
        then raises that fault, and nothing of the unit was written. A cancelled caller's unit
        is withdrawn if its transaction has not begun; if it has, it is committed all the same.

        alone: in a transaction that it shares with no other unit. One that writes no row sees what
        is committed and nothing else, while no process can write: the place for what the database
        cannot take back, such as removing files that no row names any more.
        """
        if self._closing or self._task is None:
            raise Closed(self.where)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        item = Item(unit, loop.time() + patience, done, alone)
        self._writer.waiting.append(item)
        self._wake.set()
        try:
            return await done
        except asyncio.CancelledError:
            self._writer.withdraw(item)
            raise

    async def close(self) -> None:
        """Commit what waits, then close every connection."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        for engine, threads in ((self._reads, self._readers), (self._writes, self._thread)):
            if isinstance(engine, AsyncEngine):
                await engine.dispose()
            else:
                await asyncio.to_thread(threads.shutdown)
                await asyncio.to_thread(engine.dispose)

    async def tidy(self) -> None:
        """Free the space of deleted rows: in the search index, the log, and a server's tables."""
        if self.is_sqlite:
            await self.write(lambda c: c.execute(_MERGE, {"pages": -1}), OUTCOME)
            while await self.write(_merge, OUTCOME):
                pass
            await self._transact(_empty_log)
            return
        engine = engines.alone(self.url)
        try:
            async with engine.connect() as connection:
                await connection.exec_driver_sql("VACUUM")
        finally:
            await engine.dispose()

    async def _read_in_thread(self, engine: Engine, unit: Unit[T]) -> T:
        try:
            async with asyncio.timeout(engines.READER_WAIT):
                await self._free.acquire()
        except TimeoutError:
            raise DatabaseBusy(self.where, "all connections are in use") from None
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self._readers, _run_here, engine, unit)
        # A caller may be cancelled while its thread still reads.
        reading.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(reading)

    async def _upgrade(self, folder: Path, back_up: BackUp) -> None:
        """Upgrade, waiting a while for another program's lock."""
        loop = asyncio.get_running_loop()
        end = loop.time() + UPGRADE
        while True:
            try:
                if await self._transact(schema.is_old):
                    await back_up(self.url, folder)
                return await self._transact(partial(schema.upgrade, self.where))
            except Exception as error:
                fault = explain(error, self.where)
                if not isinstance(fault, DatabaseBusy) or loop.time() > end:
                    raise fault or error from error

    async def _commit_all(self) -> None:
        """Commit what waits, until the database closes."""
        writer, failures = self._writer, 0
        try:
            while await self._something():
                try:
                    batch = await self._in_time(self._transact(writer.transact))
                except Exception as error:
                    if not failures:
                        _log.info("%d commits wait for the database", len(writer.waiting))
                    writer.note(error)
                    if self._closing:
                        return
                    pause = asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
                    await self._in_time(asyncio.create_task(pause, name="storage-pause"))
                    failures += 1
                else:
                    if failures:
                        _log.info("the database takes commits again")
                    failures = 0
                    for item in batch:
                        item.settle(item.error)
        finally:
            writer.abandon()

    async def _something(self) -> bool:
        """Wait until there is work; return False at the end."""
        while self._writer.is_idle():
            if self._closing:
                return False
            self._wake.clear()
            await self._wake.wait()
        return True

    async def _in_time(self, work: asyncio.Future[T]) -> T:
        """Wait for work, and fail units that waited too long."""
        while not (await asyncio.wait((work,), timeout=LOOK))[0]:
            self._writer.expire(asyncio.get_running_loop().time())
        return work.result()

    def _transact(self, work: Unit[T]) -> asyncio.Future[T]:
        """Run a function that begins and ends its own transactions on the connection that writes.

        On SQLite it is carried out even if the caller is cancelled.
        """
        if isinstance(self._writes, AsyncEngine):
            return asyncio.create_task(_run_on(self._writes, work), name="storage-writing")
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._thread, _run_here, self._writes, work)


def apart(call: Callable[[], T]) -> T:
    """Call from a unit what blocks, such as a look at files; the event loop goes on meanwhile."""
    if in_greenlet():  # a server's units run in the loop's thread
        return await_only(asyncio.to_thread(call))
    return call()


async def _run_on(engine: AsyncEngine, unit: Unit[T]) -> T:
    async with engine.connect() as connection:
        return await connection.run_sync(unit)


def _run_here(engine: Engine, unit: Unit[T]) -> T:
    with engine.connect() as connection:
        return unit(connection)


def _merge(connection: Connection) -> bool:
    """Merge a part of the search index; False when nothing is left."""
    before = connection.scalar(text("SELECT total_changes()")) or 0
    connection.execute(_MERGE, {"pages": 500})
    after = connection.scalar(text("SELECT total_changes()")) or 0
    return after - before >= 2  # as FTS5's manual says


def _empty_log(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _make_folder(folder: Path) -> None:
    try:
        private.make_folder(folder)
    except OSError as error:
        fault: DatabaseFault = explain(error, str(folder)) or ReadOnly(str(folder))
        raise fault from error


def _prepare(file: Path) -> None:
    """Make a new database's file, closed to others: SQLite gives its log and index the same rights.

    Says in time what SQLite would only call "unable to open": it writes beside the file too.
    """
    if not os.access(file.parent, os.W_OK) or (file.exists() and not os.access(file, os.W_OK)):
        raise ReadOnly(str(file))
    try:
        with suppress(FileExistsError):
            private.create(file)
    except OSError as error:
        raise explain(error, str(file)) or error from error
