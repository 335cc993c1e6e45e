"""Workers: which process runs a job, and how another learns that it has died.

On SQLite every process that claims jobs holds a lock on a file beside the database. The system
drops it when the process ends, even by `kill -9`, so that no clock and no waiting is involved.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from storage.clock import Clock
from storage.database import OUTCOME, Database
from storage.life import MAX_ATTEMPTS, Status, Step
from storage.locks import FileLock
from storage.records import Job
from storage.rows import to_job
from storage.steps import take
from storage.tables import jobs, workers
from storage.urls import file_of

QUARANTINED = "It ended its worker {attempts} times, so it will not be tried again."


@dataclass(slots=True)
class Worker:
    """Stand for this process: registered at its first claim, gone at `close`."""

    database: Database
    now: Clock
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    _lock: FileLock | None = None
    _once: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def register(self) -> str:
        """Announce this process as a worker, once, and return its name."""
        async with self._once:
            if self._lock is None:
                lock = FileLock(self._file(self.name))
                await asyncio.to_thread(lock.take)
                await self.database.write(self._announce)
                self._lock = lock
        return self.name

    async def requeue_lost(self) -> tuple[Job, ...]:
        """Queue again, or quarantine, what dead processes were running; return those jobs.

        Call it at the start and now and then. A living process's jobs are left alone.
        """
        names = await self.database.read(lambda c: c.execute(select(workers.c.id)).scalars().all())
        lost = [name for name in names if await asyncio.to_thread(self._dead, name)]
        changed = await self.database.write(lambda c: self._recover(c, lost), OUTCOME)
        for name in lost:
            await asyncio.to_thread(self._file(name).unlink, missing_ok=True)
        return changed

    async def close(self) -> None:
        """Leave: what this process still runs is queued again by whoever looks next."""
        if self._lock is not None:
            await asyncio.to_thread(self._lock.release)
            self._lock = None

    def _announce(self, connection: Connection) -> None:
        values = {"id": self.name, "host": socket.gethostname(), "process": os.getpid()}
        connection.execute(insert(workers), {**values, "beat": 0, "started_at": self.now()})

    def _recover(self, connection: Connection, lost: list[str]) -> tuple[Job, ...]:
        running = select(jobs.c.id, jobs.c.attempts, jobs.c.epoch).where(
            jobs.c.status == Status.RUNNING.value,
            jobs.c.worker.in_(lost) | jobs.c.worker.is_(None),
        )
        changed = []
        for row in connection.execute(running.order_by(jobs.c.id)).all():
            poison = row.attempts >= MAX_ATTEMPTS
            error = QUARANTINED.format(attempts=row.attempts) if poison else None
            taken, _ = take(
                connection,
                row.id,
                Step.FAILED if poison else Step.REQUEUE,
                self.now(),
                values={"error": error} if poison else {"worker": None, "started_at": None},
            )
            changed.append(to_job(taken))
        connection.execute(delete(workers).where(workers.c.id.in_(lost)))
        return tuple(changed)

    def _file(self, name: str) -> Path:
        file = file_of(self.database.url)
        assert file is not None, "workers on a server have no file"
        folder = file.with_name(f"{file.name}-workers")
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.lock"

    def _dead(self, name: str) -> bool:
        if self._lock is not None and name == self.name:
            return False
        probe = FileLock(self._file(name))
        free = probe.take()
        probe.release()
        return free
