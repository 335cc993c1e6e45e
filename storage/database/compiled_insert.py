"""An insert whose statement is compiled once: on SQLite that halves its time.

A statement is looked up and its parameters are sorted anew at each execution, which costs more
than SQLite's own work. This is for the one insert that is measured by the thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table, insert

Processor = Callable[[Any], Any] | None


def insert_compiled(connection: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """Insert a row and return its number; `values` name the same columns every time."""
    if connection.dialect.name != "sqlite":
        key = connection.execute(insert(table), values).inserted_primary_key
        assert key is not None
        return int(key[0])
    statement, steps = _written(connection.dialect, table, frozenset(values))
    row = tuple(process(values[name]) if process else values[name] for name, process in steps)
    return int(connection.exec_driver_sql(statement, row).lastrowid)


@cache
def _written(
    dialect: Dialect, table: Table, names: frozenset[str]
) -> tuple[str, tuple[tuple[str, Processor], ...]]:
    """Return the statement, and what turns each value, in order, into what the driver takes."""
    written = insert(table).compile(dialect=dialect, column_keys=list(names))
    columns = [column for column in table.c if column.name in names]  # the statement's order
    return str(written), tuple(
        (column.name, column.type.dialect_impl(dialect).bind_processor(dialect))
        for column in columns
    )
