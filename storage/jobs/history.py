"""History: everything that was ever asked for, newest first, and what came of what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, cast, column, func, literal, select, table
from sqlalchemy.dialects.postgresql import TSQUERY

from storage.database.database import Database
from storage.database.tables import favourites, jobs, people, pictures
from storage.jobs import words
from storage.jobs.place_tree import within
from storage.jobs.rows import JOB, find, to_jobs, with_pictures
from storage.records import Job, Lineage, Stats
from storage.states import Status

PAGE: Final = 20
LONGEST: Final = 1_000  # generations, and descendants
_search: Final = table("search", column("rowid"), column("search"))


@dataclass(frozen=True, slots=True)
class History:
    """Page through jobs, search their prompts, follow their lineage, count them."""

    database: Database

    async def page(
        self,
        *,
        person: str | None = None,
        place: str | None = None,
        before: int | None = None,
        limit: int = PAGE,
    ) -> tuple[Job, ...]:
        """Return jobs with their pictures, newest first; go on with `before` the last one's id."""
        query = _scoped(select(*JOB), person, place, before).limit(limit)
        return await self.database.read(lambda c: to_jobs(c, c.execute(query)))

    async def search(
        self,
        query: str,
        *,
        person: str | None = None,
        place: str | None = None,
        before: int | None = None,
        limit: int = PAGE,
    ) -> tuple[Job, ...]:
        """Return jobs whose prompt has every word of a query, newest first.

        Words are whole words in any language, or any part of a text in a script without spaces;
        "quotes" ask for words in a row, a trailing * for the beginning of a word.
        """
        wanted = words.terms(query)
        if not wanted:
            return ()
        # A person's and a place's jobs are found through the index as well.
        scope = [*([words.by(person)] if person else []), *([words.at(place)] if place else [])]

        def unit(connection: Connection) -> tuple[Job, ...]:
            match = _postgres if connection.dialect.name == "postgresql" else _sqlite
            found = _scoped(match(wanted, scope, before, limit), person, place, before)
            return to_jobs(connection, connection.execute(found.limit(limit)))

        return await self.database.read(unit)

    async def lineage(self, job: int, limit: int = LONGEST) -> Lineage:
        """Return what a job was made from, the eldest first, and all that was made from it.

        limit: of both; its nearest ancestors and its first descendants are returned. Raises
        `UnknownJob`. A parent that was forgotten ends the line.
        """

        def unit(connection: Connection) -> Lineage:
            return Lineage(
                ancestors=to_jobs(connection, connection.execute(_elders(job, limit))),
                job=with_pictures(connection, find(connection, job)),
                descendants=to_jobs(connection, connection.execute(_descendants(job, limit))),
            )

        return await self.database.read(unit)

    async def stats(self, *, person: str | None = None, place: str | None = None) -> Stats:
        """Count jobs by status, pictures and their bytes, people and favourites.

        Those of a person, or of a place and all that lies in it.
        """
        of = [*([jobs.c.person == person] if person else []), *([within(place)] if place else [])]

        def unit(connection: Connection) -> Stats:
            by_status = select(jobs.c.status, func.count()).where(*of).group_by(jobs.c.status)
            counted = connection.execute(by_status)
            drawn = select(func.count(), func.coalesce(func.sum(pictures.c.size), 0))
            if of:
                drawn = drawn.join(jobs, jobs.c.id == pictures.c.job).where(*of)
            count, size = connection.execute(drawn.select_from(pictures)).one()
            kept = select(func.count()).select_from(favourites)
            if place:
                kept = kept.join(jobs, jobs.c.id == favourites.c.job).where(within(place))
            if person:
                kept = kept.where(favourites.c.person == person)
            askers = select(func.count()).select_from(people)
            if of:
                askers = select(func.count(jobs.c.person.distinct())).where(*of)
            return Stats(
                jobs={Status(status): number for status, number in counted},
                pictures=count,
                bytes=int(size),
                people=connection.scalar(askers) or 0,
                favourites=connection.scalar(kept) or 0,
            )

        return await self.database.read(unit)


def _scoped(
    query: Select[Any], person: str | None, place: str | None, before: int | None
) -> Select[Any]:
    if person is not None:
        query = query.where(jobs.c.person == person)
    if place is not None:
        query = query.where(jobs.c.place == place)
    if before is not None:
        query = query.where(jobs.c.id < before)
    return query.order_by(jobs.c.id.desc())


def _sqlite(
    wanted: tuple[words.Term, ...], scope: list[str], before: int | None, limit: int
) -> Select[Any]:
    """Let FTS5 walk its index from the newest job, and stop when the page is full."""
    match = words.fts5(wanted, scope)
    rows = select(_search.c.rowid).where(_search.c.search.op("MATCH")(match))
    if before is not None:
        rows = rows.where(_search.c.rowid < before)
    rows = rows.order_by(_search.c.rowid.desc()).limit(limit)
    return select(*JOB).where(jobs.c.id.in_(rows))


def _postgres(
    wanted: tuple[words.Term, ...], scope: list[str], before: int | None, limit: int
) -> Select[Any]:
    query = cast(literal(words.tsquery(wanted, scope)), TSQUERY)
    return select(*JOB).where(jobs.c.words.op("@@")(query))


def _elders(job: int, limit: int) -> Select[Any]:
    line = (
        select(jobs.c.id, jobs.c.parent, literal(0).label("depth"))
        .where(jobs.c.id == job)
        .cte("line", recursive=True)
    )
    up = select(jobs.c.id, jobs.c.parent, line.c.depth + 1).where(
        jobs.c.id == line.c.parent, line.c.depth < limit
    )
    line = line.union_all(up)
    return (
        select(*JOB)
        .join(line, line.c.id == jobs.c.id)
        .where(line.c.depth > 0)
        .order_by(line.c.depth.desc())
    )


def _descendants(job: int, limit: int) -> Select[Any]:
    line = select(jobs.c.id).where(jobs.c.parent == job).cte("line", recursive=True)
    line = line.union(select(jobs.c.id).where(jobs.c.parent == line.c.id))
    return select(*JOB).join(line, line.c.id == jobs.c.id).order_by(jobs.c.id).limit(limit)
