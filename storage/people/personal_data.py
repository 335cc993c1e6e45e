"""A person's stored data, as rows of JSON values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Executable, Select, Table, exists, func, select

from engine.recipe.recipe import Recipe
from storage.database.tables import (
    audit,
    bans,
    favourites,
    inputs,
    jobs,
    letters,
    messages,
    people,
    person_settings,
    pictures,
    seen_events,
    styles,
    vectors,
    web_grants,
    web_sessions,
)


def given_by(person: str) -> Select[str]:
    """Return the pictures that a person uploaded.

    Whoever reruns their jobs starts from them too, and owns them no more for it; they stay theirs
    when their own job is long gone.
    """
    drawn = exists().where(pictures.c.sha256 == inputs.c.sha256)  # it came out the same since
    return select(inputs.c.sha256).where(inputs.c.owner == person, ~drawn).distinct()


def about(connection: Connection, person: str) -> dict[str, Any]:
    """Return a person's stored data besides jobs and their messages."""
    queries = {
        "known": select(people).where(people.c.id == person),
        "settings": select(person_settings).where(person_settings.c.person == person),
        "favourites": select(favourites).where(favourites.c.person == person),
        "bans": select(bans).where(bans.c.person == person),
        "acts": select(audit).where((audit.c.by == person) | (audit.c.target == person)),
        "styles": select(styles).where(styles.c.made_by == person),
        "vectors": _counted(person),
        "letters": select(letters).where(letters.c.person == person),
        "events": select(seen_events).where(seen_events.c.person == person),
        "signed_in": select(*_without(web_sessions, "id")).where(web_sessions.c.person == person),
        "opened": select(*_without(web_grants, "id", "reply")).where(web_grants.c.person == person),
    }
    return {name: _rows(connection, query) for name, query in queries.items()}


def _counted(person: str) -> Select[Any]:
    """Count the vectors of a person's pictures by model: numbers that nobody can read."""
    of = select(vectors.c.model, func.count().label("count")).join(jobs, jobs.c.id == vectors.c.job)
    return of.where(jobs.c.person == person).group_by(vectors.c.model)


def _without(table: Table, *secret: str) -> list[Column[Any]]:
    return [column for column in table.columns if column.name not in secret]


def messages_of(jobs: Collection[int], connection: Connection) -> list[dict[str, Any]]:
    """Return the messages that show some jobs."""
    return _rows(connection, select(messages).where(messages.c.job.in_(jobs)))


def _rows(connection: Connection, query: Executable) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(query)]


def plain(value: Any) -> Any:
    """Turn a time or a record into JSON values, for `json.dumps`."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Recipe):
        return value.to_dict()
    return {field.name: getattr(value, field.name) for field in fields(value)}
