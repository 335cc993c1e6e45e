"""Whether a worker's process lives, without a clock.

Each worker holds a lock that its system or server drops when it ends, even by `kill -9` or with
its whole machine: on SQLite a file's, on PostgreSQL an advisory one of a connection of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.liveness.locks import FileLock

CLOSE: Final = 5.0  # seconds that a disconnection may take
STRAY: Final = 3600.0  # seconds, far more than pass between taking a file's lock and telling of it
ADVISORY: Final = 0x6D61_7262  # the first of two numbers that name a worker's advisory lock


class FileAlive:
    """A lock on a file beside the database."""

    def __init__(self, database: Path) -> None:
        self.folder = database.with_name(f"{database.name}-workers")
        self._lock: FileLock | None = None

    async def take(self, name: str) -> None:
        """Lock the worker's file; the folder is beside the database, which can be written."""
        self._lock = FileLock(self._file(name))
        await asyncio.to_thread(self._lock.take)

    async def keep(self) -> None:
        """Do nothing: the system keeps the lock."""

    async def dead(self, names: Collection[str]) -> set[str]:
        """Return the workers whose file is free; their files are removed."""
        return await asyncio.to_thread(self._find_dead, names)

    async def release(self) -> None:
        """Unlock and remove the file."""
        if self._lock is not None:
            await asyncio.to_thread(self._lock.release)

    def _find_dead(self, names: Collection[str]) -> set[str]:
        self._remove_strays()
        return {name for name in names if self._free(name)}

    def _remove_strays(self) -> None:
        """Remove the files of workers that died before their rows were written."""
        old = time.time() - STRAY
        for path in self.folder.glob("*.lock"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < old:
                    self._free(path.stem)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.lock"

    def _free(self, name: str) -> bool:
        probe = FileLock(self._file(name))
        free = probe.take()
        probe.release()
        return free


class ServerAlive:
    """An advisory lock on a connection of its own, which the server watches."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._name = ""
        self._connection: AsyncConnection | None = None

    async def take(self, name: str) -> None:
        """Connect and lock."""
        self._name = name
        self._connection = await self.engine.connect()
        query = text("SELECT pg_advisory_lock_shared(:space, :key)")
        await self._connection.execute(query, {"space": ADVISORY, "key": _key(name)})

    async def keep(self) -> None:
        """Connect and lock again if the connection was lost."""
        try:
            assert self._connection is not None
            await self._connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError):
            await self.release()
            await self.take(self._name)

    async def dead(self, names: Collection[str]) -> set[str]:
        """Return the workers whose lock nobody holds."""
        query = text(
            "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND CAST(classid AS bigint) = :space AND objsubid = 2 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        async with self.engine.connect() as connection:
            held = set((await connection.execute(query, {"space": ADVISORY})).scalars())
        return {name for name in names if _key(name) not in held}

    async def release(self) -> None:
        """Disconnect, which unlocks."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await disconnect(connection)
        await self.engine.dispose()


Alive = FileAlive | ServerAlive


async def disconnect(connection: AsyncConnection) -> None:
    """Close a connection in bounded time: a server that is away may not answer."""
    try:
        async with asyncio.timeout(CLOSE):
            await connection.close()
    except (SQLAlchemyError, OSError):
        with suppress(SQLAlchemyError):  # the attempt may have closed it
            await connection.invalidate()


def _key(name: str) -> int:
    """Return 31 bits of a worker's name, which is a random hexadecimal number."""
    return int(name[:8], 16) & 0x7FFF_FFFF
