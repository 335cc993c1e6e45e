"""Quotas: what a person and a place have asked for, as of one transaction.

Whoever admits a job reads it under the lock under which the job is then inserted, so that two who
ask at once, in one process or in several, cannot both be the last that a limit allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, func, select

from engine.errors import UserError
from engine.queue.estimates import pixel_steps
from engine.recipe.recipe import Recipe
from storage.database.tables import jobs
from storage.jobs.place_tree import ruled_by
from storage.states import Status

SPARED: Final = (Status.FAILED.value, Status.CANCELLED.value)


@dataclass(frozen=True, slots=True)
class Quota:
    """Count what a person asked for, and what a place did."""

    connection: Connection
    person: str

    def spent(self, since: datetime, rule: str, counted_in: str) -> int:
        """Return the pixels × steps that the person asked for after a time.

        Of what was asked for where a `rule` of `counted_in` applies; what failed or was cancelled
        costs nothing.
        """
        paid = self._paid(since, rule, counted_in)
        query = select(func.coalesce(func.sum(jobs.c.cost), 0)).where(paid)
        return int(self.connection.execute(query).scalar_one())

    def costs(self, since: datetime, rule: str, counted_in: str) -> list[tuple[datetime, int]]:
        """Return when each of them was asked for, and its pixels × steps; the oldest first."""
        query = select(jobs.c.created_at, jobs.c.cost).where(self._paid(since, rule, counted_in))
        rows = self.connection.execute(query.order_by(jobs.c.created_at))
        return [(row.created_at, row.cost) for row in rows]

    def _paid(self, since: datetime, rule: str, counted_in: str) -> ColumnElement[bool]:
        return and_(
            jobs.c.person == self.person,
            jobs.c.created_at > since,
            jobs.c.status.not_in(SPARED),
            jobs.c.cost.is_not(None),
            ruled_by(rule, counted_in),
        )

    def waiting(self, rule: str, counted_in: str, *, mine: bool) -> int:
        """Return how many jobs wait where a rule of one place applies; `mine`: the person's."""
        query = select(func.count()).where(
            jobs.c.status == Status.QUEUED.value, ruled_by(rule, counted_in)
        )
        if mine:
            query = query.where(jobs.c.person == self.person)
        return self.connection.scalar(query) or 0


def cost_of(recipe: Mapping[str, Any]) -> int | None:
    """Return a stored recipe's cost in pixels × steps; None for one of a newer Marble."""
    try:
        return pixel_steps(Recipe.from_dict(recipe))
    except UserError:
        return None


Allow = Callable[[Quota], None]  # raises `UserError` for what would be too much


def everything_passes(quota: Quota) -> None:
    """Raise nothing."""
