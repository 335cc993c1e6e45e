"""The outbox: replies that wait, written with the outcome they tell of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from storage.clock import Clock
from storage.database import Database
from storage.life import Status
from storage.records import Parcel
from storage.rows import to_jobs
from storage.steps import find
from storage.tables import outbox


@dataclass(frozen=True, slots=True)
class Outbox:
    """List the replies that are due."""

    database: Database
    now: Clock

    async def list_due(self, adapters: Sequence[str], limit: int = 100) -> tuple[Parcel, ...]:
        """Return what waits for these adapters and is due, the longest wait first."""
        query = (
            select(outbox)
            .where(
                outbox.c.closed_at.is_(None),
                outbox.c.adapter.in_(adapters),
                outbox.c.due_at <= self.now(),
            )
            .order_by(outbox.c.due_at, outbox.c.job)
            .limit(limit)
        )

        def unit(connection: Connection) -> tuple[Parcel, ...]:
            rows = connection.execute(query).all()
            jobs = {
                job.id: job
                for job in to_jobs(connection, [find(connection, row.job) for row in rows])
            }
            return tuple(
                Parcel(
                    job=jobs[row.job],
                    adapter=row.adapter,
                    outcome=Status(row.outcome),
                    way=row.way,
                    tries=row.tries,
                    sending=row.sending,
                    due_at=row.due_at,
                )
                for row in rows
                if row.job in jobs
            )

        return await self.database.read(unit)
