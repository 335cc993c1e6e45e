"""Which one of a database's processes does something that only one may do, like serving a chat.

The leader holds a lock that its system or server drops when it ends, however it ends: on SQLite a
file's, on PostgreSQL an advisory one of a connection of its own.
"""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database.engines import NOTICED
from storage.database.faults import explain
from storage.database.urls import show
from storage.errors import DatabaseFault, Unreachable
from storage.liveness.alive import disconnect
from storage.liveness.locks import FileLock

LEADING: Final = 0x6D61_7263  # the first of two numbers that name a leader's advisory lock
HELD: Final = NOTICED - 5.0  # seconds without `keep` after which a leader stops, in time


class FileLeadership:
    """A lock on a file."""

    def __init__(self, file: Path) -> None:
        self._lock = FileLock(file)

    async def take(self) -> bool:
        """Become the leader; False where another process is. Raises `DatabaseFault`."""
        try:
            return await asyncio.to_thread(self._lock.take)
        except OSError as error:
            raise _fault(error, str(self._lock.path)) from error

    async def keep(self) -> bool:
        """Return True: the system keeps the lock."""
        return True

    async def release(self) -> None:
        """Let another process lead."""
        await asyncio.to_thread(self._lock.release)


class ServerLeadership:
    """An advisory lock on a connection of its own, which the server watches."""

    def __init__(self, engine: AsyncEngine, what: str) -> None:
        self._engine = engine
        self._key = zlib.crc32(what.encode()) & 0x7FFF_FFFF
        self._connection: AsyncConnection | None = None

    async def take(self) -> bool:
        """Become the leader; False where another process is. Raises `DatabaseFault`."""
        query = text("SELECT pg_try_advisory_lock(:space, :key)")
        try:
            self._connection = await self._engine.connect()
            names = {"space": LEADING, "key": self._key}
            if await self._connection.scalar(query, names):
                return True
        except (SQLAlchemyError, OSError) as error:
            await self.release()
            raise _fault(error, show(self._engine.url)) from error
        await self.release()
        return False

    async def keep(self) -> bool:
        """Take the lock again if its connection was lost; False where another process was faster.

        Raises `DatabaseFault` while that cannot be known.
        """
        if self._connection is not None:
            try:
                await self._connection.execute(text("SELECT 1"))
                return True
            except (SQLAlchemyError, OSError):
                await self.release()
        return await self.take()

    async def release(self) -> None:
        """Disconnect, which lets another process lead."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await disconnect(connection)
        await self._engine.dispose()


Leadership = FileLeadership | ServerLeadership


def _fault(error: SQLAlchemyError | OSError, where: str) -> DatabaseFault:
    return explain(error, where) or Unreachable(where)
