"""Privacy: whether anything is kept of a person, and its removal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection, delete, select, update

from storage.care.care import CHUNK, ENDED, Care
from storage.database.database import OUTCOME, Database
from storage.database.tables import (
    audit,
    bans,
    favourites,
    inputs,
    jobs,
    letters,
    people,
    person_settings,
    pictures,
    seen_events,
    styles,
    web_grants,
    web_links,
    web_sessions,
)
from storage.people.personal_data import given_by
from storage.records import Forgotten
from storage.vectors.vectors import Vectors

NOBODY: Final = "forgotten"


@dataclass(frozen=True, slots=True)
class Privacy:
    """Remove all that is kept of a person."""

    database: Database
    care: Care
    vectors: Vectors

    async def knows(self, person: str) -> bool:
        """Return whether anything is kept of a person."""
        known = select(people.c.id).where(people.c.id == person)
        return await self.database.read(lambda c: c.execute(known).first() is not None)

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
        await self.vectors.prune()
        return Forgotten(known=found, jobs=count, files=removed)

    async def forget_job(self, job: int) -> bool:
        """Remove a job with its pictures, also from others' favourites; return whether it is gone.

        It stays while it waits, runs, or its reply is on its way.
        """
        count, files = await self.care.remove_jobs((jobs.c.id == job) & ENDED)
        await self.care.drop(files, unused_for=0)
        if count:
            await self.vectors.prune()
        return count > 0

    async def _remove(self, person: str) -> tuple[int, int]:
        """Remove the files somebody gave, then their jobs; return how many jobs and files."""
        removed = 0
        while given := await self.database.write(lambda c: _take_back(c, person), OUTCOME):
            # A job that names one since is refused its start image: its giver took it back.
            removed += await self.care.drop(given, unused_for=0, named_by=(pictures,))
            await self.database.write(partial(_let_go, given), OUTCOME)
        count, files = await self.care.remove_jobs(jobs.c.person == person)
        return count, removed + await self.care.drop(files, unused_for=0)


def _take_back(connection: Connection, person: str) -> Sequence[str]:
    """Remove every row that names some of what a person gave; return the names of these files."""
    names = connection.execute(given_by(person).limit(CHUNK)).scalars().all()
    _let_go(names, connection)
    return names


def _let_go(names: Sequence[str], connection: Connection) -> None:
    connection.execute(delete(inputs).where(inputs.c.sha256.in_(names)))


def _forget(connection: Connection, person: str) -> bool:
    """Remove a person's own rows, once no job is left; return whether that was so."""
    if connection.execute(select(jobs.c.id).where(jobs.c.person == person).limit(1)).first():
        return False
    signed_in = (web_links, web_sessions, web_grants)
    for table in (favourites, person_settings, letters, seen_events, *signed_in):
        connection.execute(delete(table).where(table.c.person == person))
    connection.execute(delete(people).where(people.c.id == person))
    for column in (audit.c.by, audit.c.target, bans.c.by, styles.c.made_by):
        hidden = {column.name: NOBODY}
        connection.execute(update(column.table).where(column == person).values(hidden))
    return True
