"""Bring a database to the schema of this code, by Alembic's migrations, and check that it is.

Alembic is imported for an upgrade alone: it takes longer than most commands.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect, text

import migrations
from storage.errors import NewerSchema

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER: Final = Path(migrations.__file__).parent
TABLE: Final = "alembic_version"  # where Alembic writes a database's revision


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's settings, for a connection that is already open."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    settings.attributes["connection"] = connection
    return settings


def head() -> str:
    """Return the newest revision that this code knows."""
    return max(known())


@cache
def known() -> frozenset[str]:
    """Return every revision that this code knows: what the names of their files begin with."""
    files = (FOLDER / "versions").glob("[0-9]*.py")
    return frozenset(file.name.partition("_")[0] for file in files)


def revision(connection: Connection) -> str | None:
    """Return the database's revision, or None for an empty one."""
    if not inspect(connection).has_table(TABLE):
        return None
    found: str | None = connection.scalar(text(f"SELECT version_num FROM {TABLE}"))
    return found


def is_old(connection: Connection) -> bool:
    """Return whether a database has an older revision."""
    with connection.begin():
        return revision(connection) in known() - {head()}


def upgrade(where: str, connection: Connection) -> None:
    """Upgrade in one transaction; where: the database's name in errors.

    Raises `NewerSchema` when the database knows a revision that this code does not.
    """
    with connection.begin():
        before = revision(connection)
        if before is not None and before not in known():
            raise NewerSchema(where, f"revision {before}")
        if before != head():
            from alembic import command

            command.upgrade(config(connection), "head")
