"""Checks of a database's contents; one sentence for each error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, and_, exists, select, text
from sqlalchemy.exc import DatabaseError

from storage.database import schema
from storage.database.tables import jobs, outbox, pictures
from storage.states import Status

SHOWN: Final = 20  # problems of one kind
_ANSWERED: Final = (Status.RENDERED, Status.FAILED, Status.CANCELLED)


def problems(connection: Connection) -> list[str]:
    """Return the errors found by reading alone."""
    found = [*_pages(connection)] if connection.dialect.name == "sqlite" else []
    if (revision := schema.revision(connection)) != schema.head():
        found.append(f"the schema is at revision {revision}, not {schema.head()}")
    return [*found, *_jobs(connection)]


def search_problems(connection: Connection) -> list[str]:
    """Return the errors of SQLite's search index; needs the write lock."""
    try:
        connection.execute(text("INSERT INTO search(search, rank) VALUES ('integrity-check', 1)"))
    except DatabaseError as error:
        return [f"the search index does not match the jobs ({error.orig})"]
    return []


def _pages(connection: Connection) -> Iterator[str]:
    for (line,) in connection.execute(text(f"PRAGMA integrity_check({SHOWN})")):
        if line != "ok":
            yield f"the file is damaged: {line}"
    for row in connection.execute(text("PRAGMA foreign_key_check")).fetchmany(SHOWN):
        yield f"row {row[1]} of {row[0]} names a row of {row[2]} that is not there"


def _jobs(connection: Connection) -> Iterator[str]:
    """Find jobs in a state that the transitions of `storage.states` do not lead to."""
    reply = exists().where(outbox.c.job == jobs.c.id)
    waiting = and_(outbox.c.job == jobs.c.id, outbox.c.closed_at.is_(None))
    drawn = exists().where(pictures.c.job == jobs.c.id)
    wrong = {
        "has ended without a reply in the outbox": and_(
            jobs.c.status.in_([status.value for status in _ANSWERED]), ~reply
        ),
        "is delivered, yet its reply waits": and_(
            jobs.c.status == Status.DELIVERED.value, exists().where(waiting)
        ),
        "has not ended, yet a reply waits": and_(
            jobs.c.status.in_([Status.QUEUED.value, Status.RUNNING.value]), reply
        ),
        "is rendered without a picture": and_(
            jobs.c.status.in_([Status.RENDERED.value, Status.DELIVERED.value]), ~drawn
        ),
    }
    for problem, condition in wrong.items():
        query = select(jobs.c.id).where(condition).order_by(jobs.c.id).limit(SHOWN)
        for job in connection.execute(query).scalars():
            yield f"job {job} {problem}"
