import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bots.operations.settings import Settings, load_settings
from bots.worker.engines_view import EngineBoard, load_places
from bots.worker.progress import JobNews, Place, PositionPublisher
from bots.worker.queue_view import learn, limits_of, load_queue, queue_entries, task_of
from engine.events import Picture, Waiting
from engine.queue.engines import Facts
from engine.queue.estimates import Speeds, work_of
from engine.queue.queue import Queue
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


def test_what_an_owner_put_ahead_goes_before_moderators(settings: Settings) -> None:
    settings = replace(settings, moderators=frozenset({"discord:mod"}))
    ahead = replace(job(3), ahead=True)
    assert task_of(settings, ahead).priority is Priority.AHEAD
    found = queue_entries([], [job(1), job(2, "discord:mod"), ahead], settings, measured(1), NOW)
    assert [each.job.id for each in found] == [3, 2, 1]


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
        found = (await load_queue(storage, settings)).entries
        speeds = Speeds()
        await learn(speeds, storage)
    assert [(each.job.id, each.position) for each in found] == [(2, 0), (3, 1), (4, 2)]
    assert speeds.has_measured("starter")
    assert found[-1].eta is not None


def queued(*people: str) -> list[NewJob]:
    return [NewJob(recipe=make_recipe(), person=person, place="discord") for person in people]


async def test_what_a_serving_process_tells_of_its_engines_is_what_others_show(
    tmp_path: Path, settings: Settings
) -> None:
    """Two engines of different speed, and people who have had something before."""
    settings = replace(settings, data_dir=tmp_path)
    queue = Queue(lambda: 0, limits_of(settings))
    for kind, seconds in (("slow", 40.0), ("fast", 10.0)):
        queue.put(kind, Facts(slots=1, kind=kind, held=("starter",)))
        queue.order.speeds.learn(work_of(make_recipe()), seconds, kind=kind)
    async with Storage.open(tmp_path) as storage:
        people = ["discord:ada", "discord:ada", "discord:bob", "discord:bob", "discord:cy"]
        jobs = [await storage.jobs.add(new) for new in queued(*people)]
        news = {job.id: JobNews() for job in jobs}
        for job in jobs:
            queue.submit(task_of(settings, job))
        while started := queue.start():
            await storage.worker.claim(started.job)
        publisher = PositionPublisher(queue, news)
        await publisher.publish()
        board = EngineBoard(settings, "a")
        await board.show([], publisher.places)
        found = await load_queue(storage, settings)
        told = {job: each.latest for job, each in news.items() if each.latest}
        shown = {each.job.id: each for each in found.entries if each.position}
        assert len(told) == 3
        for number, latest in told.items():
            assert isinstance(latest, Waiting)
            assert shown[number].position == latest.position
            assert shown[number].eta == pytest.approx(latest.eta, abs=2)
        ends = sorted(each.eta or 0.0 for each in found.entries)
        assert ends == pytest.approx([10, 20, 30, 40, 40], abs=2)


async def test_where_no_process_serves_the_first_of_a_long_queue_are_put_in_order_and_all_counted(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PAGE", 1), ("SIMULATED", 2)):
        monkeypatch.setattr(f"bots.worker.queue_view.{name}", value)
    settings = replace(settings, data_dir=tmp_path)
    async with Storage.open(tmp_path) as storage:
        jobs = [await storage.jobs.add(new) for new in queued(*"abcd")]
        view = await load_queue(storage, settings)
    assert [each.job.id for each in view.entries] == [job.id for job in jobs[:2]]
    assert (view.running, view.waiting, view.hidden) == (0, 4, 2)


async def test_what_changed_since_it_was_told_is_shown_as_it_is(
    tmp_path: Path, settings: Settings
) -> None:
    settings, now = replace(settings, data_dir=tmp_path), time.time()
    async with Storage.open(tmp_path) as storage:
        jobs = [await storage.jobs.add(new) for new in queued(*"abcdef")]
        numbers = [job.id for job in jobs]
        ends = (now + 90, now + 10, now + 50, now + 30)
        places = [Place(numbers[n], 4 - n, ends[n]) for n in (0, 1, 2, 3)]
        await EngineBoard(settings, "a").show([], places)
        await storage.worker.claim(numbers[3])  # it was next
        await storage.jobs.cancel(numbers[1])
        whole = await load_queue(storage, settings)
        part = await load_queue(storage, settings, 3)
    listed = [(each.job.id, each.position) for each in whole.entries]
    assert listed == [(numbers[n], place) for n, place in ((3, 0), (2, 1), (0, 2), (4, 3), (5, 4))]
    told = [each.eta for each in whole.entries]
    assert told[:3] == pytest.approx([30, 50, 90], abs=5)
    assert told[3:] == [None, None]
    assert [each.job.id for each in part.entries] == [numbers[n] for n in (3, 2, 0)]
    assert (part.running, part.waiting, part.hidden, whole.hidden) == (1, 4, 2, 0)


async def test_of_several_processes_the_first_that_will_have_drawn_a_job_counts(
    settings: Settings, tmp_path: Path
) -> None:
    settings = replace(settings, data_dir=tmp_path)
    assert await load_places(settings) is None
    await EngineBoard(settings, "a").show([], [Place(1, 2, 50.0), Place(2, 1, None)])
    await EngineBoard(settings, "b").show([], [Place(1, 1, 70.0), Place(3, 0, 9.0)])
    found = await load_places(settings)
    assert sorted(found or []) == [Place(1, 1, 50.0), Place(2, 1, None), Place(3, 0, 9.0)]
