"""Backups: made while the database is in use, and brought back when it is not.

A backup holds every row and no picture file: files never change, so copying the pictures'
folder after the backup gives every file that its rows name.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from storage import schema, server_files, sqlite_files, urls
from storage.clock import Clock, utc_now
from storage.errors import Corrupt, FileThere, NewerSchema, NoBackup, NoProgram
from storage.pictures import UNFINISHED, remove_abandoned

KEPT: Final = 3  # backups made before upgrades
_log: Final = logging.getLogger("marble.storage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """Say what a restored database's revision is, and where the one before it is kept."""

    revision: str | None
    before: Path | None


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


async def restore(url: URL, source: Path, *, now: Clock = utc_now) -> Restored:
    """Put a backup in the database's place; no other process may have it open.

    Raises `StorageError`: the backup is damaged, made by a newer Marble, or no database of
    Marble's; or the database is in use. Nothing was then changed.
    """
    file = urls.file_of(url)
    if not file:
        await asyncio.to_thread(server_files.restore, url, source)
        return Restored(revision=None, before=None)
    try:
        revision = await asyncio.to_thread(sqlite_files.look, source)
    except Corrupt as error:
        raise NoBackup(source, error.detail) from error
    if revision is None:
        raise NoBackup(source, "it holds no tables of Marble's")
    if revision not in schema.known():
        raise NewerSchema(str(source), f"revision {revision}")
    before = await asyncio.to_thread(sqlite_files.put, source, file, now())
    return Restored(revision=revision, before=before)


async def before_upgrade(url: URL, folder: Path, *, now: Clock = utc_now) -> Path | None:
    """Back up what is about to be upgraded, beside the database or in the data folder.

    A server without `pg_dump` at hand is upgraded without: its migrations are one transaction.
    """
    stamp = f"before-upgrade-{now().strftime(sqlite_files.STAMP)}"
    place = urls.file_of(url) or folder / "postgres"
    wanted = place.with_name(f"{place.name}.{stamp}")
    try:
        target = await _backup_beside(url, wanted)
    except NoProgram as error:
        _log.warning("No backup before the upgrade: %s", error)
        return None
    await asyncio.to_thread(sqlite_files.keep_latest, place, KEPT)
    await asyncio.to_thread(remove_unfinished, url, folder)
    _log.warning("Upgrading %s; what it was is kept as %s.", urls.show(url), target)
    return target


async def _backup_beside(url: URL, wanted: Path) -> Path:
    """Back up to a name or, where another upgrade of the same second has it, to one behind it."""
    for target in sqlite_files.names_from(wanted):
        with suppress(FileThere):
            await backup(url, target)
            return target
    raise FileThere(wanted)


def beside(url: URL, folder: Path) -> list[Path]:
    """Return the copies of the database that Marble itself has put beside it; blocks.

    Those that serving makes every night lie in the data folder's `backups`. Copies that are not
    whole, and may never be, hold rows as well.
    """
    place = urls.file_of(url) or folder / "postgres"
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
    """Remove what backups of Marble's own left that died at least a day ago; blocks."""
    remove_abandoned(path for path in beside(url, folder) if path.suffix == UNFINISHED)


def orphans_are_kept(url: URL) -> bool:
    """Say whether a replaced database still lies beside ours: it may yet want its pictures."""
    file = urls.file_of(url)
    return file is not None and any(".before-restore-" in path.name for path in beside(url, file))
