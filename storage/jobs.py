"""Jobs: durable from the moment they are added until their reply has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from engine.events import Picture as Drawn
from storage import steps
from storage.clock import Clock
from storage.database import OUTCOME, Database
from storage.errors import UnknownJob
from storage.life import Status, Step
from storage.people import arrive
from storage.pictures import Pictures
from storage.records import Job, NewJob
from storage.rows import JOB, pictures_of, to_job, to_jobs
from storage.tables import jobs, messages, seen_events
from storage.words import index
from storage.workers import Worker

PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Jobs:
    """Add, list, claim and finish jobs; every change is one step of `storage.life`."""

    database: Database
    files: Pictures
    worker: Worker
    now: Clock

    async def add(self, new: NewJob, *, claim: bool = False) -> Job:
        """Commit a job and return it, queued: only now may anybody be told so.

        With `claim` it is born running in this process, so that no other can take it. Raises a
        passing `DatabaseFault` within `database.ADMISSION` seconds when the database cannot
        take it; nothing was then written.
        """
        worker = await self.worker.register() if claim else None

        def unit(connection: Connection) -> Row[Any]:
            row = self._add(connection, new)
            if worker is None or row.status != Status.QUEUED.value:
                return row
            return self._claim(connection, row.id, worker) or row

        return to_job(await self.database.write(unit))

    async def get(self, job: int) -> Job:
        """Return a job with its pictures; raises `UnknownJob` or `UnreadableRecipe`."""
        return await self.database.read(lambda connection: _whole(connection, job))

    async def list_queued(self, after: int = 0, limit: int = PAGE) -> tuple[Job, ...]:
        """Return what waits for a worker and has a number above `after`, oldest first."""
        query = (
            select(*JOB)
            .where(jobs.c.status == Status.QUEUED.value, jobs.c.id > after)
            .order_by(jobs.c.id)
            .limit(limit)
        )
        return await self.database.read(lambda c: to_jobs(c, c.execute(query)))

    async def claim(self, job: int) -> Job | None:
        """Take a queued job for this process, or return None where somebody was faster."""
        worker = await self.worker.register()
        row = await self.database.write(lambda c: self._claim(c, job, worker))
        return None if row is None else to_job(row)

    async def release(self, job: int, epoch: int) -> Job:
        """Give a running job back in good order: it is queued again, and no attempt is burnt."""
        values = {"attempts": jobs.c.attempts - 1, "worker": None, "started_at": None}
        return await self._step(job, Step.RELEASE, epoch=epoch, values=values)

    async def rendered(self, job: int, epoch: int, drawn: Iterable[Drawn]) -> Job:
        """Keep a job's pictures and put its reply into the outbox.

        The files are safely on disk before the rows say that they exist.
        """
        rows = [
            {"index": each.index, "width": each.width, "height": each.height, **file}
            for each in drawn
            for file in [await asyncio.to_thread(self.files.add, each.png)]
        ]

        def unit(connection: Connection) -> Job:
            row, changed = steps.take(connection, job, Step.RENDERED, self.now(), epoch=epoch)
            if changed:
                steps.keep(connection, row, rows)
            return to_job(row, pictures_of(connection, [job]).get(job, ()))

        return await self.database.write(unit, OUTCOME)

    async def failed(self, job: int, epoch: int, error: str) -> Job:
        """End a job that cannot be drawn, and put one sentence why into the outbox."""
        return await self._step(job, Step.FAILED, epoch=epoch, values={"error": error})

    async def cancel(self, job: int) -> Job:
        """End a job that waits or runs; its worker's results are refused from now on.

        Raises `TooLate` once it is rendered or failed; cancelling twice is no error.
        """
        return await self._step(job, Step.CANCEL)

    async def delivered(self, job: int, shown: Mapping[str, int | None] | None = None) -> Job:
        """Record that the reply arrived, and the messages that show it (id → picture or None)."""

        def unit(connection: Connection) -> Job:
            now = self.now()
            row, _ = steps.take(connection, job, Step.DELIVERED, now)
            steps.close(connection, job, now, delivered=True)
            steps.show(connection, job, (shown or {}).items(), now)
            return to_job(row, pictures_of(connection, [job]).get(job, ()))

        return await self.database.write(unit, OUTCOME)

    async def acknowledged(self, job: int, message: str) -> Job:
        """Record the placeholder message that tells somebody about the job."""

        def unit(connection: Connection) -> Job:
            query = update(jobs).where(jobs.c.id == job).values(message=message).returning(*JOB)
            row = connection.execute(query).one_or_none()
            if row is None:
                raise UnknownJob(job)
            steps.show(connection, job, [(message, None)], self.now())
            return to_job(row)

        return await self.database.write(unit, OUTCOME)

    async def by_message(self, message: str) -> tuple[Job, int | None] | None:
        """Return the job that a message shows, and which picture if only one; None if none.

        The message is known by the id given to `acknowledged` or `delivered`.
        """

        def unit(connection: Connection) -> tuple[Job, int | None] | None:
            query = select(messages).where(messages.c.id == message)
            row = connection.execute(query).one_or_none()
            return row and (_whole(connection, row.job), row.picture)

        return await self.database.read(unit)

    async def _step(
        self,
        job: int,
        step: Step,
        *,
        epoch: int | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Job:
        def unit(connection: Connection) -> Job:
            row, _ = steps.take(connection, job, step, self.now(), epoch=epoch, values=values)
            return to_job(row)

        return await self.database.write(unit, OUTCOME)

    def _claim(self, connection: Connection, job: int, worker: str) -> Row[Any] | None:
        query = (
            update(jobs)
            .where(jobs.c.id == job, jobs.c.status == Status.QUEUED.value)
            .values(
                status=Status.RUNNING.value,
                epoch=jobs.c.epoch + 1,
                attempts=jobs.c.attempts + 1,
                worker=worker,
                started_at=self.now(),
            )
            .returning(*JOB)
        )
        return connection.execute(query).one_or_none()

    def _add(self, connection: Connection, new: NewJob) -> Row[Any]:
        now = self.now()
        if new.event:
            query = select(seen_events.c.job).where(seen_events.c.id == new.event)
            known = connection.execute(query).scalar_one_or_none()
            if known is not None:
                return steps.find(connection, known)
        arrive(connection, new.person, new.place, now)
        values = {
            "recipe": new.recipe.to_dict(),
            "status": Status.QUEUED.value,
            "person": new.person,
            "place": new.place,
            "reply": dict(new.reply),
            "parent": new.parent,
            "parent_picture": new.parent_picture,
            "epoch": 0,
            "attempts": 0,
            "words": index(new.recipe.prompt, person=new.person, place=new.place),
            "created_at": now,
        }
        row = connection.execute(insert(jobs).returning(*JOB), values).one()
        if new.event:
            event = {"id": new.event, "job": row.id, "created_at": now}
            connection.execute(insert(seen_events), event)
        return row


def _whole(connection: Connection, job: int) -> Job:
    row = steps.find(connection, job)
    return to_job(row, pictures_of(connection, [job]).get(job, ()))
