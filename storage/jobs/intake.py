"""The rows of a new job: its own, its inputs, its event, its person and place."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import Connection, insert, select, update

from engine.errors import OptionError
from engine.queue.estimates import pixel_steps
from storage.database.compiled_insert import insert_compiled
from storage.database.tables import inputs, jobs, people, pictures, seen_events
from storage.jobs import transitions as steps
from storage.jobs.place_tree import greet_place
from storage.jobs.rows import add_if_new, pictures_of, to_job
from storage.jobs.words import index
from storage.records import Job, NewJob
from storage.states import Status

KEY_LIMIT: Final = 200  # characters


def row_of(new: NewJob, now: datetime) -> dict[str, Any]:
    """Return the row of a new job; raises `OptionError` for what no database can keep."""
    _check(new)
    return {
        "recipe": new.recipe.to_dict(),
        "status": Status.QUEUED.value,
        "person": new.person,
        "place": new.place,
        "reply": dict(new.reply),
        "parent": new.parent,
        "parent_picture": new.parent_picture,
        "style": new.style,
        "cost": pixel_steps(new.recipe),
        "epoch": 0,
        "attempts": 0,
        "words": index(new.recipe.prompt, person=new.person, place=new.place),
        "created_at": now,
    }


def greet(connection: Connection, new: NewJob, now: datetime) -> None:
    """Insert the person and the place of a new job where they are not known."""
    add_if_new(connection, people, {"id": new.person, "created_at": now})
    greet_place(connection, new.place, now)


def _check(new: NewJob) -> None:
    """Refuse what no database can keep; raises `OptionError`."""
    keys = {"person": new.person, "place": new.place, "event": new.event}
    for name, key in keys.items():
        if key is not None and not 0 < len(key) <= KEY_LIMIT:
            raise OptionError(name, key, f"1 to {KEY_LIMIT} characters long")
    recipe = new.recipe
    texts = {"prompt": recipe.prompt, "negative_prompt": recipe.negative_prompt, **keys}
    for name, written in texts.items():
        if written is not None:
            check_text(name, written)


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
    if job is None:
        return None
    return to_job(steps.find(connection, job), pictures_of(connection, [job]).get(job, ()))


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


def insert_job(connection: Connection, new: NewJob, values: dict[str, Any]) -> Job:
    """Insert a job with its inputs and its event, and return it."""
    if new.parent is not None:
        steps.find(connection, new.parent)
    job = insert_compiled(connection, jobs, values)
    if new.recipe.inputs:
        rows = [
            {"job": job, "sha256": needed, "owner": _given_by(connection, new, needed)}
            for needed in new.recipe.inputs
        ]
        connection.execute(insert(inputs), rows)
    if new.event:
        event = {"id": new.event, "job": job, "created_at": values["created_at"]}
        if not add_if_new(connection, seen_events, event):  # seen before, but made no job then
            known = seen_events.c.id == new.event
            connection.execute(update(seen_events).where(known).values(job=job))
    return Job(
        id=job,
        recipe=new.recipe,
        status=Status.QUEUED,
        person=new.person,
        place=new.place,
        reply=values["reply"],
        message=None,
        parent=new.parent,
        parent_picture=new.parent_picture,
        epoch=0,
        attempts=0,
        error=None,
        created_at=values["created_at"],
        started_at=None,
        finished_at=None,
        style=new.style,
    )
