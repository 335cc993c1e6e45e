"""PostgreSQL's backups, by its own programs `pg_dump` and `pg_restore`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sqlalchemy.engine import URL

from storage.errors import FileThere, NoProgram, NoSuchFile, ProgramFailed
from storage.sqlite_files import part_of, take_name


def dump(url: URL, target: Path) -> None:
    """Write a server's database to a file; blocks. Raises `StorageError`."""
    if target.exists():
        raise FileThere(target)
    part = part_of(target)
    try:
        _call("pg_dump", url, "--format=custom", "--no-owner", f"--file={part}")
        take_name(part, target)
    finally:
        part.unlink(missing_ok=True)


def restore(url: URL, file: Path) -> None:
    """Replace a server's database by a file's, all or nothing; blocks. Raises `StorageError`."""
    if not file.is_file():
        raise NoSuchFile(file)
    _call(
        "pg_restore", url, "--clean", "--if-exists", "--no-owner", "--single-transaction", str(file)
    )


def _call(program: str, url: URL, *arguments: str) -> None:
    found = _find(program)
    # The password goes by the environment: a command line can be read by every user.
    password = {"PGPASSWORD": str(url.password)} if url.password else {}
    options = {"host": url.host, "port": url.port, "username": url.username}
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    done = subprocess.run(
        [found, *given, f"--dbname={url.database}", *arguments],
        env={**os.environ, **password},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ProgramFailed(program, lines[0])


def _find(program: str) -> str:
    """Return a program's path; Debian keeps the newest apart from the search path."""
    apart = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    found = str(apart[-1]) if apart else shutil.which(program)
    if found is None:
        raise NoProgram(program)
    return found
