"""Where writing transactions run: one connection, one at a time.

On SQLite a transaction runs from begin to commit in one thread of its own. Through aiosqlite
each statement would be four messages to a thread and back (1,000 inserts a second instead of
4,800, measured on two cores); reading, which is one statement at a time, goes through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")


class Lane(Protocol):
    """Run plain functions on the connection that writes."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run a function that begins and ends its own transactions."""

    def mark(self, connection: Connection) -> str | None:
        """Return the transaction's id, where its outcome can be queried after a lost connection."""

    def committed(self, connection: Connection, mark: str) -> bool | None:
        """Return whether a transaction was committed; None while it is still under way."""

    async def close(self) -> None:
        """Close the connection."""


class ThreadLane:
    """Run transactions in one thread: for SQLite, whose calls block."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="storage-writer")

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run a function in the thread; it is carried out even if the caller is cancelled."""

        def call() -> T:
            with self.engine.connect() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def mark(self, connection: Connection) -> None:
        """Return None: a commit that raises has not happened."""

    def committed(self, connection: Connection, mark: str) -> bool:
        """Return False: see `mark`."""
        return False

    async def close(self) -> None:
        """Close the connection in the thread that made it, and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.engine.dispose)
        self._thread.shutdown()


class AsyncLane:
    """Run transactions over the network: for PostgreSQL."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run a function whose every statement awaits the server."""
        async with self.engine.connect() as connection:
            return await connection.run_sync(work)

    def mark(self, connection: Connection) -> str:
        """Return the server's number of the transaction."""
        return str(connection.scalar(text("SELECT CAST(pg_current_xact_id() AS text)")))

    def committed(self, connection: Connection, mark: str) -> bool | None:
        """Return a transaction's outcome from the server."""
        query = text("SELECT pg_xact_status(CAST(CAST(:mark AS text) AS xid8))")
        status = connection.scalar(query, {"mark": mark})
        return None if status == "in progress" else status == "committed"

    async def close(self) -> None:
        """Close the connection."""
        await self.engine.dispose()
