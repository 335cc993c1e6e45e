"""Read the state of a database without upgrading, creating or changing anything."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from storage.care import sqlite_files
from storage.database import schema, urls
from storage.database.faults import explain
from storage.database.tables import jobs, place_settings
from storage.errors import BadURL, Corrupt, NewerSchema, ReadOnly, StorageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Say which database it is, whether it is there, whether the next start upgrades it, when its
    newest job was asked for, and what places have chosen.
    """

    where: str
    there: bool
    old: bool = False
    newest: datetime | None = None
    places: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


async def look(folder: Path, url: str | None) -> Found:
    """Read the state of the database that these settings name; raises `StorageError`."""
    parsed = urls.resolve(folder, url)
    where, file = urls.show(parsed), urls.file_of(parsed)
    if file:
        nearest = next(path for path in (file, *file.parents) if path.exists())
        if not os.access(nearest, os.W_OK):
            raise ReadOnly(str(nearest))
        if nearest is not file:
            return Found(where=where, there=False)
        if await asyncio.to_thread(sqlite_files.look, file) is None:
            raise Corrupt(where, "it holds no tables of Marble's")
    try:
        if file:
            return await asyncio.to_thread(_look_into_file, parsed, where)
        return await _ask_server(parsed, where)
    except StorageError:
        raise
    except Exception as error:
        raise explain(error, where) or error from error


def _look_into_file(url: URL, where: str) -> Found:
    with create_engine(url, poolclass=NullPool, hide_parameters=True).connect() as connection:
        return _look(connection, where)


async def _ask_server(url: URL, where: str) -> Found:
    try:
        engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
    except (ArgumentError, ImportError) as error:
        raise BadURL(where, str(error)) from error
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_look, where)
    finally:
        await engine.dispose()


def _look(connection: Connection, where: str) -> Found:
    revision = schema.revision(connection)
    if revision is None:
        return Found(where=where, there=False)
    if revision not in schema.known():
        raise NewerSchema(where, f"revision {revision}")
    newest = connection.scalar(select(jobs.c.created_at).order_by(jobs.c.id.desc()).limit(1))
    chosen = connection.execute(select(place_settings))
    places = {row.place: row._mapping["values"] for row in chosen}
    old = revision != schema.head()
    return Found(where=where, there=True, old=old, newest=newest, places=places)
