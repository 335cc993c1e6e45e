"""The tree of places: a thread lies in its channel, a channel in its server, a topic in its group.

What is set in a place applies to all that lies in it, except where something of the same name is
set further in. `line_of` and `ruled_by` say so in both directions: which places' settings apply to
a place, and to which places one place's setting applies.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, literal, select

from storage.database.tables import jobs, place_settings, places
from storage.jobs.rows import add_if_new
from storage.records import EVERYWHERE, Level, Line

DEEPEST: Final = 8  # a thread in a channel in a server is 3
_NAMED: Final = re.compile(r"(\w+:-?\d+)/\d+", re.ASCII)


def named_parent(place: str) -> str | None:
    """Return what a place lies in by its name: `discord:1` for `discord:1/2`; None where its name
    does not say.
    """
    found = _NAMED.fullmatch(place)
    return found and found[1]


def greet_place(connection: Connection, place: str, now: datetime) -> None:
    """Make sure that a place is known, and what it lies in by its name."""
    parent = named_parent(place)
    if parent:
        add_if_new(connection, places, {"id": parent, "created_at": now})
    add_if_new(connection, places, {"id": place, "parent": parent, "created_at": now})


def _above() -> Select[tuple[str | None]]:
    """Return a query for what a place lies in, the innermost first."""
    first = select(places.c.parent, literal(1).label("depth"))
    inner = first.where(places.c.id == bindparam("place")).cte("line", recursive=True)
    outer = select(places.c.parent, inner.c.depth + 1)
    lies_in = places.c.id == inner.c.parent
    line = inner.union_all(outer.where(lies_in, inner.c.depth < DEEPEST - 1))
    return select(line.c.parent).where(line.c.parent.is_not(None)).order_by(line.c.depth)


_ABOVE: Final = _above()
_SETTINGS: Final = select(place_settings).where(
    place_settings.c.place.in_(bindparam("names", expanding=True))
)


def above(connection: Connection, place: str) -> list[str]:
    """Return a place and what it lies in, the innermost first, then `EVERYWHERE`.

    A place that nobody asked in yet lies in what its name says.
    """
    line = [place, *connection.scalars(_ABOVE, {"place": place})]
    if parent := named_parent(line[-1]):
        line += [parent, *connection.scalars(_ABOVE, {"place": parent})]
    return list(dict.fromkeys([*line, EVERYWHERE]))


def line_of(connection: Connection, place: str) -> Line:
    """Return a place and what it lies in, each with its own settings; `EVERYWHERE` is last."""
    names = above(connection, place)
    found = connection.execute(_SETTINGS, {"names": names})
    kept = {row.place: row._mapping["values"] for row in found}
    return tuple(Level(place=name, settings=kept.get(name, {})) for name in names)


def having(setting: str) -> Select[tuple[str]]:
    """Name the places that have a setting of their own."""
    value = place_settings.c["values"][setting].as_string()
    return select(place_settings.c.place).where(value.is_not(None))


def below(roots: Select[tuple[str]], apart: Select[tuple[str]] | None = None) -> Select[tuple[str]]:
    """Name some places and all that lies in them, except those `apart` and what lies in these."""
    first = select(places.c.id).where(places.c.id.in_(roots))
    tree = first.cte("below", recursive=True)
    inner = select(places.c.id).where(places.c.parent == tree.c.id)
    if apart is not None:
        inner = inner.where(places.c.id.not_in(apart))
    tree = tree.union(inner)
    return select(tree.c.id)


def within(place: str) -> ColumnElement[bool]:
    """Say of jobs whether they were asked for in a place or in what lies in it."""
    return jobs.c.place.in_(below(select(literal(place))))


def ruled_by(setting: str, place: str) -> ColumnElement[bool]:
    """Say of jobs whether a setting of one place applies where they were asked for.

    That of `EVERYWHERE` applies where none further in does. `place` need not have the setting: a
    server counts by a limit of everywhere's what was asked for in it.
    """
    own = having(setting).where(place_settings.c.place.not_in([place, EVERYWHERE]))
    if place == EVERYWHERE:
        return jobs.c.place.not_in(below(own))
    return jobs.c.place.in_(below(select(literal(place)), own))


def is_set(setting: str, place: str, number: int | None) -> ColumnElement[bool]:
    """Return whether a place's own setting is a number; None: whether it has none.

    Whoever acts on what they read can so make sure, as they act, that it has not changed since.
    """
    value = place_settings.c["values"][setting]
    own = exists().where(place_settings.c.place == place)
    if number is None:
        return ~own.where(value.as_string().is_not(None))
    return own.where(value.as_integer() == number)
