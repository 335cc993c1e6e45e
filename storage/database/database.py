"""The database: opened by URL, upgraded, with several readers and one writer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.files import private
from storage.database import engines, schema, urls
from storage.database.faults import explain
from storage.database.lanes import Lane
from storage.database.writer import Unit, Writer
from storage.errors import BadURL, DatabaseBusy, DatabaseFault, ReadOnly, StorageError

T = TypeVar("T")
BackUp = Callable[[URL, Path], Awaitable[object]]

ADMISSION: Final = 2.5  # seconds that somebody may wait to be told "queued" or why not
UPGRADE: Final = 3.0  # seconds to wait for a lock at the start
OUTCOME: Final = 60.0  # seconds for which the outcome of finished work is held in memory


@dataclass(slots=True)
class Database:
    """Run units of work; every error of the driver comes out as a `StorageError`."""

    url: URL = field(repr=False)  # its query may hold a password
    where: str  # the file, or the URL without its password
    _lane: Lane
    _reads: AsyncEngine
    _writer: Writer

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
            lane, reads = engines.create(url)
        except (ArgumentError, ImportError) as error:
            raise BadURL(where, str(error)) from error
        database = cls(url, where, lane, reads, Writer(lane, where))
        try:
            await database._upgrade(folder, back_up)
        except BaseException:
            await database.close()
            raise
        database._writer.start()
        return database

    @property
    def is_sqlite(self) -> bool:
        """Return whether the database is a file."""
        return urls.is_sqlite(self.url)

    @property
    def revision(self) -> str:
        """Return the schema's revision, which is this code's once the database is open."""
        return schema.head()

    async def read(self, unit: Callable[[Connection], T]) -> T:
        """Run a unit on a snapshot; it cannot write."""
        try:
            async with self._reads.connect() as connection:
                return await connection.run_sync(unit)
        except StorageError:
            raise
        except Exception as error:
            raise explain(error, self.where) or error from error

    async def write(self, unit: Unit[T], patience: float = ADMISSION) -> T:
        """Run a unit in the writer's next transaction; see `Writer.write`."""
        return await self._writer.write(unit, patience)

    async def exclusively(self, unit: Unit[T], patience: float = ADMISSION) -> T:
        """Run a unit that writes no row, while no process can write one.

        It sees what is committed and nothing else, and nothing of it can be undone: the place for
        what the database cannot take back, such as removing files that no row names any more.
        """
        return await self._writer.write(unit, patience, alone=True)

    async def close(self) -> None:
        """Commit what waits, then close every connection."""
        await self._writer.close()
        await self._reads.dispose()
        await self._lane.close()

    async def tidy(self) -> None:
        """Free the space of deleted rows: in the search index, the log, and a server's tables."""
        if self.is_sqlite:
            await self.write(_start_merge, OUTCOME)
            while await self.write(_merge, OUTCOME):
                pass
            await self._lane.run(_empty_log)
            return
        engine = engines.alone(self.url)
        try:
            async with engine.connect() as connection:
                await connection.exec_driver_sql("VACUUM")
        finally:
            await engine.dispose()

    async def _upgrade(self, folder: Path, back_up: BackUp) -> None:
        """Upgrade, waiting a while for another program's lock."""
        loop = asyncio.get_running_loop()
        end = loop.time() + UPGRADE
        while True:
            try:
                if await self._lane.run(self._is_old):
                    await back_up(self.url, folder)
                return await self._lane.run(self._upgrade_now)
            except Exception as error:
                fault = explain(error, self.where)
                if not isinstance(fault, DatabaseBusy) or loop.time() > end:
                    raise fault or error from error

    def _is_old(self, connection: Connection) -> bool:
        with connection.begin():
            return schema.revision(connection) in schema.known() - {schema.head()}

    def _upgrade_now(self, connection: Connection) -> None:
        with connection.begin():
            schema.upgrade(connection, self.where)


def _start_merge(connection: Connection) -> None:
    """Mark the whole search index for merging: deleted words lie in it until then."""
    connection.execute(text("INSERT INTO search(search, rank) VALUES ('merge', -1)"))


def _merge(connection: Connection) -> bool:
    """Merge a part of the search index; False when nothing is left."""
    before = connection.scalar(text("SELECT total_changes()")) or 0
    connection.execute(text("INSERT INTO search(search, rank) VALUES ('merge', 500)"))
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
