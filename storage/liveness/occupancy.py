"""Whether others have a server's database open; for SQLite its file locks tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.sentences import fill
from storage.database import engines, urls
from storage.database.faults import explain
from storage.errors import DatabaseBusy

PATIENCE: Final = 2.0  # seconds in which connections that were just closed may still be seen
LOOK: Final = 0.1  # seconds

# Background workers of the server itself have no user.
_OTHERS: Final = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND usesysid IS NOT NULL"
)
_TABLES: Final = text("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")


@asynccontextmanager
async def alone_at(url: URL) -> AsyncIterator[bool]:
    """Lock all writers out of a server's database; yields whether it holds any table.

    Raises `DatabaseBusy` where another connection is open, or another fault.
    """
    where = urls.show(url)
    engine = engines.alone(url)
    try:
        async with engine.connect() as connection:
            await _take(connection, where)
            yield bool(await connection.scalar(_TABLES))
    except (SQLAlchemyError, OSError) as error:
        raise explain(error, where) or error from error
    finally:
        await engine.dispose()


async def _take(connection: AsyncConnection, where: str) -> None:
    lock = text("SELECT pg_try_advisory_lock(:key)")
    end = asyncio.get_running_loop().time() + PATIENCE
    mine = False
    while True:
        mine = mine or bool(await connection.scalar(lock, {"key": engines.ADVISORY_LOCK}))
        others = await connection.scalar(_OTHERS) or 0
        if mine and not others:
            return
        if asyncio.get_running_loop().time() >= end:
            what = fill("{n} other {n:connection is|connections are} open", n=others)
            raise DatabaseBusy(where, what)
        await asyncio.sleep(LOOK)
