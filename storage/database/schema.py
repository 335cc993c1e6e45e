"""Bring a database to the schema of this code, by Alembic's migrations, and check that it is."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import migrations
from storage.errors import NewerSchema

FOLDER: Final = Path(migrations.__file__).parent


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's settings, for a connection that is already open."""
    settings = Config()
    settings.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    settings.attributes["connection"] = connection
    return settings


@cache
def head() -> str:
    """Return the newest revision that this code knows."""
    found = ScriptDirectory.from_config(config()).get_current_head()
    assert found is not None, "no migrations"
    return found


@cache
def known() -> frozenset[str]:
    """Return every revision that this code knows."""
    scripts = ScriptDirectory.from_config(config()).walk_revisions()
    return frozenset(script.revision for script in scripts)


def revision(connection: Connection) -> str | None:
    """Return the database's revision, or None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection, where: str) -> str | None:
    """Upgrade inside the caller's transaction; return the revision there was before.

    Raises `NewerSchema` when the database knows a revision that this code does not.
    """
    before = revision(connection)
    if before is not None and before not in known():
        raise NewerSchema(where, f"revision {before}")
    if before != head():
        command.upgrade(config(connection), "head")
    return before
