"""Make SQLAlchemy's engines: one connection that writes, a few that read.

SQLite's driver would begin transactions by itself, late and deferred, so that two tasks that
read and then write lose updates without an error. Here it begins none (`isolation_level=None`),
and a writing transaction takes the lock before its first read (`BEGIN IMMEDIATE`).
"""

from __future__ import annotations

import logging
import sqlite3
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.urls import is_sqlite, show

READERS: Final = 4
LOCK_WAIT: Final = 0.25  # seconds that one try for the write lock takes; the writer tries again
ADVISORY_LOCK: Final = 0x6D61_7262_6C65  # "marble": PostgreSQL's stand-in for one writer
SAFE_WAL: Final = (3, 51, 3)

_WRITER: Final = (
    f"PRAGMA busy_timeout = {int(LOCK_WAIT * 1000)}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)
_READER: Final = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 2000",
    "PRAGMA query_only = ON",
    "PRAGMA cache_size = -16000",  # KiB
)
_log: Final = logging.getLogger("marble.storage")
_warned = False


def create(url: URL) -> tuple[AsyncEngine, AsyncEngine]:
    """Return the engine that writes and the engine that reads."""
    return (_sqlite if is_sqlite(url) else _postgres)(url)


def _sqlite(url: URL) -> tuple[AsyncEngine, AsyncEngine]:
    _warn_of_wal(url)
    writer = create_async_engine(url, pool_size=1, max_overflow=0)
    reader = create_async_engine(url, pool_size=READERS, max_overflow=0, pool_timeout=10)
    for engine, pragmas, begin in (
        (writer, _WRITER, "BEGIN IMMEDIATE"),
        (reader, _READER, "BEGIN"),
    ):
        _prepare(engine, pragmas, begin)
    return writer, reader


def _prepare(engine: AsyncEngine, pragmas: tuple[str, ...], begin: str) -> None:
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connect)
    event.listen(engine.sync_engine, "begin", start)


def _postgres(url: URL) -> tuple[AsyncEngine, AsyncEngine]:
    writer = create_async_engine(url, pool_size=1, max_overflow=0, connect_args={"timeout": 5})
    reader = create_async_engine(
        url,
        pool_size=READERS,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={"timeout": 5, "server_settings": {"default_transaction_read_only": "on"}},
    )

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(LOCK_WAIT * 1000)}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")

    event.listen(writer.sync_engine, "begin", start)
    return writer, reader


def _warn_of_wal(url: URL) -> None:
    global _warned
    if sqlite3.sqlite_version_info < SAFE_WAL and not _warned:
        _warned = True
        _log.warning(
            "SQLite %s has a rare bug (mended in 3.51.3) that can damage %s when two programs "
            "write at the same moment; Marble writes from one connection, and backups are wise.",
            sqlite3.sqlite_version,
            show(url),
        )
