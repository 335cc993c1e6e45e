from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bots.operations.settings import Settings, load_settings
from bots.worker.queue_view import learn, load_queue, queue_entries, task_of
from engine.events import Picture
from engine.queue.estimates import Speeds, work_of
from engine.queue.tasks import Priority
from storage import Job, NewJob, Status, Storage
from tests.factories import make_recipe

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def settings() -> Settings:
    """Return the defaults."""
    return load_settings({}, env_file="")


def job(number: int, person: str = "discord:ada", *, running: bool = False) -> Job:
    """Return a job that came `number` seconds ago and, if it runs, started then."""
    came = NOW - timedelta(seconds=number)
    return Job(
        id=number,
        recipe=make_recipe(),
        status=Status.RUNNING if running else Status.QUEUED,
        person=person,
        place="discord",
        reply={},
        message=None,
        parent=None,
        parent_picture=None,
        epoch=0,
        attempts=0,
        error=None,
        created_at=came,
        started_at=came if running else None,
        finished_at=None,
    )


def measured(seconds: float) -> Speeds:
    """Return speeds by which a usual job takes so long."""
    speeds = Speeds()
    speeds.learn(work_of(make_recipe()), seconds)
    return speeds


def test_what_runs_comes_first_and_then_what_waits_in_fair_order(settings: Settings) -> None:
    running = [job(1, running=True)]
    waiting = [job(2), job(3), job(4, "discord:bob")]
    found = queue_entries(running, waiting, settings, measured(10), NOW)
    assert [(each.job.id, each.position) for each in found] == [(1, 0), (4, 1), (2, 2), (3, 3)]
    assert [each.age for each in found] == [1, 4, 2, 3]
    # Nine seconds of the running job are left, then each takes its ten.
    assert [each.eta for each in found] == pytest.approx([9, 19, 29, 39])


def test_no_time_is_told_without_a_measurement(settings: Settings) -> None:
    assert [each.eta for each in queue_entries([], [job(1)], settings, Speeds(), NOW)] == [None]


def test_more_running_jobs_than_the_limits_allow_are_taken_as_they_are(settings: Settings) -> None:
    running = [job(n, running=True) for n in range(1, 8)]
    found = queue_entries(running, [job(9)], settings, measured(10), NOW)
    assert [each.position for each in found] == [0] * 7 + [1]


def test_moderators_go_first(settings: Settings) -> None:
    settings = replace(settings, moderators=frozenset({"discord:mod"}))
    assert task_of(settings, job(1, "discord:mod")).priority is Priority.MODERATOR
    assert task_of(settings, job(1, "discord:ada")).priority is Priority.PERSON
    found = queue_entries([], [job(1), job(2, "discord:mod")], settings, measured(1), NOW)
    assert [each.job.id for each in found] == [2, 1]


async def test_jobs_that_ran_at_once_are_not_measured_twice(tmp_path: Path) -> None:
    clock = NOW
    async with Storage.open(tmp_path, now=lambda: clock) as storage:
        new = NewJob(recipe=make_recipe(), person="discord:ada", place="discord")
        jobs = [await storage.jobs.add(new) for _ in range(2)]
        for job in jobs:
            await storage.worker.claim(job.id)
        clock += timedelta(seconds=20)
        for job in jobs:
            picture = Picture(index=0, width=8, height=8, png=b"")
            await storage.jobs.rendered(job.id, 1, [picture])
        speeds = Speeds()
        await learn(speeds, storage)
    assert speeds.seconds(work_of(make_recipe())) == pytest.approx(10)


async def test_the_queue_is_read_from_the_database(tmp_path: Path, settings: Settings) -> None:
    settings = replace(settings, data_dir=tmp_path)
    async with Storage.open(tmp_path) as storage:
        new = NewJob(recipe=make_recipe(), person="discord:ada", place="discord")
        jobs = [await storage.jobs.add(new) for _ in range(4)]
        done = await storage.worker.claim(jobs[0].id)
        assert done
        await storage.jobs.rendered(done.id, 1, [Picture(index=0, width=8, height=8, png=b"")])
        await storage.worker.claim(jobs[1].id)
        found = await load_queue(storage, settings)
        speeds = Speeds()
        await learn(speeds, storage)
    assert [(each.job.id, each.position) for each in found] == [(2, 0), (3, 1), (4, 2)]
    assert speeds.has_measured("starter")
    assert found[-1].eta is not None
