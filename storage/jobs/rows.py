"""Turn rows into records, and insert those that are new."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from engine.errors import UserError
from engine.events import Verdict
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence
from storage.database.tables import jobs, pictures
from storage.errors import UnknownJob, UnreadableRecipe
from storage.records import Job, Picture
from storage.states import Status

_log: Final = logging.getLogger("marble.storage")

# What a Job is made of; the words are for the index alone, the cost for quotas.
JOB: Final = tuple(column for column in jobs.c if column.name not in ("words", "worker", "cost"))

# What every job needs is built once: that takes longer than SQLite takes to run it.
_ROW: Final = select(*JOB).where(jobs.c.id == bindparam("number"))
_ROWS: Final = select(*JOB).where(jobs.c.id.in_(bindparam("numbers", expanding=True)))
_PICTURES: Final = (
    select(pictures)
    .where(pictures.c.job.in_(bindparam("numbers", expanding=True)))
    .order_by(pictures.c.job, pictures.c.match.desc().nulls_last(), pictures.c.index)
)


def to_job(row: Row[Any], drawn: Iterable[Picture] = ()) -> Job:
    """Make a record of a row of `JOB`; raises `UnreadableRecipe`."""
    values = row._mapping
    try:
        recipe = Recipe.from_dict(values["recipe"])
    except UserError as error:
        asked = {"person": values["person"], "place": values["place"]}
        raise UnreadableRecipe(values["id"], str(error), **asked) from error
    known = {column.name: values[column.name] for column in JOB}
    if told := known.pop("told"):  # what other languages need to say it
        known["error"] = Sentence.read(known["error"], told)
    known |= {"recipe": recipe, "status": Status(values["status"]), "pictures": tuple(drawn)}
    return Job(**known)


def seek(connection: Connection, job: int) -> Row[Any] | None:
    """Return a job's row, None where there is none."""
    return connection.execute(_ROW, {"number": job}).one_or_none()


def find(connection: Connection, job: int) -> Row[Any]:
    """Return a job's row, or raise `UnknownJob`."""
    if (row := seek(connection, job)) is None:
        raise UnknownJob(job)
    return row


def with_pictures(connection: Connection, row: Row[Any]) -> Job:
    """Make a record of a row of `JOB` with its pictures; raises `UnreadableRecipe`.

    It tells whether another kind of device drew the job than the one that was wanted.
    """
    job = to_job(row, pictures_of(connection, [row.id]).get(row.id, ()))
    if not (job.pictures and job.device and job.parent):
        return job
    wanted = device_of(connection, job.parent, job.recipe.seed)
    return replace(job, device_wanted=wanted) if wanted != job.device else job


def device_of(connection: Connection, parent: int, seed: int) -> str | None:
    """Return the kind of device that drew a job, if known and if its seed is the one given."""
    query = select(jobs.c.recipe, jobs.c.device).where(jobs.c.id == parent)
    row = connection.execute(query).one_or_none()
    return cast(str | None, row.device) if row and int(row.recipe["seed"]) == seed else None


def to_jobs(connection: Connection, rows: Iterable[Row[Any]]) -> tuple[Job, ...]:
    """Make records with their pictures; a recipe that cannot be read is logged and left out."""
    rows = list(rows)
    drawn = pictures_of(connection, [row.id for row in rows])
    found = []
    for row in rows:
        try:
            found.append(to_job(row, drawn.get(row.id, ())))
        except UnreadableRecipe as error:
            _log.error("%s", error)
    return tuple(found)


def to_picture(row: Row[Any]) -> Picture:
    """Make a record of a row of `pictures`."""
    return Picture(**{**row._mapping, "verdict": Verdict(row.verdict)})


def jobs_by_id(connection: Connection, ids: Iterable[int]) -> dict[int, Job]:
    """Return several jobs with their pictures, by number."""
    rows = connection.execute(_ROWS, {"numbers": [*set(ids)]})
    return {job.id: job for job in to_jobs(connection, rows)}


def pictures_of(connection: Connection, ids: list[int]) -> dict[int, tuple[Picture, ...]]:
    """Return the pictures of several jobs, in the order in which they are shown."""
    found: dict[int, tuple[Picture, ...]] = {}
    if not ids:
        return found
    for row in connection.execute(_PICTURES, {"numbers": ids}):
        found[row.job] = (*found.get(row.job, ()), to_picture(row))
    return found


def add_if_new(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless its key is there; return whether it was new."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    query = insert(table).values(dict(values)).on_conflict_do_nothing()
    return connection.execute(query).rowcount > 0
