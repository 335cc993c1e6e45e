import asyncio
import signal
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from bots.operations.settings import Settings, load_settings
from bots.requests.studio import Asker
from bots.service.app import open_app, report_devices, watch_engine
from engine.check import device_trial
from engine.errors import UserError
from engine.events import Progress, Waiting
from engine.executors import Health
from engine.executors.base import end_task
from engine.executors.inprocess import InProcessExecutor
from engine.queue.estimates import SPEEDS
from engine.queue.queue import Queue
from engine.recipe.recipe import Recipe
from storage import NewJob, Status, Storage
from tests.conftest import PATIENCE
from tests.factories import make_recipe
from tests.fakes.broken_torch import HANGS, put_torch

WORDS = {"prompt": "a cat", "checkpoint": "tiny", "steps": 1}


@pytest.fixture
def settings(tmp_path: Path, models: Path) -> Settings:
    """Return the defaults, with a data folder of one's own and the tiny model."""
    settings = load_settings({"MARBLE_EXECUTOR": "inprocess"}, env_file="")
    return replace(settings, data_dir=tmp_path, models_dir=models)


def recipe() -> Recipe:
    return make_recipe(checkpoint="tiny", steps=1)


async def leave_jobs(folder: Path) -> list[int]:
    """Leave one job that a dead process ran and one that waits; return their numbers."""
    async with Storage.open(folder) as storage:
        new = NewJob(recipe=recipe(), person="discord:ada", place="discord")
        jobs = [await storage.jobs.add(new) for _ in range(2)]
        await storage.worker.claim(jobs[0].id)
        return [job.id for job in jobs]


async def test_a_serving_process_draws_what_others_left(settings: Settings) -> None:
    jobs = await leave_jobs(settings.data_dir)
    async with open_app(settings, serving=True) as app:
        for job in jobs:
            async for _ in app.worker.follow(job):
                pass
        done = [await app.storage.jobs.get(job) for job in jobs]
    assert [(job.status, job.attempts) for job in done] == [
        (Status.RENDERED, 2),
        (Status.RENDERED, 1),
    ]


async def test_a_terminal_leaves_the_jobs_of_others_alone(settings: Settings) -> None:
    [_, waiting] = await leave_jobs(settings.data_dir)
    async with open_app(settings) as app:
        assert [news async for news in app.worker.follow(waiting)] == []
        assert (await app.storage.jobs.get(waiting)).status is Status.QUEUED


async def test_the_queue_is_as_the_settings_say(settings: Settings) -> None:
    settings = replace(settings, waiting_per_person=1, moderators=frozenset({"discord:mod"}))
    async with open_app(settings) as app:
        app.worker.queue.pause("for a look")
        for person in ("discord:ada", "discord:mod"):
            await app.studio.imagine(WORDS, Asker(person=person, place="discord"))
        with pytest.raises(UserError, match="waiting, the most allowed"):
            await app.studio.imagine(WORDS, Asker(person="discord:ada", place="discord"))
        places = list(chain.from_iterable(app.worker.queue.forecast()))
    assert sorted((place.job, place.position) for place in places) == [(1, 2), (2, 1)]


async def test_what_was_drawn_before_tells_how_long_it_takes(settings: Settings) -> None:
    async with open_app(settings) as app:
        job = await app.studio.imagine(WORDS, Asker(person="terminal:ada", place="terminal"))
        async for _ in app.worker.follow(job.id):
            pass
    async with open_app(settings) as app:
        assert app.worker.queue.order.speeds.has_measured("tiny")


async def test_a_process_that_begins_during_a_pause_starts_nothing(settings: Settings) -> None:
    [_, waiting] = await leave_jobs(settings.data_dir)
    async with Storage.open(settings.data_dir) as storage:
        await storage.moderation.pause("Back at noon.", by="terminal:ada")
        async with open_app(settings, serving=True) as app:
            news = app.worker.follow(waiting)
            first = await anext(news)
            assert isinstance(first, Waiting)
            assert first.reason == "Back at noon."
            assert (app.worker.queue.order.waiting, app.worker.queue.order.running) == (2, 0)
            await storage.moderation.resume(by="terminal:ada")
            assert isinstance([each async for each in news][-1], Progress)
        assert (await storage.jobs.get(waiting)).status is Status.RENDERED


