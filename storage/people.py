"""People and places: known from the first job on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from storage.tables import people, places


def arrive(connection: Connection, person: str, place: str, now: datetime) -> None:
    """Make sure that a person and a place are known."""
    for table, key in ((people, person), (places, place)):
        add_if_new(connection, table, {"id": key, "created_at": now})


def add_if_new(connection: Connection, table: Table, values: dict[str, object]) -> bool:
    """Insert a row unless its key is there; return whether it was new."""
    if connection.dialect.name == "postgresql":
        return (
            connection.execute(postgresql.insert(table).on_conflict_do_nothing(), values).rowcount
            > 0
        )
    return connection.execute(sqlite.insert(table).on_conflict_do_nothing(), values).rowcount > 0
