"""SQLite's files: copy one while it is in use, read its revision, replace one by another."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from engine.files import private
from engine.files.private import sync_folder
from storage.database.faults import explain
from storage.errors import Corrupt, FileThere, NoSuchFile
from storage.jobs.picture_files import UNFINISHED

BESIDE: Final = ("-wal", "-shm")


def copy(source: Path, target: Path) -> None:
    """Write a whole, checked copy of a database that may be in use; blocks.

    Writers go on meanwhile. Raises `FileThere` or a `DatabaseFault`; nothing half-written stays.
    """
    with new_file(target) as part:
        with faults(source), closing(_connect(source)) as connection:
            connection.execute("VACUUM INTO ?", (str(part),))
        look(part)


def look(file: Path) -> str | None:
    """Return a database's revision, or None if it has none; blocks.

    Raises `NoSuchFile`, or `Corrupt` if its pages do not hold together.
    """
    if not file.is_file():
        raise NoSuchFile(file)
    with faults(file), closing(_connect(file, "ro")) as connection:
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise Corrupt(str(file), problem)
        named = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
        if not connection.execute(named).fetchone():
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return row and str(row[0])


def put(file: Path, place: Path, now: datetime) -> Path | None:
    """Replace a database by a copy; blocks. Returns where the replaced one is kept.

    Raises `DatabaseBusy` while any process has it open.
    """
    kept = next(name for name in names_beside(place, "restore", now) if not name.exists())
    part = place.with_name(f"{place.name}{UNFINISHED}")
    try:
        with faults(place):
            open_part(part)
            shutil.copyfile(file, part)
            _sync(part)
            there = place.exists()
            if there:
                shutil.copymode(place, part)  # as its owner may have shared it
                _close(place)
                for end in ("", *BESIDE):
                    beside = place.with_name(f"{place.name}{end}")
                    if beside.exists():
                        beside.replace(kept.with_name(f"{kept.name}{end}"))
            part.replace(place)
            sync_folder(place.parent)
    finally:
        part.unlink(missing_ok=True)
    return kept if there else None


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yield an empty private file, which takes the target's name once the block has filled it.

    Raises `FileThere` where that is taken, or a `DatabaseFault`; nothing half-written stays.
    """
    if target.exists():
        raise FileThere(target)
    part = part_of(target)
    try:
        with faults(target):
            open_part(part)
            yield part
            _sync(part)
            take_name(part, target)
            sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)


def part_of(target: Path) -> Path:
    """Return the name under which this process writes a file that is not whole yet."""
    return target.with_name(f"{target.name}.{os.getpid()}{UNFINISHED}")


def open_part(part: Path) -> None:
    """Create an empty private file, to be renamed once it is complete; blocks."""
    private.make_folder(part.parent)
    part.unlink(missing_ok=True)
    private.create(part)


def take_name(part: Path, target: Path) -> None:
    """Rename a complete file, or raise `FileThere` where the name is taken."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise FileThere(target) from None
    except OSError:  # a file system without links
        part.replace(target)


def names_beside(place: Path, what: str, now: datetime) -> Iterator[Path]:
    """Yield names for what a database was before something; numbered ones sort after the first."""
    name = f"{place.name}.before-{what}-{now:%Y%m%d-%H%M%S}"
    yield place.with_name(name)
    for number in range(2, 1000):
        yield place.with_name(f"{name}.{number:03}")


def keep_latest(place: Path, number: int) -> None:
    """Remove all but the latest backups made before upgrades; blocks."""
    found = place.parent.glob(f"{place.name}.before-upgrade-*")
    for old in sorted(path for path in found if path.suffix != UNFINISHED)[:-number]:
        old.unlink(missing_ok=True)


def _close(place: Path) -> None:
    """Merge a database's log into its file, which needs that no other process has it open."""
    try:
        with closing(_connect(place)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.DatabaseError as error:
        # A damaged one is exactly what is to be replaced; an open one is not.
        if not isinstance(explain(error, str(place)), Corrupt):
            raise


def _connect(file: Path, mode: str = "rw") -> sqlite3.Connection:
    uri = f"{file.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=2, isolation_level=None)


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


@contextmanager
def faults(file: Path) -> Iterator[None]:
    """Turn what SQLite and the system say of a file into a `DatabaseFault`."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise explain(error, str(file)) or Corrupt(str(file), str(error)) from error
