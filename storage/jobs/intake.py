"""Take a job in: once for each event, and with its person and place made known."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from engine.errors import MissingPicture, OptionError
from engine.files.private import MIN_FREE
from engine.queue.estimates import pixel_steps
from storage.clock import Clock
from storage.database.database import Database
from storage.database.quick import insert_quickly
from storage.database.tables import inputs, jobs, people, pictures, seen_events
from storage.errors import DiskFull
from storage.jobs import transitions as steps
from storage.jobs.picture_files import Pictures
from storage.jobs.place_tree import greet_place
from storage.jobs.quota import Allow, Ledger, everything_passes
from storage.jobs.rows import add_if_new, pictures_of, to_job
from storage.jobs.words import index
from storage.records import Job, NewJob
from storage.states import Status

KEY_LIMIT: Final = 200  # characters
GREETED_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Intake:
    """Insert jobs; known people and places are remembered, which saves two of three statements."""

    database: Database
    now: Clock
    files: Pictures
    folders: tuple[Path, ...]  # whose disks must have room for what a new job leads to
    _greeted: set[tuple[str, str]] = field(default_factory=set)

    async def add(self, new: NewJob, allow: Allow = everything_passes) -> Job:
        """Commit a job, queued; see `Jobs.add`."""
        self._check_room()
        values = self._values(new)
        guest = (new.person, new.place)

        def unit(connection: Connection, introduce: bool) -> Job:
            if new.event and (known := find_by_event(connection, new.event)):
                return known
            # A sweep removes files under the same lock: what is here now will stay.
            for needed in new.recipe.inputs:
                if not self.files.has(needed):
                    raise MissingPicture(needed)
            allow(Ledger(connection, new.person))
            if introduce:
                guest = {"id": new.person, "created_at": values["created_at"]}
                add_if_new(connection, people, guest)
                greet_place(connection, new.place, values["created_at"])
            return _insert(connection, new, values)

        introduce = guest not in self._greeted
        try:
            job = await self.database.write(lambda connection: unit(connection, introduce))
        except IntegrityError:  # another process has removed the person or place
            job = await self.database.write(lambda connection: unit(connection, True))
        if len(self._greeted) >= GREETED_LIMIT:
            self._greeted.clear()
        self._greeted.add(guest)
        return job

    def _check_room(self) -> None:
        """Admit nothing once a disk is nearly full: what was admitted still needs some room."""
        for folder in self.folders:
            if shutil.disk_usage(folder).free < MIN_FREE:
                raise DiskFull(self.database.where, f"less than {MIN_FREE // 2**20} MB are free")

    def _values(self, new: NewJob) -> dict[str, Any]:
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
            "created_at": self.now(),
        }


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


def _owner(connection: Connection, new: NewJob, sha256: str) -> str | None:
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


def _insert(connection: Connection, new: NewJob, values: dict[str, Any]) -> Job:
    if new.parent is not None:
        steps.find(connection, new.parent)
    job = insert_quickly(connection, jobs, values)
    if new.recipe.inputs:
        rows = [
            {"job": job, "sha256": needed, "owner": _owner(connection, new, needed)}
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
