"""PostgreSQL's backups, by its own programs `pg_dump`, `pg_restore` and `psql`."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from storage.care.sqlite_files import new_file
from storage.errors import DiskFull, NoBackup, NoProgram, NoSuchFile, ProgramFailed

# Where `pg_restore` writes the row of the one table that says which version made the file.
_REVISION: Final = re.compile(r"^COPY \S*alembic_version .*\n(\S+)\n", re.MULTILINE)
# A newer version's tables may point at those that are replaced, and must not stay.
_DROP: Final = """
DO $$ DECLARE found text; BEGIN
FOR found IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname = current_schema() AND tableowner = current_user
LOOP EXECUTE 'DROP TABLE IF EXISTS ' || found || ' CASCADE'; END LOOP; END $$
"""


def dump(url: URL, target: Path) -> None:
    """Write a server's database to a file that is closed to others; blocks.

    Raises `StorageError`.
    """
    with new_file(target) as part:
        _call("pg_dump", "--format=custom", "--no-owner", f"--file={part}", url=url)


def unpack(file: Path, script: Path) -> str:
    """Read a whole backup into a script for `put`; return the revision of what it holds; blocks.

    Raises `NoSuchFile`, or `NoBackup` where it is damaged or holds no tables of Marble's.
    """
    if not file.is_file():
        raise NoSuchFile(file)
    try:
        _call("pg_restore", "--clean", "--if-exists", "--no-owner", f"--file={script}", str(file))
        only = ("--data-only", "--table=alembic_version", "--file=-")
        told = _call("pg_restore", *only, str(file))
    except ProgramFailed as error:
        if os.strerror(errno.ENOSPC) in error.complaint:
            raise DiskFull(str(script)) from error
        raise NoBackup(file, error.complaint) from error
    found = _REVISION.search(told)
    if found is None:
        raise NoBackup(file, "it holds no tables of Marble's")
    return found[1]


def put(url: URL, script: Path) -> None:
    """Replace all tables of a server's database by those of a script, all or nothing; blocks.

    Raises `StorageError`.
    """
    whole = ("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1")
    _call("psql", *whole, f"--command={_DROP}", f"--file={script}", url=url)


def _call(program: str, *arguments: str, url: URL | None = None) -> str:
    """Run a program, on a database where one is given, and return what it writes."""
    options, environment = _access(url) if url else ([], {})
    done = subprocess.run(
        [_find(program), *options, *arguments],
        env={**os.environ, "LC_ALL": "C", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ProgramFailed(program, lines[0])
    return done.stdout


def _access(url: URL) -> tuple[list[str], dict[str, str]]:
    """Return options and environment by which a program reaches the database that asyncpg would.

    Passwords go by the environment: a command line can be read by every user.
    """
    asked = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
    asked |= {name: ",".join(url.normalized_query[name]) for name in url.query}
    names = {"host": "host", "port": "port", "user": "username"}
    options = [f"--{name}={asked[each]}" for each, name in names.items() if asked[each]]
    secrets = {"PGPASSWORD": asked["password"], "PGSSLMODE": asked.get("ssl")}
    environment = {name: str(value) for name, value in secrets.items() if value}
    quiet = {"PGOPTIONS": "-c client_min_messages=error"}
    return [*options, f"--dbname={url.database}"], {**quiet, **environment}


def _find(program: str) -> str:
    """Return a program's path; Debian keeps the newest apart from the search path."""
    apart = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    found = str(apart[-1]) if apart else shutil.which(program)
    if found is None:
        raise NoProgram(program)
    return found
