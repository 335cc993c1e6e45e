"""Privacy: hand people everything that is kept of them, or forget it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, exists, select, update

from engine.blobs import blob_path
from engine.recipe import Recipe
from storage.care import CHUNK, Care
from storage.clock import Clock
from storage.database import OUTCOME, Database
from storage.errors import FileThere
from storage.faults import explain
from storage.history import History
from storage.pictures import Pictures
from storage.records import Exported, Forgotten, Job, Picture
from storage.tables import (
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
)

NOBODY: Final = "forgotten"
PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Privacy:
    """Export or forget a person."""

    database: Database
    care: Care
    history: History
    pictures: Pictures
    now: Clock

    async def knows(self, person: str) -> bool:
        """Say whether anything is kept of somebody."""
        known = select(people.c.id).where(people.c.id == person)
        return await self.database.read(lambda c: c.execute(known).first() is not None)

    async def export(
        self, person: str, target: Path, *, may: Callable[[Picture], bool] = lambda picture: True
    ) -> Exported:
        """Write a zip of somebody's rows (`person.json`) and pictures.

        may: whether a picture that was drawn goes in; those that do not are named in
        `person.json`. Raises `FileThere` or a `DatabaseFault`.
        """
        about = await self.database.read(lambda c: _about(c, person))
        asked: list[Job] = []
        while page := await self.history.page(
            person=person, before=asked[-1].id if asked else None, limit=PAGE
        ):
            asked += page
        about["jobs"] = [_plain(job) for job in asked]
        every = [picture for job in asked for picture in job.pictures]
        drawn = [picture for picture in every if may(picture)]
        about["left_out"] = [picture.name for picture in every if not may(picture)]
        given = await self.database.read(lambda c: c.execute(_given(person)).scalars().all())
        count = await asyncio.to_thread(self._write, target, about, drawn, given)
        return Exported(pictures=count, left_out=len(about["left_out"]))

    async def forget(self, person: str) -> Forgotten:
        """Remove somebody's jobs, whatever their status, with replies, pictures and settings.

        What they gave goes as well: whoever reran their jobs gets `MissingPicture` from now on.
        Bans stay; so do what moderators did and the styles that they made, without the name.
        Backups made before keep what they hold until they are deleted.
        """
        found = await self.knows(person)
        count, removed = await self._remove(person)
        while not await self.database.write(lambda c: _forget(c, person), OUTCOME):
            more, files = await self._remove(person)  # asked meanwhile
            count, removed = count + more, removed + files
        await self.database.tidy()
        return Forgotten(known=found, jobs=count, files=removed)

    async def _remove(self, person: str) -> tuple[int, int]:
        """Remove what somebody gave, then their jobs; return how many jobs and files."""
        removed = 0
        while given := await self.database.write(lambda c: _take_back(c, person), OUTCOME):
            # A job that names one since is refused its start image: its giver took it back.
            removed += await self.care.drop(given, unused_for=0, named_by=(pictures,))
            await self.database.write(partial(_let_go, given), OUTCOME)
        count, files = await self.care.remove_jobs(jobs.c.person == person)
        return count, removed + await self.care.drop(files, unused_for=0)

    def _write(
        self, target: Path, about: dict[str, Any], drawn: Iterable[Picture], given: Iterable[str]
    ) -> int:
        if target.exists():
            raise FileThere(target)
        part, count = target.with_name(f"{target.name}.part"), 0
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("person.json", json.dumps(about, ensure_ascii=False, indent=1))
                for picture in drawn:
                    path = self.pictures.path(picture)
                    if path.exists():  # `marble db check` tells of those that are missing
                        archive.write(path, f"pictures/{picture.name}.png", zipfile.ZIP_STORED)
                        count += 1
                for name in given:
                    path = blob_path(self.pictures.folder, name)
                    if path.exists():
                        archive.write(path, f"given/{name}.png", zipfile.ZIP_STORED)
            part.replace(target)
        except OSError as error:
            raise explain(error, str(target)) or error from error
        finally:
            part.unlink(missing_ok=True)
        return count


def _given(person: str) -> Select[str]:
    """Name the pictures that a person gave.

    Whoever reruns their jobs starts from them too, and owns them no more for it; they stay theirs
    when their own job is long gone.
    """
    drawn = exists().where(pictures.c.sha256 == inputs.c.sha256)  # it came out the same since
    return select(inputs.c.sha256).where(inputs.c.owner == person, ~drawn).distinct()


def _take_back(connection: Connection, person: str) -> Sequence[str]:
    """Remove every row that names some of what a person gave; return the names of these files."""
    names = connection.execute(_given(person).limit(CHUNK)).scalars().all()
    _let_go(names, connection)
    return names


def _let_go(names: Sequence[str], connection: Connection) -> None:
    connection.execute(delete(inputs).where(inputs.c.sha256.in_(names)))


def _about(connection: Connection, person: str) -> dict[str, Any]:
    """Return what is kept of a person besides jobs."""
    about: dict[str, Any] = {"person": person}
    shown = select(messages).join(jobs, jobs.c.id == messages.c.job).where(jobs.c.person == person)
    queries = {
        "known": select(people).where(people.c.id == person),
        "settings": select(person_settings).where(person_settings.c.person == person),
        "favourites": select(favourites).where(favourites.c.person == person),
        "bans": select(bans).where(bans.c.person == person),
        "acts": select(audit).where((audit.c.by == person) | (audit.c.target == person)),
        "styles": select(styles).where(styles.c.made_by == person),
        "letters": select(letters).where(letters.c.person == person),
        "events": select(seen_events).where(seen_events.c.person == person),
        "messages": shown,
    }
    for name, query in queries.items():
        about[name] = [
            {key: _plain(value) for key, value in row._mapping.items()}
            for row in connection.execute(query)
        ]
    return about


def _forget(connection: Connection, person: str) -> bool:
    """Remove a person's own rows, once no job is left; return whether that was so."""
    if connection.execute(select(jobs.c.id).where(jobs.c.person == person).limit(1)).first():
        return False
    for table in (favourites, person_settings, letters, seen_events):
        connection.execute(delete(table).where(table.c.person == person))
    connection.execute(delete(people).where(people.c.id == person))
    for column in (audit.c.by, audit.c.target, bans.c.by, styles.c.made_by):
        hidden = {column.name: NOBODY}
        connection.execute(update(column.table).where(column == person).values(hidden))
    return True


def _plain(value: Any) -> Any:
    """Turn records and times into what JSON can hold."""
    if isinstance(value, Recipe):
        return value.to_dict()
    if isinstance(value, datetime):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
