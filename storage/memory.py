"""Everything that storage does, opened and closed together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from storage import urls
from storage.clock import Clock, utc_now
from storage.database import Database
from storage.history import History
from storage.jobs import Jobs
from storage.outbox import Outbox
from storage.pictures import Pictures
from storage.records import Job
from storage.workers import Worker


@dataclass(frozen=True, slots=True)
class Storage:
    """Hold the parts of memory; see `storage` for how they are used."""

    database: Database
    pictures: Pictures
    worker: Worker
    jobs: Jobs
    outbox: Outbox
    history: History

    @classmethod
    @asynccontextmanager
    async def open(
        cls, folder: Path, url: str | None = None, *, now: Clock = utc_now
    ) -> AsyncIterator[Storage]:
        """Open the data folder and its database, upgraded to this version's schema.

        `url` is `MARBLE_DATABASE_URL`; without it the database is a file in `folder`. Raises
        `BadURL` or a `DatabaseFault`: one sentence that names the place and the cure.
        """
        database = await Database.open(urls.resolve(folder, url))
        worker = Worker(database, now)
        pictures = Pictures(folder / "pictures")
        try:
            yield cls(
                database=database,
                pictures=pictures,
                worker=worker,
                jobs=Jobs(database, pictures, worker, now),
                outbox=Outbox(database, now),
                history=History(database),
            )
        finally:
            await worker.close()
            await database.close()

    async def requeue_lost(self) -> tuple[Job, ...]:
        """Queue again, or quarantine, what dead processes were running; see `Worker`."""
        return await self.worker.requeue_lost()
