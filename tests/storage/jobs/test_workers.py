"""Workers: living, dead, hung or elsewhere, whatever the clock says."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, update

from storage import StaleEpoch, Status, Storage
from storage.database.tables import jobs as job_rows
from storage.database.tables import workers
from storage.errors import ReadOnly, SeveralMachines, TooManyRun, UnreadableRecipe
from storage.jobs.workers import LEASE, WorkerProcess
from storage.liveness.alive import FileAlive
from storage.liveness.locks import FileLock
from tests.factories import add_claimed
from tests.storage.conftest import Home, a_job, drawn


class Steady:
    """A clock that only goes forward, and only when told to."""

    time = 1000.0

    def __call__(self) -> float:
        return self.time


async def test_a_worker_that_hangs_loses_its_job_and_can_no_longer_write(home: Home) -> None:
    steady = Steady()
    async with home.open() as watching, home.open() as hung:
        watching.worker.steady = steady
        job = await add_claimed(hung, a_job())
        assert await watching.worker.requeue_lost() == ()
        steady.time += LEASE - 1
        assert await watching.worker.requeue_lost() == ()
        steady.time += 1
        [lost] = await watching.worker.requeue_lost()
        assert (lost.id, lost.status) == (job.id, Status.QUEUED)
        again = await watching.worker.claim(job.id)
        assert again is not None
        with pytest.raises(StaleEpoch):
            await hung.jobs.rendered(job.id, job.epoch, drawn())
        await watching.jobs.rendered(job.id, again.epoch, drawn())


async def test_a_worker_that_gives_signs_keeps_its_job(home: Home) -> None:
    steady = Steady()
    async with home.open() as watching, home.open() as slow:
        watching.worker.steady = steady
        await add_claimed(slow, a_job())
        for _ in range(3):
            assert await watching.worker.requeue_lost() == ()
            steady.time += LEASE - 1
            await slow.worker.beat()


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(hours=1)])
async def test_a_clock_jump_ends_no_lease(home: Home, jump: timedelta) -> None:
    time = datetime(2026, 1, 1, tzinfo=UTC)
    async with home.open(now=lambda: time) as one, home.open(now=lambda: time) as two:
        job = await add_claimed(one, a_job())
        assert await two.worker.requeue_lost() == ()
        time += jump
        assert await two.worker.requeue_lost() == ()
        assert (await one.jobs.rendered(job.id, job.epoch, drawn())).status is Status.RENDERED


async def test_a_worker_taken_for_dead_works_on(home: Home) -> None:
    steady = Steady()
    async with home.open() as watching, home.open() as hung:
        watching.worker.steady = steady

        async def give_up() -> int:
            await watching.worker.requeue_lost()
            steady.time += LEASE
            return len(await watching.worker.requeue_lost())

        await add_claimed(hung, a_job())
        assert await give_up() == 1
        assert await hung.worker.claim(1)
        assert await give_up() == 1
        job = await add_claimed(hung, a_job())
        assert await give_up() == 1
        await hung.worker.beat()
        assert await hung.worker.claim(job.id)


async def test_a_file_serves_one_machine(tmp_path: Path) -> None:
    row = {"id": "far", "host": "elsewhere other-boot", "process": 1, "beat": 0}
    row["started_at"] = datetime.now(UTC)
    lock = FileLock(tmp_path / "marble.db-workers" / "far.lock")
    lock.path.parent.mkdir()
    assert lock.take()
    async with Storage.open(tmp_path) as storage:
        await storage.database.write(lambda c: c.execute(insert(workers), row))
        with pytest.raises(SeveralMachines, match="SQLite serves one machine"):
            await add_claimed(storage, a_job())
        lock.release()  # it was this machine, before it was started anew
        assert (await add_claimed(storage, a_job())).status is Status.RUNNING


async def test_of_two_machines_that_come_at_once_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"id": "far", "host": "elsewhere other-boot", "process": 1, "beat": 0}
    row["started_at"] = datetime.now(UTC)
    async with Storage.open(tmp_path) as storage:
        take = FileAlive.take

        async def come_meanwhile(self: FileAlive, name: str) -> None:
            await storage.database.write(lambda c: c.execute(insert(workers), row))
            await take(self, name)

        monkeypatch.setattr(FileAlive, "take", come_meanwhile)
        with pytest.raises(SeveralMachines):
            await add_claimed(storage, a_job())
        assert locks(tmp_path) == set()


def locks(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "marble.db-workers").glob("*.lock")}


async def test_a_worker_that_could_not_be_announced_leaves_no_lock_and_tries_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: WorkerProcess, connection: Connection, ended: set[str]) -> bool:
        assert locks(tmp_path) == {self.name}
        raise ReadOnly("marble.db")

    async with Storage.open(tmp_path) as storage:
        with monkeypatch.context() as patch:
            patch.setattr(WorkerProcess, "_enter", refuse)
            with pytest.raises(ReadOnly):
                await add_claimed(storage, a_job())
        assert locks(tmp_path) == set()
        assert (await add_claimed(storage, a_job())).status is Status.RUNNING
        assert locks(tmp_path) == {storage.worker.name}
    assert locks(tmp_path) == set()


async def test_a_lock_of_a_worker_that_nobody_ever_knew_is_removed_in_time(tmp_path: Path) -> None:
    hours_ago = time.time() - 3 * 3600
    async with Storage.open(tmp_path) as storage, Storage.open(tmp_path) as other:
        await add_claimed(storage, a_job())
        for name in ("young", "old", storage.worker.name):
            path = tmp_path / "marble.db-workers" / f"{name}.lock"
            path.touch()
            if name != "young":
                os.utime(path, (hours_ago, hours_ago))
        assert await other.worker.requeue_lost() == ()
        assert locks(tmp_path) == {"young", storage.worker.name}


async def test_a_limit_on_what_a_person_runs_holds_over_all_processes(home: Home) -> None:
    async with home.open() as here, home.open() as there:
        jobs = [await here.jobs.add(a_job()) for _ in range(4)]
        others = await here.jobs.add(a_job(person="terminal:bob"))
        assert await here.worker.claim(jobs[0].id, 2)
        assert await there.worker.claim(jobs[1].id, 2)
        for each in (here, there):
            with pytest.raises(TooManyRun, match="2 of its person's jobs run, the most allowed"):
                await each.worker.claim(jobs[2].id, 2)
        assert await there.worker.claim(others.id, 2)
        ran = [(jobs[0].id, 1, "terminal:ada"), (jobs[1].id, 1, "terminal:ada")]
        ran.append((others.id, 1, "terminal:bob"))
        assert {each[:3]: each.mine for each in await here.worker.running()} == dict(
            zip(ran, (True, False, False), strict=True)
        )
        assert {each[:3]: each.mine for each in await there.worker.running()} == dict(
            zip(ran, (False, True, True), strict=True)
        )
        await there.jobs.rendered(jobs[1].id, 1, drawn())
        assert {each.job for each in await here.worker.running()} == {jobs[0].id, others.id}
        assert await here.worker.claim(jobs[2].id, 2)
        assert await there.worker.claim(jobs[3].id)


async def test_a_job_whose_recipe_cannot_be_read_is_not_claimed(storage: Storage) -> None:
    job = await storage.jobs.add(a_job())
    stored = update(job_rows).where(job_rows.c.id == job.id).values(recipe={"version": 99})
    await storage.database.write(lambda c: c.execute(stored))
    with pytest.raises(UnreadableRecipe):
        await storage.worker.claim(job.id)
    assert await storage.worker.running() == ()
    assert await storage.jobs.count_unfinished() == (0, 1)


async def test_a_lost_job_whose_recipe_cannot_be_read_keeps_no_other_one(home: Home) -> None:
    steady = Steady()
    async with home.open() as watching, home.open() as hung:
        watching.worker.steady = steady
        newer, job = await add_claimed(hung, a_job()), await add_claimed(hung, a_job())
        stored = update(job_rows).where(job_rows.c.id == newer.id).values(recipe={"version": 99})
        await hung.database.write(lambda c: c.execute(stored))
        assert await watching.worker.requeue_lost() == ()
        steady.time += LEASE
        assert [each.id for each in await watching.worker.requeue_lost()] == [job.id]
        assert await watching.jobs.count_unfinished() == (0, 2)
