"""Who is to blame for a death: the job that always dies is found, and nobody else is."""

from __future__ import annotations

import asyncio

import pytest

from bots.service.app import take_in
from bots.worker.worker import Worker
from engine.events import Stage
from engine.executors.base import SLOTS
from engine.executors.child import ChildExecutor
from engine.executors.config import EngineConfig
from engine.queue.queue import Queue
from storage import Job, Status
from storage.states import MAX_ATTEMPTS
from tests.bots.fakes import equal_task, no_caps
from tests.conftest import PATIENCE
from tests.forked import Process
from tests.storage import suspect_service
from tests.storage.conftest import Home, a_job
from tests.storage.suspect_service import LIMITS

STUB = "tests.engine.stub:open_stub"
KILLED = -9


async def live(home: Home, last: int | None = None, factory: str = STUB) -> int:
    """Let a service work until it is killed, as its n-th job begins or by one; return its code."""
    arguments = (home.folder, home.url, factory, last)
    process = Process(suspect_service.main, *arguments)
    async with asyncio.timeout(PATIENCE):
        return await process.wait()


async def ask(home: Home, *prompts: str) -> None:
    async with home.open() as storage:
        for number, prompt in enumerate(prompts):
            await storage.jobs.add(a_job(prompt, person=f"terminal:{number}"))


async def found(home: Home) -> dict[int, Job]:
    async with home.open() as storage:
        return {job.id: job for job in await storage.history.page(limit=100)}


@pytest.mark.parametrize("stage", [Stage.LOAD, Stage.DECODE])
async def test_a_poison_that_takes_the_service_along_is_found_among_bystanders(
    home: Home, stage: Stage
) -> None:
    await ask(home, *["a cat"] * 3, f"poison in {stage}", *["a dog"] * 8)
    deaths = 0
    while await live(home) == KILLED:
        deaths += 1
        assert deaths <= 1 + MAX_ATTEMPTS
    jobs = await found(home)
    poison = jobs.pop(4)
    assert (poison.status, poison.attempts) == (Status.FAILED, MAX_ATTEMPTS)
    assert "3 times" in (poison.error or "")
    assert {(job.status, job.attempts) for job in jobs.values()} == {(Status.RENDERED, 1)}


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("home", ["sqlite"], indirect=True)
async def test_a_poison_that_takes_the_engine_along_is_found_among_bystanders(
    home: Home, stage: Stage
) -> None:
    await ask(home, *["a cat"] * 3, f"poison in {stage}", *["a dog"] * 8)
    config = EngineConfig(factory=STUB, device="cpu")
    async with home.open() as storage, ChildExecutor(config, backoff=lambda n: 0) as executor:
        queue = Queue(lambda: executor.slots, LIMITS)
        worker = Worker(storage, executor, queue, equal_task, no_caps)
        await take_in(storage, worker)
        async with asyncio.timeout(PATIENCE):
            working = asyncio.create_task(worker.run(), name="worker")
            for job in await storage.jobs.list_queued():
                async for _ in worker.follow(job.id):
                    pass
        working.cancel()
        await asyncio.wait([working])
        assert executor.health().restarts <= 1 + MAX_ATTEMPTS
    jobs = await found(home)
    poison = jobs.pop(4)
    assert (poison.status, poison.attempts) == (Status.FAILED, MAX_ATTEMPTS)
    assert {(job.status, job.attempts) for job in jobs.values()} == {(Status.RENDERED, 1)}


async def test_kills_of_the_service_quarantine_nobody_however_deep_the_backlog(home: Home) -> None:
    await ask(home, *["a cat"] * 30)
    assert await live(home, last=2) == KILLED
    untouched = [job for job in (await found(home)).values() if job.epoch == 0]
    assert len(untouched) >= 30 - SLOTS
    for _ in range(13):
        assert await live(home, last=2) == KILLED
        jobs = await found(home)
        assert max(job.attempts for job in jobs.values()) <= 2
    assert await live(home) == 0
    assert {job.status for job in (await found(home)).values()} == {Status.RENDERED}


async def test_what_ends_an_engine_that_is_still_being_made_is_no_jobs_fault(home: Home) -> None:
    await ask(home, *["a cat"] * 12)
    before = await found(home)
    for _ in range(4):
        assert await live(home, factory="tests.engine.stub:open_and_die") == KILLED
    assert await found(home) == before
