"""History: everything that was ever asked for, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from storage.database import Database
from storage.records import Job
from storage.rows import JOB, to_jobs
from storage.tables import jobs

PAGE: Final = 20


@dataclass(frozen=True, slots=True)
class History:
    """Page through jobs."""

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
        query = select(*JOB).order_by(jobs.c.id.desc()).limit(limit)
        if person is not None:
            query = query.where(jobs.c.person == person)
        if place is not None:
            query = query.where(jobs.c.place == place)
        if before is not None:
            query = query.where(jobs.c.id < before)
        return await self.database.read(lambda c: to_jobs(c, c.execute(query)))
