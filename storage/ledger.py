"""The ledger: what a person and a place have asked for, as of one transaction.

Whoever admits a job reads it under the lock under which the job is then inserted, so that two who
ask at once, in one process or in several, cannot both be the last that a limit allows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from engine.errors import UserError
from engine.recipe import Recipe
from storage.life import Status
from storage.people import holder
from storage.tables import jobs, places

BATCH: Final = 200  # jobs that are read at once
SPARED: Final = frozenset({Status.FAILED.value, Status.CANCELLED.value})


@dataclass(frozen=True, slots=True)
class Ledger:
    """Count what a person asked for, and what a place did."""

    connection: Connection
    person: str
    place: str

    def asked_since(self, since: datetime) -> list[tuple[datetime, Recipe]]:
        """Return when the person asked for what since a time, but for what failed or was cancelled.

        Newest first; only as much of the history is read as is that young.
        """
        found: list[tuple[datetime, Recipe]] = []
        query = (
            select(jobs.c.id, jobs.c.created_at, jobs.c.status, jobs.c.recipe)
            .where(jobs.c.person == self.person)
            .order_by(jobs.c.id.desc())
            .limit(BATCH)
        )
        rows = self.connection.execute(query).all()
        while rows:
            for row in rows:
                if row.created_at < since:
                    return found
                if row.status not in SPARED:
                    with suppress(UserError):  # written by a newer Marble
                        found.append((row.created_at, Recipe.from_dict(row.recipe)))
            rows = self.connection.execute(query.where(jobs.c.id < rows[-1].id)).all()
        return found

    def within(self, setting: str) -> str:
        """Return for which place a setting holds here: the innermost that has it, or the whole
        server or chat where it holds everywhere.
        """
        return holder(self.connection, self.place, setting)

    def waiting(self, within: str, *, mine: bool) -> int:
        """Return how many jobs wait in a place and all that lies in it; `mine`: the person's."""
        below = select(places.c.id).where(places.c.id == within).cte("below", recursive=True)
        below = below.union(select(places.c.id).where(places.c.parent == below.c.id))
        query = select(func.count()).where(
            jobs.c.status == Status.QUEUED.value, jobs.c.place.in_(select(below.c.id))
        )
        if mine:
            query = query.where(jobs.c.person == self.person)
        return self.connection.scalar(query) or 0


Allow = Callable[[Ledger], None]  # raises `UserError` for what would be too much


def everything_passes(ledger: Ledger) -> None:
    """Raise nothing."""
