"""Backups: made while the database is in use, restored while it is not.

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

from storage.care import server_files, sqlite_files
from storage.clock import Clock, utc_now
from storage.database import schema, urls
from storage.database.faults import explain
from storage.errors import Corrupt, FileThere, NewerSchema, NoBackup, NoProgram
from storage.jobs.picture_files import UNFINISHED, remove_abandoned
from storage.liveness.occupancy import alone_at

KEPT: Final = 3  # backups made before upgrades
SERVER: Final = "postgres"  # what copies of a server's database are named after
_log: Final = logging.getLogger("marble.storage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The revision of a restored database, and where the replaced one is kept."""

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


async def restore(url: URL, source: Path, folder: Path, *, now: Clock = utc_now) -> Restored:
    """Replace the database by a backup; no other process may have it open.

    What is there is kept beside the database, or in the data folder. Raises `StorageError`: the
    backup is damaged, made by a newer Marble, or no database of Marble's; or the database is in
    use. Nothing was then changed.
    """
    if file := urls.file_of(url):
        return await asyncio.to_thread(_restore_file, file, source, now)
    return await _restore_server(url, source, folder, now)


def _restore_file(file: Path, source: Path, now: Clock) -> Restored:
    try:
        revision = sqlite_files.look(source)
    except Corrupt as error:
        raise NoBackup(source, error.detail) from error
    if revision is None:
        raise NoBackup(source, "it holds no tables of Marble's")
    _check_revision(source, revision)
    return Restored(revision=revision, before=sqlite_files.put(source, file, now()))


async def _restore_server(url: URL, source: Path, folder: Path, now: Clock) -> Restored:
    place = folder / SERVER
    script = sqlite_files.part_of(place.with_name(f"{place.name}.before-restore"))
    try:
        await asyncio.to_thread(sqlite_files.open_part, script)
        revision = await asyncio.to_thread(server_files.unpack, source, script)
        _check_revision(source, revision)
        async with alone_at(url) as there:
            before = await _keep(url, place, now) if there else None
            await asyncio.to_thread(server_files.put, url, script)
    except OSError as error:
        raise explain(error, str(script)) or error from error
    finally:
        script.unlink(missing_ok=True)
    return Restored(revision=revision, before=before)


async def _keep(url: URL, place: Path, now: Clock) -> Path:
    stamp = f"before-restore-{now().strftime(sqlite_files.STAMP)}"
    return await _backup_beside(url, place.with_name(f"{place.name}.{stamp}"))


def _check_revision(source: Path, revision: str) -> None:
    if revision not in schema.known():
        raise NewerSchema(str(source), f"revision {revision}")


async def before_upgrade(url: URL, folder: Path, *, now: Clock = utc_now) -> Path | None:
    """Back up a database before its upgrade, beside it or in the data folder.

    A server without `pg_dump` at hand is upgraded without: its migrations are one transaction.
    """
    stamp = f"before-upgrade-{now().strftime(sqlite_files.STAMP)}"
    place = urls.file_of(url) or folder / SERVER
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
    """Back up to a name or, where that is taken, to the next free one."""
    for target in sqlite_files.names_from(wanted):
        with suppress(FileThere):
            await backup(url, target)
            return target
    raise FileThere(wanted)


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


def orphans_are_kept(url: URL, folder: Path) -> bool:
    """Return whether a replaced database is still kept, which may need its pictures."""
    return any(".before-restore-" in path.name for path in beside(url, folder))
