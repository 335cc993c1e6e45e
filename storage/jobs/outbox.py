"""The outbox: replies that wait, written with the outcome they tell of."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Integer, bindparam, func, or_, select, update

from storage.clock import Clock
from storage.database.database import OUTCOME, Database
from storage.database.tables import outbox
from storage.jobs.rows import jobs_by_id
from storage.records import PendingReply
from storage.states import Status

PENDING: Final = ("job", "adapter", "outcome", "way", "tries", "sending", "due_at")
LONGEST: Final = timedelta(minutes=5)  # a reply waits no longer than this between two tries

# In no other worker's hands. What is in this process's own is known to `Delivery`.
_FREE: Final = or_(outbox.c.sender.is_(None), outbox.c.sender == bindparam("me"))
# Built once, as in `storage.jobs.rows`.
_DUE: Final = (
    select(*(outbox.c[name] for name in PENDING))
    .where(
        outbox.c.closed_at.is_(None),
        _FREE,
        outbox.c.adapter.in_(bindparam("adapters", expanding=True)),
        outbox.c.job.not_in(bindparam("apart", expanding=True)),
        # Due later than anything is ever put off: the clock was set back meanwhile.
        or_(outbox.c.due_at <= bindparam("now"), outbox.c.due_at > bindparam("latest")),
    )
    .order_by(outbox.c.due_at, outbox.c.job)
    .limit(bindparam("limit", type_=Integer))
)
CLAIM: Final = (
    update(outbox)
    .where(
        outbox.c.job == bindparam("number"),
        outbox.c.way == bindparam("by"),
        outbox.c.closed_at.is_(None),
        _FREE,
    )
    .values(sender=bindparam("me"), sending=True)
)


@dataclass(frozen=True, slots=True)
class Outbox:
    """List the replies that are due, and record how their sending went.

    `arrived` is set whenever this process puts a reply in; others' replies are found by looking.
    """

    database: Database
    worker: str  # the name of this process's
    arrived: asyncio.Event
    now: Clock

    async def list_due(
        self, adapters: Sequence[str], limit: int = 100, apart: Collection[int] = ()
    ) -> tuple[PendingReply, ...]:
        """Return what waits for these adapters, is due and in no other's hands, oldest first.

        apart: jobs whose replies this process has in hand.
        """
        now = self.now()
        which = {
            "me": self.worker,
            "adapters": [*adapters],
            "apart": [*apart],
            "now": now,
            "latest": now + LONGEST,
            "limit": limit,
        }
        return await self.database.read(lambda c: _pending_replies(c, which))

    async def postpone(
        self, job: int, seconds: float, error: str, *, failed: bool = True, unknown: bool = False
    ) -> None:
        """Try again later; `failed` counts as a try, `unknown` means that it may have arrived."""
        wait = min(timedelta(seconds=seconds), LONGEST)
        tries = outbox.c.tries + 1 if failed else outbox.c.tries
        await self._update(job, due_at=self.now() + wait, error=error, tries=tries, sending=unknown)

    async def hasten(self, jobs: Collection[int]) -> None:
        """Make replies due now that wait for their next try."""
        waits = outbox.c.job.in_(jobs), outbox.c.closed_at.is_(None), outbox.c.sender.is_(None)
        query = update(outbox).where(*waits).values(due_at=self.now())
        await self.database.write(lambda c: c.execute(query), OUTCOME)

    async def next_way(self, job: int, error: str) -> None:
        """Try the adapter's next way at once."""
        way = outbox.c.way + 1
        await self._update(job, due_at=self.now(), error=error, way=way, tries=0, sending=False)

    async def abandon(self, job: int, error: str) -> None:
        """Close a reply that cannot be delivered by any way; its job stays as it is."""
        await self._update(job, closed_at=self.now(), error=error, sending=False)

    async def backlog(self) -> dict[str, int]:
        """Return for each adapter that has any how many replies wait."""
        query = (
            select(outbox.c.adapter, func.count())
            .where(outbox.c.closed_at.is_(None))
            .group_by(outbox.c.adapter)
            .order_by(outbox.c.adapter)
        )
        rows = await self.database.read(lambda c: c.execute(query).all())
        return {adapter: count for adapter, count in rows}

    async def _update(self, job: int, **values: Any) -> None:
        query = (
            update(outbox)
            .where(outbox.c.job == job, outbox.c.closed_at.is_(None))
            .values(sender=None, **values)
        )
        await self.database.write(lambda c: c.execute(query), OUTCOME)


def _pending_replies(connection: Connection, which: Mapping[str, Any]) -> tuple[PendingReply, ...]:
    rows = connection.execute(_DUE, which).all()
    jobs = jobs_by_id(connection, [row.job for row in rows])
    return tuple(
        PendingReply(**{**row._mapping, "job": jobs[row.job], "outcome": Status(row.outcome)})
        for row in rows
        if row.job in jobs
    )
