"""The inbox: updates of a platform that are not handled yet.

A platform that forgets what it has handed over (Telegram, once it is asked for what comes next)
is told so only after `add` has committed. A letter stays until `done`, so that whatever a process
had not finished when it died is found again; whoever makes a job of a letter gives the job the
letter's id as its event, and so makes it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, select

from storage.clock import Clock
from storage.database.database import OUTCOME, Database
from storage.database.tables import letters, seen_events
from storage.jobs.rows import add_if_new
from storage.records import InboxEntry


@dataclass(frozen=True, slots=True)
class Inbox:
    """Keep updates until they are handled."""

    database: Database
    now: Clock

    async def add(self, arrived: Sequence[InboxEntry]) -> tuple[InboxEntry, ...]:
        """Commit updates and return those that are new.

        Raises a passing `DatabaseFault` when the database cannot take them; nothing was then
        written.
        """
        now = self.now()

        def unit(connection: Connection) -> tuple[InboxEntry, ...]:
            new = tuple(
                letter
                for letter in arrived
                if add_if_new(connection, seen_events, {"id": letter.id, "created_at": now})
            )
            if new:
                rows = [{**asdict(letter), "created_at": now} for letter in new]
                connection.execute(insert(letters), rows)
            return new

        return await self.database.write(unit)

    async def waiting(self, adapter: str) -> tuple[InboxEntry, ...]:
        """Return a platform's updates that are not handled, in the order of their arrival."""
        query = select(letters.c.id, letters.c.adapter, letters.c.person, letters.c.body)
        query = query.where(letters.c.adapter == adapter).order_by(letters.c.created_at)
        rows = await self.database.read(lambda c: c.execute(query).all())
        return tuple(InboxEntry(**row._mapping) for row in rows)

    async def done(self, letter: str) -> None:
        """Remove a handled update; its id is kept, so that it is not added again."""
        query = delete(letters).where(letters.c.id == letter)
        await self.database.write(lambda c: c.execute(query), OUTCOME)
