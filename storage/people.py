"""People and places: known from their first act on, with what they prefer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, bindparam, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from storage.audit import Entry, note
from storage.clock import Clock
from storage.database import Database
from storage.tables import people, person_settings, place_settings, places

EVERYWHERE: Final = "*"  # the place that all places lie in
DEEPEST: Final = 8  # a topic in a chat in a server is 3

Values = Mapping[str, Any]  # of settings, by name


@dataclass(frozen=True, slots=True)
class People:
    """Keep settings of people and places: plain JSON values by name."""

    database: Database
    now: Clock

    async def settings(self, person: str) -> dict[str, Any]:
        """Return what somebody prefers."""
        return await self.database.read(lambda c: _read(c, person_settings, person))

    async def change_settings(
        self, person: str, changes: Values | Callable[[Values], Values]
    ) -> dict[str, Any]:
        """Change some settings (None removes one) and return them all.

        changes: the new values, or a function that makes them of those that are kept; it is called
        under the write lock, so that of two changes at once neither is lost.
        """

        def unit(connection: Connection) -> dict[str, Any]:
            greet(connection, people, person, self.now())
            if not callable(changes):
                return _change(connection, person_settings, person, changes)
            kept = _read(connection, person_settings, person)
            return _change(connection, person_settings, person, changes(kept))

        return await self.database.write(unit)

    async def place_settings(self, place: str) -> dict[str, Any]:
        """Return what holds in a place: its own settings over those of what it lies in, and
        these over those of `EVERYWHERE`.
        """

        def unit(connection: Connection) -> dict[str, Any]:
            return settings_within(connection, above(connection, place))

        return await self.database.read(unit)

    async def own_settings(self, place: str) -> dict[str, Any]:
        """Return a place's own settings alone."""
        return await self.database.read(lambda c: own(c, place))

    async def within(self, place: str, setting: str) -> str:
        """Return for which place a setting holds here; see `Ledger.within`."""
        return await self.database.read(lambda c: holder(c, place, setting))

    async def places_with(self, name: str) -> dict[str, Any]:
        """Return the places that have a setting of that name of their own, and its values."""
        rows = await self.database.read(lambda c: c.execute(select(place_settings)).all())
        kept = {row.place: row._mapping["values"].get(name) for row in rows}
        return {place: value for place, value in kept.items() if value is not None}

    async def change_place_settings(
        self,
        place: str,
        changes: Values,
        *,
        check: Callable[[Values], None] | None = None,
        log: Sequence[Entry] = (),
    ) -> dict[str, Any]:
        """Change some of a place's own settings (None removes one) and return these.

        check: is given what holds in the place so far (`place_settings`), under the write lock,
        and raises where the change may not be. log: what the moderators' log says of it, in the
        same transaction.
        """

        def unit(connection: Connection) -> dict[str, Any]:
            greet(connection, places, place, self.now())
            if check:
                check(settings_within(connection, above(connection, place)))
            for entry in log:
                note(connection, entry, self.now())
            return _change(connection, place_settings, place, changes)

        return await self.database.write(unit)

    async def add_place(self, place: str, parent: str | None = None) -> None:
        """Make a place known, and what it lies in: a topic its chat, a chat its server."""

        def unit(connection: Connection) -> None:
            if parent is not None:
                greet(connection, places, parent, self.now())
            greet(connection, places, place, self.now())
            connection.execute(update(places).where(places.c.id == place).values(parent=parent))

        await self.database.write(unit)


def _line() -> Select[tuple[str | None]]:
    """Return a query for what a place lies in, the innermost first."""
    first = select(places.c.parent, literal(1).label("depth"))
    inner = first.where(places.c.id == bindparam("place")).cte("line", recursive=True)
    outer = select(places.c.parent, inner.c.depth + 1)
    lies_in = places.c.id == inner.c.parent
    line = inner.union_all(outer.where(lies_in, inner.c.depth < DEEPEST - 1))
    return select(line.c.parent).where(line.c.parent.is_not(None)).order_by(line.c.depth)


_ABOVE: Final = _line()


def above(connection: Connection, place: str) -> list[str]:
    """Return a place and what it lies in, the innermost first."""
    return list(dict.fromkeys([place, *connection.scalars(_ABOVE, {"place": place})]))


def holder(connection: Connection, place: str, setting: str) -> str:
    """Return the innermost place that has a setting here, or the whole server or chat."""
    line = above(connection, place)
    return next((key for key in line if setting in own(connection, key)), line[-1])


def own(connection: Connection, place: str) -> dict[str, Any]:
    """Return a place's own settings."""
    return _read(connection, place_settings, place)


def settings_within(connection: Connection, line: Sequence[str]) -> dict[str, Any]:
    """Return what holds in the first of some places, each of which lies in the next."""
    query = select(place_settings).where(place_settings.c.place.in_([*line, EVERYWHERE]))
    kept = {row.place: row._mapping["values"] for row in connection.execute(query)}
    found: dict[str, Any] = {}
    for place in (EVERYWHERE, *reversed(line)):
        found |= kept.get(place, {})
    return found


def greet(connection: Connection, table: Table, key: str, now: datetime) -> None:
    """Make sure that a person or place is known."""
    add_if_new(connection, table, {"id": key, "created_at": now})


def add_if_new(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless its key is there; return whether it was new."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    query = insert(table).values(dict(values)).on_conflict_do_nothing()
    return connection.execute(query).rowcount > 0


def _read(connection: Connection, table: Table, key: str) -> dict[str, Any]:
    [owner] = table.primary_key.columns
    found = connection.execute(select(table.c["values"]).where(owner == key)).scalar_one_or_none()
    return dict(found or {})


def _change(connection: Connection, table: Table, key: str, changes: Values) -> dict[str, Any]:
    [owner] = table.primary_key.columns
    values = {**_read(connection, table, key), **changes}
    values = {name: value for name, value in values.items() if value is not None}
    if not add_if_new(connection, table, {owner.name: key, "values": values}):
        connection.execute(update(table).where(owner == key).values({"values": values}))
    return values
