"""Workers: which process runs a job, and how another detects that it has ended.

An ended process is detected at once by its free lock (`storage.liveness.alive`), one that hangs by
its `beat`, which must rise within `LEASE` seconds of the observer's own steady clock: no time of
day is compared, so no clock jump ends a lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from engine.sentences import Sentence
from storage.clock import Clock
from storage.database.database import ADMISSION, OUTCOME, Database
from storage.database.tables import jobs, outbox, workers
from storage.database.writer import Unit
from storage.errors import IllegalStep, SeveralMachines, StorageError, TooManyRun, UnknownJob
from storage.jobs import transitions as steps
from storage.jobs.outbox import CLAIM
from storage.jobs.rows import add_if_new, to_job, to_jobs
from storage.liveness.alive import Alive, FileAlive
from storage.liveness.locks import boot
from storage.records import Job
from storage.states import MAX_ATTEMPTS, Status, Step

T = TypeVar("T")

LEASE: Final = 60.0  # seconds of silence after which a worker counts as hung
BEAT: Final = 10.0  # seconds between signs of life
BOOT: Final = boot()
RUNNING: Final = jobs.c.status == Status.RUNNING.value
_log: Final = logging.getLogger("marble.storage")


class Running(NamedTuple):
    """A running job's number, epoch and person, and whether this process runs it."""

    job: int
    epoch: int
    person: str
    mine: bool


@dataclass(slots=True)
class WorkerProcess:
    """Take jobs and replies for this process: a worker from the first one on until `close`.

    What takes the first raises `SeveralMachines` where another machine's worker uses the same
    SQLite file.
    """

    database: Database
    alive: Alive
    arrived: asyncio.Event  # set when a reply goes into the outbox
    now: Clock
    steady: Callable[[], float] = time.monotonic
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    _beating: asyncio.Task[None] | None = None
    _once: asyncio.Lock = field(default_factory=asyncio.Lock)
    _heard: dict[str, tuple[int, float]] = field(default_factory=dict)  # beat, first heard

    async def claim(self, job: int, most: int | None = None) -> Job | None:
        """Take a queued job for this process, or return None where somebody was faster.

        Raises `TooManyRun` where `most` jobs of its person run in all processes, and
        `UnreadableRecipe`; the job then stays queued.
        """

        def unit(connection: Connection) -> Job | None:
            if most is not None and _running_beside(connection, job) >= most:
                raise TooManyRun(job, most)
            now = self.now()
            values = {"worker": self.name, "started_at": now}
            try:
                row, _ = steps.take(connection, job, Step.CLAIM, now, values=values)
            except (UnknownJob, IllegalStep):
                return None
            return to_job(row)

        return await self._act(unit)

    async def claim_reply(self, job: int, way: int) -> bool:
        """Take a reply into this process's hands; False if it is closed, in another's, or due
        by another way meanwhile.

        From here on its outcome counts as unknown, until a method of `Outbox` tells.
        """
        which = {"number": job, "by": way, "me": self.name}
        return await self._act(lambda c: c.execute(CLAIM, which).rowcount == 1, OUTCOME)

    async def requeue_lost(self) -> tuple[Job, ...]:
        """Queue again, or quarantine, what dead or hung processes ran; return those jobs, but not
        those whose recipe this version cannot read.

        Call it at the start and every few seconds. A living process's jobs are left alone.
        """
        query = select(workers.c.id, workers.c.beat).where(workers.c.id != self.name)
        rows = await self.database.read(lambda c: c.execute(query).all())
        beats = {row.id: row.beat for row in rows}
        lost = await self.alive.dead(beats) | self._silent(beats)
        changed = await self.database.write(lambda c: self._recover(c, lost), OUTCOME)
        for name in lost:  # should it come back, it is heard anew
            self._heard.pop(name, None)
        for job in changed:
            note(job, self.arrived)
        return changed

    async def running(self) -> tuple[Running, ...]:
        """Return what all processes run: a short read, for every second."""
        query = select(jobs.c.id, jobs.c.epoch, jobs.c.person, jobs.c.worker).where(RUNNING)
        rows = await self.database.read(lambda c: c.execute(query).all())
        return tuple(
            Running(row.id, row.epoch, row.person, row.worker == self.name) for row in rows
        )

    async def lost(self) -> frozenset[int]:
        """Return the running jobs whose process is dead: what `requeue_lost` would take back.

        Nothing is changed. Hung processes, which take a minute to tell, are not among them.
        """
        query = select(jobs.c.id, jobs.c.worker).where(RUNNING)
        rows = await self.database.read(lambda c: c.execute(query).all())
        dead = await self.alive.dead({row.worker for row in rows} - {None, self.name})
        return frozenset(row.id for row in rows if row.worker is None or row.worker in dead)

    async def beat(self) -> None:
        """Raise this worker's beat."""
        await self.alive.keep()
        query = update(workers).where(workers.c.id == self.name).values(beat=workers.c.beat + 1)

        def unit(connection: Connection) -> None:
            self._announce(connection)
            connection.execute(query)

        await self.database.write(unit, LEASE)

    async def close(self) -> None:
        """Release the lock: jobs still running here are queued again by the next `requeue_lost`."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        await self.alive.release()

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self.beat()
            except StorageError as error:
                _log.warning("No sign of life could be given: %s", error)

    def _silent(self, beats: dict[str, int]) -> set[str]:
        now = self.steady()
        self._heard = {
            name: self._heard[name] if self._heard.get(name, (None,))[0] == beat else (beat, now)
            for name, beat in beats.items()
        }
        return {name for name, (_, since) in self._heard.items() if now - since >= LEASE}

    async def _act(self, unit: Unit[T], patience: float = ADMISSION) -> T:
        """Run a unit that names this worker, whose row another process may have removed."""
        async with self._once:
            if self._beating is None:
                await self._register()

        try:
            return await self.database.write(unit, patience)
        except IntegrityError:
            await self.database.write(self._announce)
            return await self.database.write(unit, patience)

    async def _register(self) -> None:
        """Announce this process as a worker, whose lock is taken before."""
        ended = set[str]()
        if isinstance(self.alive, FileAlive):
            ended = await self.alive.dead(await self.database.read(_elsewhere))
        await self.alive.take(self.name)
        try:
            if not await self.database.write(lambda c: self._enter(c, ended)):
                raise SeveralMachines(self.database.where)
        except BaseException:  # it will be tried anew, and leaves no sign until then
            await self.alive.release()
            raise
        self._beating = asyncio.create_task(self._beat_on(), name="storage-worker-beat")

    def _enter(self, connection: Connection, ended: set[str]) -> bool:
        """Insert this worker's row, unless another machine's worker lives.

        The locks of a SQLite file do not work between machines. ended: the workers of other
        machines, or of another boot of this one, that have ended.
        """
        if isinstance(self.alive, FileAlive) and _elsewhere(connection) - ended:
            return False
        self._announce(connection)
        return True

    def _announce(self, connection: Connection) -> None:
        """Insert this worker's row unless it is there."""
        host = f"{socket.gethostname()} {BOOT}"
        values = {"id": self.name, "host": host, "process": os.getpid(), "beat": 0}
        add_if_new(connection, workers, {**values, "started_at": self.now()})

    def _recover(self, connection: Connection, lost: set[str]) -> tuple[Job, ...]:
        """Take back the jobs of lost workers, and of workers without a row."""
        query = select(jobs).where(RUNNING, jobs.c.worker.in_(lost) | jobs.c.worker.is_(None))
        rows = connection.execute(query.order_by(jobs.c.id)).all()
        at_work = Counter(row.worker for row in rows if row.worker)
        now = self.now()
        changed = [take_back(connection, row, at_work[row.worker] == 1, now) for row in rows]
        # What they were sending may have arrived: `sending` stays, only the sender is gone.
        connection.execute(update(outbox).where(outbox.c.sender.in_(lost)).values(sender=None))
        connection.execute(delete(workers).where(workers.c.id.in_(lost)))
        return to_jobs(connection, changed)