async def test_what_was_measured_is_remembered_stage_by_stage(settings: Settings) -> None:
    ada = Asker(person="terminal:ada", place="terminal")
    async with open_app(settings) as app:
        job = await app.studio.imagine(WORDS, ada)
        async for _ in app.worker.follow(job.id):
            pass
        measured = app.worker.queue.order.speeds.to_dict()
    assert [list(measured[name]) for name in SPEEDS] == [["tiny"]] * 3 + [[]]  # none was enlarged
    async with open_app(settings) as app:
        assert app.worker.queue.order.speeds.to_dict() == measured
    (settings.data_dir / "engine" / "speeds.json").write_text("[]")
    async with open_app(settings) as app:  # then it learns from the latest jobs
        assert app.worker.queue.order.speeds.has_measured("tiny")


async def test_a_part_that_fails_ends_the_process_loudly(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Queue) -> None:
        raise ArithmeticError("the order is lost")

    monkeypatch.setattr(Queue, "wants", broken)
    with pytest.raises(ExceptionGroup) as error:
        async with asyncio.timeout(PATIENCE), open_app(settings):
            await asyncio.Event().wait()
    assert error.group_contains(ArithmeticError)
    assert "marble-worker failed" in caplog.text


def test_an_engine_that_cannot_be_reached_pauses_the_queue_and_says_so() -> None:
    queue = Queue(lambda: 8)
    watch_engine(queue, Health(alive=False, waits="no machine has GPU: 1"))
    assert (
        queue.order.reason == "The machines that draw cannot be reached; jobs wait, and go on "
        "by themselves."
    )
    watch_engine(queue, Health(alive=True, waits=""))
    assert queue.order.reason is None
    watch_engine(queue, Health(alive=False))  # it has not been asked for yet
    assert queue.order.reason is None


async def test_a_terminal_is_told_why_no_engine_takes_its_jobs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Health(alive=False, waits="nothing that is Ray answers at head:6379")
    monkeypatch.setattr(InProcessExecutor, "health", lambda executor: away)
    async with open_app(settings) as app:
        job = await app.studio.imagine(WORDS, Asker(person="terminal:ada", place="terminal"))
        said: str | None = None
        async with asyncio.timeout(PATIENCE):
            async for news in app.worker.follow(job.id):
                said = news.reason if isinstance(news, Waiting) else said
                if said:
                    break
    assert said == (
        "No engine takes jobs yet (nothing that is Ray answers at head:6379); the job waits, and "
        "goes on by itself."
    )


async def test_a_device_that_is_not_there_is_told_at_the_start(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(PATIENCE):
        await report_devices(replace(settings, device="cpu:0,cpu:99999"))
    [record] = caplog.records
    assert record.message.startswith(
        "MARBLE_DEVICE: cpu:99999: There is no cpu:99999: this machine has "
    )


@pytest.mark.parametrize(
    ("device", "executor"), [("auto", "child"), ("cpu", "child"), ("cuda:7", "ray")]
)
async def test_no_process_is_started_for_devices_that_are_always_there(
    settings: Settings, device: str, executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncio.create_subprocess_exec", None)
    await report_devices(replace(settings, device=device, executor=executor))


async def test_devices_that_cannot_be_tried_are_one_line_and_no_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*arguments: object, **more: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("asyncio.create_subprocess_exec", fail)
    await report_devices(replace(settings, device="cuda:0", executor="child"))
    [record] = caplog.records
    assert record.message == (
        "MARBLE_DEVICE: cuda:0: The device cuda:0 could not be tried: [Errno 11] Resource "
        "temporarily unavailable."
    )


async def test_devices_that_do_not_answer_are_told_and_no_longer_waited_for(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put_torch(HANGS, tmp_path, monkeypatch)
    monkeypatch.setattr(device_trial, "LIMIT", 0.5)
    async with asyncio.timeout(PATIENCE):
        await report_devices(replace(settings, device="cuda:0,cuda:1", executor="child"))
    assert [record.message.partition(": leave")[0] for record in caplog.records] == [
        "MARBLE_DEVICE: cuda:0: The device cuda:0 did not answer within 0.5 s",
        "MARBLE_DEVICE: cuda:1: The device cuda:1 did not answer within 0.5 s",
    ]


async def test_a_trial_of_devices_that_is_cut_short_ends_its_process(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_torch(HANGS, tmp_path, monkeypatch)
    begun: asyncio.Queue[asyncio.subprocess.Process] = asyncio.Queue()
    begin = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **more: Any) -> asyncio.subprocess.Process:
        process = await begin(*arguments, **more)
        begun.put_nowait(process)
        return process

    monkeypatch.setattr("asyncio.create_subprocess_exec", noted)
    task = asyncio.create_task(
        report_devices(replace(settings, device="cuda:0", executor="child")), name="devices"
    )
    process = await begun.get()
    await end_task(task)
    assert process.returncode == -signal.SIGKILL
