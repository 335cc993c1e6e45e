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
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.exc import IntegrityError

from engine.sentences import Sentence
from storage.clock import Clock
from storage.database.database import ADMISSION, OUTCOME, Database
from storage.database.tables import jobs, outbox, workers
from storage.database.writer import Unit
from storage.errors import SeveralMachines, StorageError
from storage.jobs.rows import add_if_new, to_job
from storage.jobs.transitions import take, why
from storage.liveness.alive import Alive
from storage.liveness.locks import boot
from storage.records import Job
from storage.states import MAX_ATTEMPTS, Status, Step

T = TypeVar("T")

LEASE: Final = 60.0  # seconds of silence after which a worker counts as hung
BEAT: Final = 10.0  # seconds between signs of life
BOOT: Final = boot()
_log: Final = logging.getLogger("marble.storage")


@dataclass(slots=True)
class WorkerProcess:
    """Stand for this process: registered at its first claim, gone at `close`."""

    database: Database
    alive: Alive
    now: Clock
    steady: Callable[[], float] = time.monotonic
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    _beating: asyncio.Task[None] | None = None
    _once: asyncio.Lock = field(default_factory=asyncio.Lock)
    _heard: dict[str, tuple[int, float]] = field(default_factory=dict)  # beat, first heard

    async def register(self) -> str:
        """Announce this process as a worker, once, and return its name.

        Raises `SeveralMachines` where another machine's worker uses the same SQLite file.
        """
        async with self._once:
            if self._beating is None:
                gone = await self._refuse_others()
                await self.alive.take(self.name)
                try:
                    await self.announce(gone)
                except BaseException:  # it will be tried anew, and leaves no sign until then
                    await self.alive.release()
                    raise
                self._beating = asyncio.create_task(self._beat_on(), name="storage-worker-beat")
        return self.name

    async def act(self, unit: Unit[T], patience: float = ADMISSION) -> T:
        """Run a unit that names this worker, announced again if another process removed it."""
        await self.register()
        try:
            return await self.database.write(unit, patience)
        except IntegrityError:
            await self.announce()
            return await self.database.write(unit, patience)

    async def announce(self, gone: set[str] | None = None) -> None:
        """Insert this worker's row, again if another process removed it.

        gone: the workers of other machines that have ended; raises `SeveralMachines` where one is
        known that has not.
        """
        await self.database.write(
            lambda c: self._announce(c) if gone is None else self._enter(c, gone)
        )

    async def requeue_lost(self) -> tuple[Job, ...]:
        """Queue again, or quarantine, what dead or hung processes ran; return those jobs.

        Call it at the start and every few seconds. A living process's jobs are left alone.
        """
        query = select(workers.c.id, workers.c.beat)
        beats = {
            row.id: row.beat for row in await self.database.read(lambda c: c.execute(query).all())
        }
        beats.pop(self.name, None)
        lost = await self.alive.dead(beats) | self._silent(beats)
        changed = await self.database.write(lambda c: self._recover(c, lost), OUTCOME)
        for name in lost:  # should it come back, it is heard anew
            self._heard.pop(name, None)
        for job in changed:
            note(job)
        return changed

    async def lost(self) -> frozenset[int]:
        """Return the running jobs whose process is dead: what `requeue_lost` would take back.

        Nothing is changed. Hung processes, which take a minute to tell, are not among them.
        """
        query = select(jobs.c.id, jobs.c.worker).where(jobs.c.status == Status.RUNNING.value)
        rows = await self.database.read(lambda c: c.execute(query).all())
        dead = await self.alive.dead({row.worker for row in rows} - {None, self.name})
        return frozenset(row.id for row in rows if row.worker is None or row.worker in dead)

    async def beat(self) -> None:
        """Raise this worker's beat."""
        await self.alive.keep()
        query = update(workers).where(workers.c.id == self.name).values(beat=workers.c.beat + 1)

        def unit(connection: Connection) -> None:
            if not connection.execute(query).rowcount:
                self._announce(connection)

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

    async def _refuse_others(self) -> set[str]:
        """Refuse to share a SQLite file with another machine, where its locks do not work.

        Return the workers of other machines, or of this one before it was started anew, that have
        ended.
        """
        if not self.database.is_sqlite:
            return set()
        others = await self.database.read(_elsewhere)
        gone = await self.alive.dead(others)
        if others - gone:
            raise SeveralMachines(self.database.where)
        return gone

    def _enter(self, connection: Connection, gone: set[str]) -> None:
        """Insert this worker's row, unless another machine's worker has come since."""
        if self.database.is_sqlite and _elsewhere(connection) - gone:
            raise SeveralMachines(self.database.where)
        self._announce(connection)

    def _announce(self, connection: Connection) -> None:
        host = f"{socket.gethostname()} {BOOT}"
        values = {"id": self.name, "host": host, "process": os.getpid(), "beat": 0}
        add_if_new(connection, workers, {**values, "started_at": self.now()})

    def _recover(self, connection: Connection, lost: set[str]) -> tuple[Job, ...]:
        """Take back the jobs of lost workers, and of workers without a row."""
        query = select(jobs).where(
            jobs.c.status == Status.RUNNING.value,
            jobs.c.worker.in_(lost) | jobs.c.worker.is_(None),
        )
        rows = connection.execute(query.order_by(jobs.c.id)).all()
        at_work = Counter(row.worker for row in rows if row.worker)
        changed = tuple(self.take_back(connection, row, at_work[row.worker] == 1) for row in rows)
        # What they were sending may have arrived: `sending` stays, only the sender is gone.
        connection.execute(update(outbox).where(outbox.c.sender.in_(lost)).values(sender=None))
        connection.execute(delete(workers).where(workers.c.id.in_(lost)))
        return changed

    def take_back(
        self, connection: Connection, job: Row[Any], alone: bool, epoch: int | None = None
    ) -> Job:
        """Queue a job whose worker died again, or fail it after `MAX_ATTEMPTS`.

        The death speaks against a job that was there `alone`, as every suspect is. Of several it
        is known of none: no attempt is burnt, and all are suspects from now on.
        """
        step, attempts = Step.REQUEUE, job.attempts
        if not (alone or job.suspect):
            attempts -= 1
        values: dict[str, Any] = {
            "attempts": attempts,
            "suspect": True,
            "worker": None,
            "started_at": None,
        }
        if attempts >= MAX_ATTEMPTS:
            step, values = Step.FAILED, why(_quarantined(attempts))
        return to_job(take(connection, job.id, step, self.now(), epoch=epoch, values=values)[0])


def _elsewhere(connection: Connection) -> set[str]:
    """Return the workers of other machines, and of this one before it was started anew."""
    rows = connection.execute(select(workers.c.id, workers.c.host))
    return {row.id for row in rows if row.host.rpartition(" ")[2] != BOOT}


def note(job: Job) -> None:
    """Log the outcome for a job whose worker died, once committed."""
    if job.status is Status.FAILED:
        _log.warning("job %d ended its worker %d times, and is quarantined", job.id, job.attempts)
    else:
        _log.info("job %d is tried again, alone: its worker died", job.id)


def _quarantined(attempts: int) -> Sentence:
    return Sentence("quarantined", attempts=attempts)
