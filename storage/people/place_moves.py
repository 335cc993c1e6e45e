"""Move all that is kept of a place to another id, which its platform has given it.

A Telegram group that becomes a supergroup is the same group under another id. The old place lies in
the new one from then on, so that whatever still names it meets the same rules, bans and styles.
Messages stay under the ids where they stand: in the new group others bear their numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    Table,
    Text,
    cast,
    delete,
    exists,
    func,
    literal,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

from storage.database.tables import (
    audit,
    bans,
    favourites,
    inputs,
    jobs,
    letters,
    people,
    person_settings,
    place_settings,
    places,
    seen_events,
    styles,
    web_grants,
    web_links,
    web_sessions,
)
from storage.jobs import words
from storage.jobs.place_tree import above, greet_place
from storage.jobs.rows import add_if_new
from storage.records import Json

MOVED: Final = "moved_to"  # a setting of a place that has another id now
OF_PLACES: Final = (jobs.c.place, styles.c.place, bans.c.place, audit.c.place)
OF_PEOPLE: Final = (
    jobs.c.person,
    favourites.c.person,
    letters.c.person,
    seen_events.c.person,
    inputs.c.owner,
    bans.c.person,
    bans.c.by,
    audit.c.by,
    audit.c.target,
    styles.c.made_by,
    web_links.c.person,
    web_sessions.c.person,
    web_grants.c.person,
)


def move(connection: Connection, old: str, new: str, reply: Json, now: datetime) -> None:
    """Move all that is kept of a place, and of what lies in it by its name.

    What the new place has already stands before what the old one had; of two bans of one person
    the later counts. Whoever writes as the place itself is moved as well. reply: what changes in
    the reply addresses of its jobs (None removes a value). Moved twice is moved once.
    """
    if old in above(connection, new):
        return
    for source, target in _pairs(connection, old, new):
        _move(connection, source, target, reply, now)
    _rename(connection, old, new, now)


def _move(connection: Connection, old: str, new: str, reply: Json, now: datetime) -> None:
    greet_place(connection, old, now)
    greet_place(connection, new, now)
    inside = places.c.parent == old
    connection.execute(update(places).where(inside, places.c.id != new).values(parent=new))
    connection.execute(update(places).where(places.c.id == old).values(parent=new))
    _merge(connection, place_settings, old, new)
    connection.execute(_outdated(old, new))
    jobs_there = update(jobs).where(jobs.c.place == old)
    connection.execute(jobs_there.values(reply=_patched(connection, reply)))
    at = words.at(old), words.at(new)
    connection.execute(jobs_there.values(words=_reworded(connection, *at)))
    for column in OF_PLACES:
        _rekey(connection, column, old, new)
    connection.execute(delete(web_grants).where(web_grants.c.place == old))  # it has that address
    add_if_new(connection, place_settings, {"place": old, "values": {}})
    left = update(place_settings).where(place_settings.c.place == old)
    connection.execute(left.values({"values": {MOVED: new}}))


def _rename(connection: Connection, old: str, new: str, now: datetime) -> None:
    """Move what is kept of whoever writes as a place."""
    known = select(people.c.id).where(people.c.id == old)
    if connection.execute(known).first():
        add_if_new(connection, people, {"id": new, "created_at": now})
    _merge(connection, person_settings, old, new)
    connection.execute(delete(person_settings).where(person_settings.c.person == old))
    by = words.by(old), words.by(new)
    theirs = update(jobs).where(jobs.c.person == old)
    connection.execute(theirs.values(words=_reworded(connection, *by)))
    for column in OF_PEOPLE:
        _rekey(connection, column, old, new)
    connection.execute(delete(people).where(people.c.id == old))


def _pairs(connection: Connection, old: str, new: str) -> Iterator[tuple[str, str]]:
    """Yield a place and what lies in it by its name, each with its new id; the outermost first."""
    yield old, new
    below = select(places.c.id).where(places.c.id.startswith(f"{old}/", autoescape=True))
    for place in connection.scalars(below.order_by(places.c.id)).all():
        yield place, new + place.removeprefix(old)


def _merge(connection: Connection, table: Table, old: str, new: str) -> None:
    """Add the settings under one key to those under another, whose own values stay."""
    [column] = table.primary_key.columns
    query = select(column, table.c["values"]).where(column.in_([old, new]))
    kept = {row[0]: row[1] for row in connection.execute(query)}
    merged = {**kept.get(old, {}), **kept.get(new, {})}
    merged.pop(MOVED, None)
    if merged == kept.get(new, {}):
        return
    add_if_new(connection, table, {column.name: new, "values": {}})
    connection.execute(update(table).where(column == new).values({"values": merged}))


def _outdated(old: str, new: str) -> Delete:
    """Return what removes those bans of the new place that are older than the old place's."""
    later = bans.alias()
    replaced = exists().where(
        later.c.place == old,
        later.c.person == bans.c.person,
        later.c.created_at > bans.c.created_at,
    )
    return delete(bans).where(bans.c.place == new, replaced)


def _rekey(connection: Connection, column: Column[Any], old: str, new: str) -> None:
    """Change a value in a column; a row whose key is taken under the new one is removed."""
    table = column.table
    key = [each for each in table.primary_key.columns if each.name != column.name]
    if column.name in table.primary_key.columns:
        twin = table.alias()
        same = [twin.c[each.name] == each for each in key]
        taken = exists().where(twin.c[column.name] == new, *same)
        connection.execute(delete(table).where(column == old, taken))
    connection.execute(update(table).where(column == old).values({column.name: new}))


def _patched(connection: Connection, changes: Json) -> ColumnElement[Any]:
    """Return jobs' reply addresses with some values changed."""
    text = json.dumps(dict(changes))
    if connection.dialect.name == "postgresql":
        return jobs.c.reply.op("||")(cast(literal(text), JSONB))
    return func.json_patch(type_coerce(jobs.c.reply, Text), text)


def _reworded(connection: Connection, old: str, new: str) -> ColumnElement[Any]:
    """Replace the old place's word in jobs' search index; no prompt can contain such a word."""
    if connection.dialect.name == "postgresql":
        return func.ts_delete(jobs.c.words, old).op("||")(cast(literal(f"'{new}':1"), TSVECTOR))
    text = type_coerce(jobs.c.words, Text).op("||")(" ")
    return func.rtrim(func.replace(text, f" {old} ", f" {new} "))
