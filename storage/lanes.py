"""Where transactions run: those that write on one connection, those that read on a few.

On SQLite a transaction runs from begin to end in one thread. Through aiosqlite each statement
would be four messages to a thread and back (1,000 inserts a second instead of 4,800, measured on
two cores).
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
    """Run plain functions on connections of one kind."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run a function that begins and ends its own transactions."""

    def mark(self, connection: Connection) -> str | None:
        """Name the transaction, where its fate can be asked for after a lost connection."""

    def committed(self, connection: Connection, mark: str) -> bool | None:
        """Say whether a transaction was committed; None while it is still under way."""

    async def close(self) -> None:
        """Close the connections."""


class ThreadLane:
    """Run transactions in threads: for SQLite, whose calls block."""

    def __init__(self, engine: Engine, name: str, threads: int = 1) -> None:
        self.engine = engine
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run a function in a thread; it is carried out even if the caller is cancelled."""

        def call() -> T:
            with self.engine.connect() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def mark(self, connection: Connection) -> None:
        """Return None: a commit that raises has not happened."""

    def committed(self, connection: Connection, mark: str) -> bool:
        """Return False: see `mark`."""
        return False

    async def close(self) -> None:
        """End the threads with what they are at, then close their connections."""

        def end() -> None:
            self._threads.shutdown()
            self.engine.dispose()

        await asyncio.to_thread(end)


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
        """Ask the server what became of a transaction."""
        query = text("SELECT pg_xact_status(CAST(CAST(:mark AS text) AS xid8))")
        status = connection.scalar(query, {"mark": mark})
        return None if status == "in progress" else status == "committed"

    async def close(self) -> None:
        """Close the connections."""
        await self.engine.dispose()
