"""Check that everything is there, remove orphaned files, prune old jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    delete,
    exists,
    select,
    true,
    union,
)

from storage.care import backups, checks, ownership
from storage.clock import Clock
from storage.database.database import OUTCOME, Database, apart
from storage.database.tables import favourites, inputs, jobs, outbox, pictures, seen_events
from storage.errors import OthersPictures
from storage.jobs.picture_files import Pictures
from storage.jobs.rows import to_picture
from storage.records import Pruned, Report
from storage.states import OVER

NAMING: Final[tuple[Table, ...]] = (pictures, inputs)  # whose rows name files
CHUNK: Final = 200  # rows or files that are dealt with under one write lock
PAGE: Final = 1_000  # rows that are read at once
UNUSED: Final = 3600.0  # seconds for which a file waits for the job that starts from it
# Of jobs that are over and whose reply is on its way no more.
ENDED: Final = and_(
    jobs.c.status.in_([status.value for status in OVER]),
    ~exists().where(outbox.c.job == jobs.c.id, outbox.c.closed_at.is_(None)),
)
REMEMBERED: Final = timedelta(days=30)  # how long platforms may repeat an event


@dataclass(frozen=True, slots=True)
class Care:
    """Check and prune a database and its picture files while they are in use."""

    database: Database
    pictures: Pictures
    now: Clock

    async def check(self, *, deep: bool = False) -> Report:
        """Check the database for damage, and for missing files; `deep` reads every picture."""
        problems = await self.database.read(checks.problems)
        if self.database.is_sqlite:
            problems += await self.database.write(checks.search_problems, OUTCOME)
        kept = set[str]()
        async for rows in self._pictures():
            sizes = {row.sha256: row.size for row in rows}
            found = await asyncio.to_thread(self.pictures.problems, sizes, deep)
            for row in rows:
                if problem := found.get(row.sha256):
                    problems.append(f"picture {to_picture(row).name}: {problem}")
            kept |= sizes.keys()
        used = select(inputs.c.sha256).distinct()
        names = set(await self.database.read(lambda c: c.scalars(used).all())) - kept
        for name in await asyncio.to_thread(self.pictures.missing, sorted(names)):
            problems.append(f"start image {name} is missing")
        kept |= names
        there = await asyncio.to_thread(lambda: list(self.pictures.all()))
        orphans = sum(name not in kept for name in there)
        return Report(problems=tuple(problems), files=len(kept), orphans=orphans)

    async def sweep(self, unused_for: float = UNUSED) -> int:
        """Remove picture files that no row names, with their small copies; return how many files.

        One that was written or given again within the last `unused_for` seconds is left for the job
        that is about to name it. Nothing is removed while a database that `restore` replaced still
        lies beside ours. Raises `OthersPictures` for a store that another database uses.
        """
        beside = backups.beside(self.database.url, self.pictures.folder.parent)
        if any(".before-restore-" in path.name for path in beside):
            return 0
        await self.claim(self.pictures)
        await asyncio.to_thread(self.pictures.remove_unfinished)
        old = await asyncio.to_thread(lambda: {*self.pictures.all(unused_for=unused_for)})
        # Where several machines share a store, another one may have removed the file.
        small = await asyncio.to_thread(lambda: {*self.pictures.thumbnails.all()})
        return await self.drop([*old | small], unused_for)

    async def claim(self, pictures: Pictures) -> None:
        """Mark a store of pictures as this database's; raises `OthersPictures`."""
        if pictures.is_shared:
            name = await self.database.write(lambda c: ownership.identity(c, self.now()), OUTCOME)
            if not await asyncio.to_thread(pictures.claim, name):
                raise OthersPictures(pictures.where)

    async def prune(
        self,
        older_than: timedelta,
        *,
        which: ColumnElement[bool] | None = None,
        unused_for: float = UNUSED,
    ) -> Pruned:
        """Remove jobs that have ended and are older, but no favourite and nothing undelivered.

        which: says of jobs whether they are meant (`tree.ruled_by`); all, where it is not given.
        Their files go as by `sweep`: one that was given again just now is left.
        """
        old = and_(
            true() if which is None else which,
            jobs.c.created_at < self.now() - older_than,
            ENDED,
            ~exists().where(favourites.c.job == jobs.c.id),
        )
        count, files = await self.remove_jobs(old)
        stale = delete(seen_events).where(
            seen_events.c.job.is_(None), seen_events.c.created_at < self.now() - REMEMBERED
        )
        await self.database.write(lambda c: c.execute(stale), OUTCOME)
        return Pruned(jobs=count, files=await self.drop(files, unused_for))

    async def remove_jobs(self, which: ColumnElement[bool]) -> tuple[int, list[str]]:
        """Remove jobs and all rows that refer to them; return how many, and their files' names."""

        def remove_some(after: int, connection: Connection) -> tuple[Sequence[int], Sequence[str]]:
            some = select(jobs.c.id).where(which, jobs.c.id > after)
            ids = connection.scalars(some.order_by(jobs.c.id).limit(CHUNK)).all()
            named = (select(table.c.sha256).where(table.c.job.in_(ids)) for table in NAMING)
            names = connection.scalars(union(*named)).all()
            connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
            return ids, names

        count, files = 0, set[str]()
        ids: Sequence[int] = [0]
        while ids:
            ids, names = await self.database.write(partial(remove_some, ids[-1]), OUTCOME)
            count += len(ids)
            files.update(names)
        return count, list(files)

    async def drop(
        self, files: Sequence[str], unused_for: float, *, named_by: Sequence[Table] = NAMING
    ) -> int:
        """Remove those of these files that no row names and that are not new; return how many.

        Call it once the rows that named them are gone for good. The write lock is held meanwhile,
        and `Jobs.rendered` looks for its files under the same lock, so that no file is removed
        that a row is about to name. named_by: the tables whose rows keep a file.
        """

        def drop_some(some: Sequence[str], connection: Connection) -> int:
            named = (select(table.c.sha256).where(table.c.sha256.in_(some)) for table in named_by)
            needed = set(connection.scalars(union(*named)))
            unneeded = [name for name in some if name not in needed]
            return apart(lambda: self.pictures.remove_old(unneeded, unused_for))

        removed = 0
        for start in range(0, len(files), CHUNK):
            some = partial(drop_some, files[start : start + CHUNK])
            removed += await self.database.write(some, OUTCOME, alone=True)
        return removed

    async def _pictures(self) -> AsyncIterator[list[Row[Any]]]:
        """Yield pages of one row for each file, in the order of their names."""
        last = ""
        while True:
            query = (
                select(pictures)
                .where(pictures.c.sha256 > last)
                .order_by(pictures.c.sha256, pictures.c.job, pictures.c.index)
                .limit(PAGE)
            )
            rows = await self.database.read(partial(_all, query))
            page = []
            for row in rows:
                if row.sha256 != last:
                    page.append(row)
                last = row.sha256
            yield page
            if len(rows) < PAGE:
                return


def _all(query: Select[Any], connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(query).all()