def _running_beside(connection: Connection, job: int) -> int:
    """Return how many jobs of a job's person run."""
    person = select(jobs.c.person).where(jobs.c.id == job).scalar_subquery()
    query = select(func.count()).where(RUNNING, jobs.c.person == person)
    return connection.scalar(query) or 0


def _elsewhere(connection: Connection) -> set[str]:
    """Return the workers of other machines, and of this one before it was started anew."""
    rows = connection.execute(select(workers.c.id, workers.c.host))
    return {row.id for row in rows if row.host.rpartition(" ")[2] != BOOT}


def take_back(
    connection: Connection, job: Row[Any], alone: bool, now: datetime, epoch: int | None = None
) -> Row[Any]:
    """Queue a job whose worker died again, or fail it after `MAX_ATTEMPTS`.

    The death speaks against a job that was there `alone`, as every suspect is. Of several it
    is known of none: no attempt is burnt, and all are suspects from now on.
    """
    attempts = job.attempts if alone or job.suspect else job.attempts - 1
    if attempts >= MAX_ATTEMPTS:
        step, values = Step.FAILED, steps.why(Sentence("quarantined", attempts=attempts))
    else:
        step, values = Step.REQUEUE, {**steps.GIVEN_BACK, "attempts": attempts, "suspect": True}
    return steps.take(connection, job.id, step, now, epoch=epoch, values=values)[0]


def note(job: Job, arrived: asyncio.Event) -> None:
    """Log the outcome for a job whose worker died, once committed, and have it answered if it is
    quarantined."""
    if job.status is Status.FAILED:
        arrived.set()
        _log.warning("job %d ended its worker %d times, and is quarantined", job.id, job.attempts)
    else:
        _log.info("job %d is tried again, alone: its worker died", job.id)
