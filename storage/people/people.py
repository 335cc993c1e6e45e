"""People and places, recorded from their first act on, and their settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, Text, cast, or_, select, update

from storage.clock import Clock
from storage.database.audit import AuditEntry, note
from storage.database.database import OUTCOME, Database
from storage.database.tables import people, person_settings, place_settings, places
from storage.jobs.place_tree import greet_place, having, line_of
from storage.jobs.rows import add_if_new
from storage.people.place_moves import MOVED, move
from storage.records import Json, Line

Values = Mapping[str, Any]  # of settings, by name


@dataclass(frozen=True, slots=True)
class People:
    """Keep settings of people and places: plain JSON values by name."""

    database: Database
    now: Clock

    async def settings(self, person: str) -> dict[str, Any]:
        """Return a person's settings."""
        return await self.database.read(lambda c: _read(c, person_settings, person))

    async def change_settings(
        self, person: str, changes: Values | Callable[[Values], Values]
    ) -> dict[str, Any]:
        """Change some settings (None removes one) and return them all.

        changes: the new values, or a function that makes them of those that are kept; it is called
        under the write lock, so that of two changes at once neither is lost.
        """

        def unit(connection: Connection) -> dict[str, Any]:
            add_if_new(connection, people, {"id": person, "created_at": self.now()})
            if not callable(changes):
                return _change(connection, person_settings, person, changes)
            kept = _read(connection, person_settings, person)
            return _change(connection, person_settings, person, changes(kept))

        return await self.database.write(unit)

    async def line(self, place: str) -> Line:
        """Return a place and what it lies in, each with its own settings; `EVERYWHERE` is last."""
        return await self.database.read(lambda c: line_of(c, place))

    async def places_having(self, beginnings: Iterable[str], limit: int) -> tuple[str, ...]:
        """Return places with settings of their own whose names begin so, in order of their ids.

        A text that a setting holds counts like a name.
        """
        kept = cast(place_settings.c["values"], Text)
        have = or_(*(kept.contains(f'"{each}', autoescape=True) for each in beginnings))
        query = select(place_settings.c.place).where(have).order_by(place_settings.c.place)
        return tuple(await self.database.read(lambda c: c.scalars(query.limit(limit)).all()))

    async def places_with(self, name: str) -> dict[str, Any]:
        """Return the places that have a setting of that name of their own, and its values."""
        query = select(place_settings).where(place_settings.c.place.in_(having(name)))
        rows = await self.database.read(lambda c: c.execute(query).all())
        return {row.place: row._mapping["values"][name] for row in rows}

    async def change_place_settings(
        self,
        place: str,
        changes: Values,
        *,
        check: Callable[[Line], None] | None = None,
        log: Sequence[AuditEntry] = (),
    ) -> dict[str, Any]:
        """Change some of a place's own settings (None removes one) and return these.

        check: is given the settings that apply in the place so far (`line_of`), under the write
        lock, and raises where the change may not be. log: what the moderators' log says of it, in
        the same transaction.
        """

        def unit(connection: Connection) -> dict[str, Any]:
            greet_place(connection, place, self.now())
            if check:
                check(line_of(connection, place))
            for entry in log:
                note(connection, entry, self.now())
            return _change(connection, place_settings, place, changes)

        return await self.database.write(unit)

    async def add_place(self, place: str, parent: str | None = None) -> None:
        """Insert a place and its parent: a thread's channel, a topic's group.

        Without a `parent` it lies in what its name says, or in what it was known to lie in.
        """

        def unit(connection: Connection) -> None:
            greet_place(connection, place, self.now())
            if parent is not None:
                greet_place(connection, parent, self.now())
                connection.execute(update(places).where(places.c.id == place).values(parent=parent))

        await self.database.write(unit)

    async def moved_places(self) -> dict[str, str]:
        """Return the places that were moved, and where to."""
        return await self.places_with(MOVED)

    async def present_place(self, place: str) -> str:
        """Return the id that a place has now, after it was moved."""
        kept = await self.database.read(lambda c: _read(c, place_settings, place))
        return str(kept.get(MOVED, place))

    async def move_place(self, old: str, new: str, *, reply: Json) -> None:
        """Move all that is kept of a place to another id, in one transaction; see `move`."""
        await self.database.write(lambda c: move(c, old, new, reply, self.now()), OUTCOME)


def _read(connection: Connection, table: Table, key: str) -> dict[str, Any]:
    [column] = table.primary_key.columns
    found = connection.execute(select(table.c["values"]).where(column == key)).scalar_one_or_none()
    return dict(found or {})


def _change(connection: Connection, table: Table, key: str, changes: Values) -> dict[str, Any]:
    [column] = table.primary_key.columns
    values = {**_read(connection, table, key), **changes}
    values = {name: value for name, value in values.items() if value is not None}
    if not add_if_new(connection, table, {column.name: key, "values": values}):
        connection.execute(update(table).where(column == key).values({"values": values}))
    return values
