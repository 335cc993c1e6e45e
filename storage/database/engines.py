"""Make SQLAlchemy's engines: one connection that writes, a few that read.

SQLite's driver would begin transactions by itself, late and deferred, so that two tasks that
read and then write lose updates without an error. Here it begins none (`isolation_level=None`),
and a writing transaction takes the lock before its first read (`BEGIN IMMEDIATE`).
"""

from __future__ import annotations

import json
import logging
import sqlite3
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from storage.database.urls import is_sqlite, show

READERS: Final = 4
READER_WAIT: Final = 10.0  # seconds until a connection must be free
LOCK_WAIT: Final = 0.25  # seconds that one try for the write lock takes; the writer tries again
ADVISORY_LOCK: Final = 0x6D61_7262_6C65  # "marble": PostgreSQL's stand-in for one writer
SAFE_WAL: Final = (3, 51, 3)

_WRITER: Final = (
    f"PRAGMA busy_timeout = {int(LOCK_WAIT * 1000)}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # whoever asks to be forgotten is
)
_READER: Final = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 2000",
    "PRAGMA query_only = ON",
    "PRAGMA cache_size = -16000",  # KiB
)
_TIMEOUTS: Final = {"timeout": 5, "command_timeout": 30}  # of a server, in seconds
_KEEPALIVES: Final = {"idle": 10, "interval": 5, "count": 3}  # of a server, in seconds
NOTICED: Final = 25.0  # seconds until it ends a connection whose other end is gone, by these
_log: Final = logging.getLogger("marble.storage")
_warned = False


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# Parameters hold people's words, which no error may carry into a log.
_COMMON: Final[dict[str, Any]] = {"json_serializer": _json, "hide_parameters": True}


def create(url: URL) -> tuple[Engine | AsyncEngine, Engine | AsyncEngine]:
    """Return the engine that writes and the one that reads: plain ones of SQLite."""
    return (_sqlite if is_sqlite(url) else _postgres)(url)


def _sqlite(url: URL) -> tuple[Engine, Engine]:
    _warn_of_wal(url)
    writer = create_engine(url, pool_size=1, max_overflow=0, **_COMMON)
    reader = create_engine(url, pool_size=READERS, max_overflow=0, **_COMMON)
    prepare(writer, _WRITER, "BEGIN IMMEDIATE")
    prepare(reader, _READER, "BEGIN")
    return writer, reader


def prepare(engine: Engine, pragmas: tuple[str, ...], begin: str) -> None:
    """Make an engine begin its transactions itself, and set up each connection."""

    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", start)


def _postgres(url: URL) -> tuple[AsyncEngine, AsyncEngine]:
    make = partial(create_async_engine, url, max_overflow=0, **_COMMON)
    writer = make(pool_size=1, connect_args=_TIMEOUTS)
    reads_only = {"server_settings": {"default_transaction_read_only": "on"}}
    reader = make(
        pool_size=READERS, pool_timeout=READER_WAIT, connect_args={**_TIMEOUTS, **reads_only}
    )

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(LOCK_WAIT * 1000)}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")

    event.listen(writer.sync_engine, "begin", start)
    return writer, reader


def alone(url: URL) -> AsyncEngine:
    """Return an engine of single connections, whose server notices that their machine is gone."""
    settings = {f"tcp_keepalives_{name}": str(value) for name, value in _KEEPALIVES.items()}
    return create_async_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        connect_args={**_TIMEOUTS, "server_settings": settings},
    )


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
