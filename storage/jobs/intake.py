"""The rows of a new job: its own, its inputs, its event, its person and place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import Connection, Dialect, insert, select, update

from engine.errors import OptionError
from engine.queue.estimates import pixel_steps
from storage.database.tables import inputs, jobs, people, pictures, seen_events
from storage.jobs.place_tree import greet_place
from storage.jobs.rows import add_if_new, device_of, find, with_pictures
from storage.jobs.words import index
from storage.records import Job, NewJob
from storage.states import Status

KEY_LIMIT: Final = 200  # characters
WRITTEN_APART: Final = ("recipe", "status", "cost", "words")  # a record's are others, or none
Processor = Callable[[Any], Any] | None


def row_of(new: NewJob, now: datetime) -> dict[str, Any]:
    """Return the row of a new job; raises `OptionError` for what no database can keep."""
    recipe = new.recipe
    keys = {"person": new.person, "place": new.place, "event": new.event}
    for name, key in keys.items():
        if key is not None and not 0 < len(key) <= KEY_LIMIT:
            raise OptionError(name, key, f"1 to {KEY_LIMIT} characters long")
    texts = {"prompt": recipe.prompt, "negative_prompt": recipe.negative_prompt, **keys}
    for name, written in texts.items():
        if written is not None:
            check_text(name, written)
    return {
        "recipe": recipe.to_dict(),
        "status": Status.QUEUED.value,
        "person": new.person,
        "place": new.place,
        "reply": dict(new.reply),
        "parent": new.parent,
        "parent_picture": new.parent_picture,
        "style": new.style,
        "making_of": new.making_of,
        "best": new.best,
        "cost": pixel_steps(recipe),
        "device": None,
        "epoch": 0,
        "attempts": 0,
        "words": index(recipe.prompt, person=new.person, place=new.place),
        "created_at": now,
    }


def check_text(name: str, written: str) -> None:
    """Refuse a text that no database can keep; raises `OptionError`."""
    if "\0" in written:
        raise OptionError(name, written, "text without NUL characters")
    try:
        written.encode()
    except UnicodeEncodeError:
        raise OptionError(name, ascii(written), "whole characters (UTF-8)") from None


def find_by_event(connection: Connection, event: str) -> Job | None:
    """Return the job that an event made; None if none."""
    query = select(seen_events.c.job).where(seen_events.c.id == event)
    job = connection.execute(query).scalar_one_or_none()
    return None if job is None else with_pictures(connection, find(connection, job))


def _given_by(connection: Connection, new: NewJob, sha256: str) -> str | None:
    """Return who gave a picture that a job starts from: as its parent says, or else the first who
    did; None where Marble drew it.
    """
    parents = inputs.c.job == (new.parent or 0)
    known = select(inputs.c.owner).where(inputs.c.sha256 == sha256)
    row = connection.execute(known.order_by(parents.desc(), inputs.c.job).limit(1)).one_or_none()
    if row is not None:
        return cast(str | None, row.owner)
    drawn = select(pictures.c.job).where(pictures.c.sha256 == sha256).limit(1)
    return None if connection.execute(drawn).first() else new.person


def insert_job(
    connection: Connection, new: NewJob, values: Mapping[str, Any], *, introduce: bool
) -> Job:
    """Insert a job with its inputs and its event, and return it.

    introduce: its person and place may be new.
    """
    now = values["created_at"]
    if new.parent is not None:
        find(connection, new.parent)
        values = {**values, "device": device_of(connection, new.parent, new.recipe.seed)}
    if introduce:
        add_if_new(connection, people, {"id": new.person, "created_at": now})
        greet_place(connection, new.place, now)
    job = _insert(connection, values)
    if new.recipe.inputs:
        rows = [
            {"job": job, "sha256": needed, "owner": _given_by(connection, new, needed)}
            for needed in new.recipe.inputs
        ]
        connection.execute(insert(inputs), rows)
    if new.event:
        event = {"id": new.event, "job": job, "created_at": now}
        if not add_if_new(connection, seen_events, event):  # seen before, but made no job then
            known = seen_events.c.id == new.event
            connection.execute(update(seen_events).where(known).values(job=job))
    shared = {name: value for name, value in values.items() if name not in WRITTEN_APART}
    return Job(id=job, recipe=new.recipe, status=Status.QUEUED, **shared)


def _insert(connection: Connection, values: Mapping[str, Any]) -> int:
    """Insert a job and return its number; `values` name the same columns every time.

    On SQLite a statement that is compiled once halves the time: it is looked up and its parameters
    are sorted anew at each execution, which costs more than SQLite's own work. Of all inserts, this
    one is measured by the thousand.
    """
    if connection.dialect.name != "sqlite":
        key = connection.execute(insert(jobs), values).inserted_primary_key
        assert key is not None
        return int(key[0])
    statement, steps = _compiled(connection.dialect, frozenset(values))
    row = tuple(process(values[name]) if process else values[name] for name, process in steps)
    return int(connection.exec_driver_sql(statement, row).lastrowid)


@cache
def _compiled(
    dialect: Dialect, names: frozenset[str]
) -> tuple[str, tuple[tuple[str, Processor], ...]]:
    """Return the statement, and what turns each value, in order, into what the driver takes."""
    written = insert(jobs).compile(dialect=dialect, column_keys=list(names))
    columns = [column for column in jobs.c if column.name in names]  # the statement's order
    return str(written), tuple(
        (column.name, column.type.dialect_impl(dialect).bind_processor(dialect))
        for column in columns
    )
