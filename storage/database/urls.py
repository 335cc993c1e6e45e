"""Which database: a URL as people write it, and the same without its password."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from storage.errors import BadURL

FILE: Final = "marble.db"
DRIVERS: Final = {
    "sqlite": "sqlite",
    "sqlite+aiosqlite": "sqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


def resolve(folder: Path, url: str | None) -> URL:
    """Return the database that `url` names, or the file in `folder`; raises `BadURL`.

    A database in memory is refused: all its connections are one, and one task's rollback would
    erase another's rows.
    """
    if not url:
        return URL.create(DRIVERS["sqlite"], database=str(folder / FILE))
    try:
        parsed = make_url(url)
        parsed = parsed.set(drivername=DRIVERS[parsed.drivername])
    except (ArgumentError, ValueError):
        raise BadURL("unreadable, so not shown here", "it is no URL") from None
    except KeyError:
        raise BadURL(show(parsed), f"Marble does not speak {parsed.drivername}") from None
    name = parsed.database or ""
    if is_sqlite(parsed) and (not name or ":memory:" in name or "mode" in parsed.query):
        raise BadURL(show(parsed), "a database in memory would lose every job")
    if not is_sqlite(parsed) and not name:
        raise BadURL(show(parsed), "it names no database")
    return parsed


def is_sqlite(url: URL) -> bool:
    """Return whether the database is a file."""
    return url.get_backend_name() == "sqlite"


def file_of(url: URL) -> Path | None:
    """Return the database's file, or None for a server."""
    return Path(url.database) if is_sqlite(url) and url.database else None


def show(url: URL) -> str:
    """Return the file, or the URL without its password: fit for messages and logs."""
    file = file_of(url)
    # The query may carry a password too (?password=…), and no message needs it.
    return str(file) if file else url.set(query={}).render_as_string(hide_password=True)
