"""Jobs: durable from the moment they are added until their reply is delivered."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from engine.errors import MissingPicture
from engine.events import Picture as Drawn
from engine.files.private import MIN_FREE
from storage.clock import Clock
from storage.database import audit
from storage.database.database import OUTCOME, Database, apart
from storage.database.tables import jobs, messages, pictures
from storage.errors import DatabaseFault, DiskFull, NotWaiting, PicturesFault, UnknownJob
from storage.jobs import transitions as steps
from storage.jobs.intake import find_by_event, insert_job, row_of
from storage.jobs.picture_files import Pictures
from storage.jobs.quota import Allow, Quota, everything_passes
from storage.jobs.rows import JOB, find, jobs_by_id, to_job, to_jobs, with_pictures
from storage.jobs.workers import note, take_back
from storage.records import Job, NewJob
from storage.states import Status, Step

PAGE: Final = 50
GREETED_LIMIT: Final = 10_000
RETRY: Final = 0.5  # seconds between tries to write a file
_DRAWN: Final = insert(pictures)


@dataclass(frozen=True, slots=True)
class Jobs:
    """Add, list and finish jobs; every change is one step of `storage.states`."""

    database: Database
    files: Pictures
    folders: tuple[Path, ...]  # whose disks must have room for what a new job leads to
    arrived: asyncio.Event  # set when a reply goes into the outbox
    now: Clock
    # People and places known to be in the database: saves two of a new job's three statements.
    _greeted: set[tuple[str, str]] = field(default_factory=set)

    async def add(self, new: NewJob, *, allow: Allow = everything_passes) -> Job:
        """Commit a job and return it, queued: only now may anybody be told so.

        allow: called with the person's quota inside the transaction, so that jobs asked for at the
        same time, in any process, are counted; raises to refuse the job. Raises a passing
        `DatabaseFault` within `database.ADMISSION` seconds when the database cannot take it;
        nothing was then written.
        """
        [job] = await self.add_all([(new, allow)])
        return job

    async def add_all(self, asked: Sequence[tuple[NewJob, Allow]]) -> list[Job]:
        """Commit jobs of one person in one place as `add` does, in one transaction: all or none.

        Each `allow` counts those before it.
        """
        await asyncio.to_thread(self._check_room)
        rows = [(new, allow, row_of(new, self.now())) for new, allow in asked]
        needs = [needed for new, _ in asked for needed in new.recipe.inputs]
        if needs:  # a store that is away is found out before the lock is held
            await asyncio.to_thread(self.files.missing, needs)
        guest = (asked[0][0].person, asked[0][0].place)

        def one(
            connection: Connection, new: NewJob, allow: Allow, values: dict[str, Any], greet: bool
        ) -> Job:
            if new.event and (known := find_by_event(connection, new.event)):
                return known
            # Files are removed under the same lock: what is here now will stay.
            for needed in apart(lambda: self.files.missing(new.recipe.inputs)):
                raise MissingPicture(needed)
            allow(Quota(connection, new.person))
            return insert_job(connection, new, values, introduce=greet)

        def unit(connection: Connection, greet: bool) -> list[Job]:
            return [one(connection, *row, greet) for row in rows]

        introduce = guest not in self._greeted
        try:
            jobs = await self.database.write(lambda connection: unit(connection, introduce))
        except IntegrityError:  # another process has removed the person or place
            jobs = await self.database.write(lambda connection: unit(connection, True))
        if len(self._greeted) >= GREETED_LIMIT:
            self._greeted.clear()
        self._greeted.add(guest)
        return jobs

    async def may(self, person: str, allow: Allow) -> None:
        """Raise what `allow` would, as things stand now."""
        await self.database.read(lambda c: allow(Quota(c, person)))

    async def get(self, job: int) -> Job:
        """Return a job with its pictures; raises `UnknownJob` or `UnreadableRecipe`."""
        return await self.database.read(lambda c: with_pictures(c, find(c, job)))

    async def several(self, numbers: Collection[int]) -> dict[int, Job]:
        """Return those of some jobs that are there and can be read, with pictures, by number."""
        return await self.database.read(lambda c: jobs_by_id(c, numbers))

    async def list_queued(self, after: int = 0, limit: int = PAGE) -> tuple[Job, ...]:
        """Return what waits for a worker and has a number above `after`, oldest first."""
        query = (
            select(*JOB)
            .where(jobs.c.status == Status.QUEUED.value, jobs.c.id > after)
            .order_by(jobs.c.id)
            .limit(limit)
        )
        return await self.database.read(lambda c: to_jobs(c, c.execute(query)))

    async def waiting_among(self, numbers: Collection[int]) -> tuple[Job, ...]:
        """Return those of some jobs that wait for a worker."""
        query = select(*JOB).where(jobs.c.id.in_(numbers), jobs.c.status == Status.QUEUED.value)
        return await self.database.read(lambda c: to_jobs(c, c.execute(query)))

    async def list_running(self, limit: int | None = None) -> tuple[Job, ...]:
        """Return what any process runs, in the order in which it was started."""
        query = (
            select(*JOB)
            .where(jobs.c.status == Status.RUNNING.value)
            .order_by(jobs.c.started_at, jobs.c.id)
            .limit(limit)
        )
        return await self.database.read(lambda c: to_jobs(c, c.execute(query)))

    async def count_unfinished(self) -> tuple[int, int]:
        """Return how many jobs run, and how many wait."""
        two = (Status.RUNNING.value, Status.QUEUED.value)
        query = select(jobs.c.status, func.count()).where(jobs.c.status.in_(two))
        rows = await self.database.read(lambda c: c.execute(query.group_by(jobs.c.status)).all())
        counts = {status: count for status, count in rows}
        return counts.get(two[0], 0), counts.get(two[1], 0)

    async def release(self, job: int, epoch: int) -> Job:
        """Queue a running job again at a normal end of its process: no attempt is counted."""
        return await self._step(job, Step.RELEASE, epoch, steps.GIVEN_BACK)

    async def lost(self, job: int, epoch: int, *, alone: bool = False) -> Job:
        """Queue a running job again whose engine died, or quarantine it as poison.

        `alone` says that the engine had no other job: see `workers.take_back`.
        """
        taken_back = await self.database.write(
            lambda c: to_job(take_back(c, find(c, job), alone, self.now(), epoch)), OUTCOME
        )
        note(taken_back, self.arrived)
        return taken_back

    async def rendered(
        self,
        job: int,
        epoch: int,
        drawn: Sequence[Drawn],
        device: str | None = None,
        matches: Sequence[float] | None = None,
    ) -> Job:
        """Keep a job's pictures and put its reply into the outbox.

        device: the kind that drew them, if known. matches: how well each of them matches its
        prompt, where that decides their order.
        The files are safely on disk before the rows say that they exist.
        """
        rows = await self._keep(drawn)

        def unit(connection: Connection) -> Job | None:
            # A sweep removes files under the same lock: what is here now will stay.
            if apart(lambda: self.files.missing(each["sha256"] for each in rows)):
                return None
            values = {"device": device}
            row, changed = steps.take(
                connection, job, Step.RENDERED, self.now(), epoch=epoch, values=values
            )
            if changed and rows:
                shared = {"job": job, "seed": int(row.recipe["seed"])}
                known: Sequence[float | None] = matches or [None] * len(rows)
                found = [
                    {**each, **shared, "match": match}
                    for each, match in zip(rows, known, strict=True)
                ]
                connection.execute(_DRAWN, found)
            return with_pictures(connection, row)

        while (done := await self._recorded(unit)) is None:
            await self._keep(drawn)
        self.arrived.set()
        return done

    async def _recorded(self, unit: Callable[[Connection], Job | None]) -> Job | None:
        """Write a unit that looks for files, waiting out a store that does not answer."""
        loop = asyncio.get_running_loop()
        end = loop.time() + OUTCOME
        while True:
            try:
                return await self.database.write(unit, OUTCOME)
            except PicturesFault:
                if loop.time() >= end:
                    raise
                await asyncio.sleep(RETRY)

    async def failed(self, job: int, epoch: int, error: str) -> Job:
        """End a job that cannot be drawn, and put one sentence why into the outbox."""
        return await self._step(job, Step.FAILED, epoch, steps.why(error))

    async def put_ahead(self, job: int, *, by: str) -> None:
        """Let a job that waits go before others, as the moderators' log tells.

        Raises `UnknownJob`, or `NotWaiting`; to put one ahead twice is no error.
        """

        def unit(connection: Connection) -> None:
            row = find(connection, job)
            if row.status != Status.QUEUED.value:
                raise NotWaiting(job)
            if not row.ahead:
                connection.execute(update(jobs).where(jobs.c.id == job).values(ahead=True))
                where = {"person": row.person, "place": row.place}
                entry = audit.on_job("ahead", by=by, job=job, **where)
                audit.note(connection, entry, self.now())

        await self.database.write(unit)

    async def list_ahead(self) -> tuple[int, ...]:
        """Return the numbers of waiting jobs that owners put before others."""
        query = select(jobs.c.id).where(jobs.c.status == Status.QUEUED.value, jobs.c.ahead)
        return tuple(await self.database.read(lambda c: c.scalars(query).all()))

    async def cancel(self, job: int, *, by: str | None = None) -> Job:
        """End a job that waits or runs; its worker's results are refused from now on.

        by: who ends it; where the job is somebody else's, the moderators' log tells of it. Raises
        `TooLate` once it is rendered or failed; cancelling twice is no error.
        """

        def unit(connection: Connection) -> Job:
            now = self.now()
            row, changed = steps.take(connection, job, Step.CANCEL, now)
            if changed and by is not None and by != row.person:
                where = {"person": row.person, "place": row.place}
                audit.note(connection, audit.on_job("cancel", by=by, job=job, **where), now)
            return to_job(row)

        done = await self.database.write(unit, OUTCOME)
        self.arrived.set()
        return done

    async def delivered(self, job: int, shown: Mapping[str, int | None] | None = None) -> Job:
        """Record that the reply arrived, and the messages that show it (id → picture or None)."""

        def unit(connection: Connection) -> Job:
            now = self.now()
            row, _ = steps.take(connection, job, Step.DELIVERED, now)
            steps.close_reply(connection, job, now)
            steps.show(connection, job, shown or {}, now)
            return with_pictures(connection, row)

        return await self.database.write(unit, OUTCOME)

    async def acknowledged(self, job: int, message: str) -> Job:
        """Record the placeholder message that tells somebody about the job."""

        def unit(connection: Connection) -> Job:
            query = update(jobs).where(jobs.c.id == job).values(message=message).returning(*JOB)
            row = connection.execute(query).one_or_none()
            if row is None:
                raise UnknownJob(job)
            steps.show(connection, job, {message: None}, self.now())
            return to_job(row)

        return await self.database.write(unit, OUTCOME)

    async def shown(self, job: int, messages: Mapping[str, int | None]) -> None:
        """Record further messages that show a job (id → picture or None)."""

        def unit(connection: Connection) -> None:
            find(connection, job)
            steps.show(connection, job, messages, self.now())

        await self.database.write(unit, OUTCOME)

    async def by_message(self, message: str) -> tuple[Job, int | None] | None:
        """Return the job that a message shows, and which picture if only one; None if none.

        The message is known by the id given to `acknowledged` or `delivered`.
        """

        def unit(connection: Connection) -> tuple[Job, int | None] | None:
            query = select(messages).where(messages.c.id == message)
            row = connection.execute(query).one_or_none()
            return row and (with_pictures(connection, find(connection, row.job)), row.picture)

        return await self.database.read(unit)

    async def is_shown(self, job: int, message: str) -> bool:
        """Return whether a message is one of those that show a job."""
        query = select(messages.c.job).where(messages.c.id == message)
        return await self.database.read(lambda c: c.scalar(query)) == job

    async def by_event(self, event: str) -> Job | None:
        """Return the job that an event made; None if none."""
        return await self.database.read(lambda c: find_by_event(c, event))

    def _check_room(self) -> None:
        """Raise `DiskFull` once a disk is nearly full; blocks.

        Jobs taken before still need some room.
        """
        for folder in self.folders:
            if shutil.disk_usage(folder).free < MIN_FREE:
                raise DiskFull(self.database.where, f"less than {MIN_FREE // 2**20} MB are free")

    async def _keep(self, drawn: Sequence[Drawn]) -> list[dict[str, Any]]:
        """Write files, waiting out a full disk for as long as an outcome is held in memory.

        Return the values of their rows.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + OUTCOME
        while True:
            try:
                names = await self._write(drawn)
                break
            except DatabaseFault as fault:
                if not fault.passing or loop.time() >= end:
                    raise
                await asyncio.sleep(RETRY)
        return [
            {
                "index": each.index,
                "width": each.width,
                "height": each.height,
                "size": len(each.png),
                "sha256": name,
                "verdict": each.verdict.value,
            }
            for each, name in zip(drawn, names, strict=True)
        ]

    async def _write(self, drawn: Sequence[Drawn]) -> list[str]:
        """Write files at once; none is under way any more when this ends, however it ends."""
        adding = (asyncio.to_thread(self.files.add, each.png) for each in drawn)
        writing = asyncio.gather(*adding, return_exceptions=True)
        try:
            written = await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise
        names = [each for each in written if isinstance(each, str)]
        for error in written:
            if isinstance(error, BaseException):
                raise error
        return names

    async def _step(self, job: int, step: Step, epoch: int, values: Mapping[str, Any]) -> Job:
        def unit(connection: Connection) -> Job:
            row, _ = steps.take(connection, job, step, self.now(), epoch=epoch, values=values)
            return to_job(row)

        done = await self.database.write(unit, OUTCOME)
        if step in steps.ANSWERED:
            self.arrived.set()
        return done
