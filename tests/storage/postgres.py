"""A throwaway PostgreSQL server, and empty databases on it."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from sqlalchemy.engine import make_url

from storage.database.tables import Base
from tests.ports import free_port

_numbers = itertools.count()


def binaries() -> Path | None:
    """Return the folder of the newest installed server's programs."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name))
    found = shutil.which("pg_ctl")
    return folders[-1] if folders else Path(found).parent if found else None


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """Start a server on a free port and yield its URL; it and its data are gone afterwards."""
    # A server refuses to run as root, and its folder must be its user's own.
    user = None if os.geteuid() else pwd.getpwnam("nobody")
    folder = Path(tempfile.mkdtemp(prefix="marble-postgres-"))
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)

    def call(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, "-D", folder / "data", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            user=user and user.pw_uid,
            group=user and user.pw_gid,
            extra_groups=[] if user else None,
        )

    try:
        call("initdb", "-U", "marble", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        port = free_port()
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://marble@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@contextmanager
def database(server_url: str) -> Iterator[str]:
    """Make an empty database and yield its URL; it is dropped afterwards."""
    name = f"marble_test_{os.getpid()}_{next(_numbers)}"
    execute(server_url, f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def empty(url: str) -> None:
    """Remove every row, and begin every numbering anew."""
    names = ", ".join(table.name for table in Base.metadata.sorted_tables)
    execute(url, f"TRUNCATE {names} RESTART IDENTITY CASCADE")


def execute(url: str, statement: str) -> None:
    """Run one statement outside any transaction."""

    async def call() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(call())
