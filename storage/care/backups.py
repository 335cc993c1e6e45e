"""Backups: made while the database is in use, restored while it is not.

A backup holds every row and no picture file: files never change, so copying the pictures'
folder after the backup gives every file that its rows name.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from storage.care import server_files, sqlite_files
from storage.clock import Clock, utc_now
from storage.database import schema, urls
from storage.errors import Corrupt, FileThere, NewerSchema, NoBackup, NoProgram
from storage.jobs.picture_files import UNFINISHED, remove_abandoned
from storage.liveness.occupancy import alone_at

KEPT: Final = 3  # backups made before upgrades
SERVER: Final = "postgres"  # what copies of a server's database are named after
_log: Final = logging.getLogger("marble.storage")


async def backup(url: URL, target: Path) -> int:
    """Write the database to a new file and return its size in bytes.

    Writing goes on meanwhile. Raises `StorageError`; nothing half-written stays.
    """
    file = urls.file_of(url)
    if file:
        await asyncio.to_thread(sqlite_files.copy, file, target)
    else:
        await asyncio.to_thread(server_files.dump, url, target)
    return (await asyncio.to_thread(target.stat)).st_size


async def restore(url: URL, source: Path, folder: Path, *, now: Clock = utc_now) -> Path | None:
    """Replace the database by a backup; no other process may have it open.

    What was there is kept beside the database, or in the data folder; its path is returned, None
    where there was nothing. Raises `StorageError`: the backup is damaged, made by a newer Marble,
    or no database of Marble's; or the database is in use. Nothing was then changed.
    """
    if file := urls.file_of(url):
        return await asyncio.to_thread(_restore_file, file, source, now)
    return await _restore_server(url, source, folder, now)


def _restore_file(file: Path, source: Path, now: Clock) -> Path | None:
    try:
        revision = sqlite_files.look(source)
    except Corrupt as error:
        raise NoBackup(source, error.detail) from error
    if revision is None:
        raise NoBackup(source, "it holds no tables of Marble's")
    _check_revision(source, revision)
    return sqlite_files.put(source, file, now())


async def _restore_server(url: URL, source: Path, folder: Path, now: Clock) -> Path | None:
    script = sqlite_files.part_of(folder / f"{SERVER}.before-restore")
    try:
        with sqlite_files.faults(script):
            await asyncio.to_thread(sqlite_files.open_part, script)
            revision = await asyncio.to_thread(server_files.unpack, source, script)
            _check_revision(source, revision)
            async with alone_at(url) as there:
                kept = await _backup_beside(url, folder / SERVER, "restore", now) if there else None
                await asyncio.to_thread(server_files.put, url, script)
    finally:
        script.unlink(missing_ok=True)
    return kept


def _check_revision(source: Path, revision: str) -> None:
    if revision not in schema.known():
        raise NewerSchema(str(source), f"revision {revision}")


async def before_upgrade(url: URL, folder: Path, *, now: Clock = utc_now) -> Path | None:
    """Back up a database before its upgrade, beside it or in the data folder.

    A server without `pg_dump` at hand is upgraded without: its migrations are one transaction.
    """
    place = urls.file_of(url) or folder / SERVER
    try:
        target = await _backup_beside(url, place, "upgrade", now)
    except NoProgram as error:
        _log.warning("No backup before the upgrade: %s", error)
        return None
    await asyncio.to_thread(sqlite_files.keep_latest, place, KEPT)
    await asyncio.to_thread(remove_unfinished, url, folder)
    _log.warning("Upgrading %s; what it was is kept as %s.", urls.show(url), target)
    return target


async def _backup_beside(url: URL, place: Path, what: str, now: Clock) -> Path:
    """Back up to the first name that is free."""
    for target in sqlite_files.names_beside(place, what, now()):
        with suppress(FileThere):
            await backup(url, target)
            return target
    raise FileThere(place)


def beside(url: URL, folder: Path) -> list[Path]:
    """Return the copies of the database that Marble has made beside it; blocks.

    Those that serving makes every night lie in the data folder's `backups`. Copies that are not
    whole, and may never be, hold rows as well.
    """
    place = urls.file_of(url) or folder / SERVER
    before, part = f"{place.name}.before-*", UNFINISHED
    nightly = folder / "backups"
    return sorted(
        path
        for path in (
            *place.parent.glob(before),
            *place.parent.glob(f"{place.name}{part}"),
            *nightly.glob("*.backup"),
            *nightly.glob(f"*.backup.*{part}"),
        )
        if not path.name.endswith(sqlite_files.BESIDE)
    )


def remove_unfinished(url: URL, folder: Path) -> None:
    """Remove unfinished backups that are at least a day old; blocks."""
    remove_abandoned(path for path in beside(url, folder) if path.suffix == UNFINISHED)
