import asyncio

import pytest

from bots.worker import UNEXPECTED, Feed
from engine.errors import BrokenModel
from engine.events import Progress, Stage
from storage import DatabaseFault, Job, Status, TooLate
from storage.errors import DiskFull
from tests.bots.conftest import ADA, House


def progress(step: int) -> Progress:
    return Progress(stage=Stage.DENOISE, step=step, total=9)


async def finish(house: House, job: Job) -> Job:
    """Wait until a job is over and return it as it then stands."""
    async for _ in house.worker.follow(job.id):
        pass
    return await house.storage.jobs.get(job.id)


async def test_a_job_becomes_pictures_and_a_reply_that_waits(house: House) -> None:
    job = await house.studio.imagine({"prompt": "a cat", "count": 3, "seed": 7}, ADA)
    done = await finish(house, job)
    assert done.status is Status.RENDERED
    assert [picture.name for picture in done.pictures] == ["1.1", "1.2", "1.3"]
    assert all(house.storage.pictures.path(picture).exists() for picture in done.pictures)
    assert [parcel.job.id for parcel in await house.storage.outbox.list_due(["terminal"])] == [1]


async def test_jobs_run_in_the_order_in_which_they_came(house: House) -> None:
    jobs = [await house.studio.imagine({"prompt": f"cat {n}"}, ADA) for n in range(3)]
    done = [await finish(house, job) for job in jobs]
    started = [job.started_at for job in done if job.started_at]
    assert len(started) == 3
    assert started == sorted(started)


async def test_a_reason_fit_for_people_is_kept_as_it_is(house: House) -> None:
    house.executor.error = BrokenModel("tiny", "unet: too short.")
    done = await finish(house, await house.studio.imagine({"prompt": "a cat"}, ADA))
    assert (done.status, done.error) == (Status.FAILED, str(house.executor.error))


async def test_an_unexpected_error_fails_the_job_without_its_inner_words(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.executor.error = RuntimeError("secret path")
    done = await finish(house, await house.studio.imagine({"prompt": "a cat"}, ADA))
    assert (done.status, done.error) == (Status.FAILED, UNEXPECTED)
    assert "secret path" in caplog.text


async def test_one_failure_does_not_stop_the_next_job(house: House) -> None:
    house.executor.error = RuntimeError("once")
    await finish(house, await house.studio.imagine({"prompt": "a cat"}, ADA))
    house.executor.error = None
    done = await finish(house, await house.studio.imagine({"prompt": "a dog"}, ADA))
    assert done.status is Status.RENDERED


async def test_a_running_job_is_cancelled_within_a_step(house: House) -> None:
    house.executor.gate.clear()
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    await house.executor.begun.wait()
    await house.studio.cancel(job.id)
    done = await finish(house, job)
    assert done.status is Status.CANCELLED
    assert not done.pictures


async def test_a_waiting_job_is_cancelled_before_it_starts(house: House) -> None:
    house.executor.gate.clear()
    await house.studio.imagine({"prompt": "a cat"}, ADA)
    waiting = await house.studio.imagine({"prompt": "a dog"}, ADA)
    await house.studio.cancel(waiting.id)
    house.executor.gate.set()
    done = await finish(house, waiting)
    assert (done.status, done.started_at) == (Status.CANCELLED, None)


async def test_it_is_too_late_to_cancel_what_is_there(house: House) -> None:
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    await finish(house, job)
    with pytest.raises(TooLate, match="too late"):
        await house.studio.cancel(job.id)


async def test_shutting_down_gives_the_job_back_without_burning_an_attempt(house: House) -> None:
    house.executor.gate.clear()
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    await house.executor.begun.wait()
    house.working.cancel()
    await asyncio.wait([house.working])
    back = await house.storage.jobs.get(job.id)
    assert (back.status, back.attempts) == (Status.QUEUED, 0)


async def test_a_database_fault_reaches_who_waits_and_the_next_job_is_drawn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: object, *_: object) -> Job:
        raise DiskFull("data/marble.db")

    with monkeypatch.context() as patch:
        patch.setattr(type(house.storage.jobs), "rendered", full)
        job = await house.studio.imagine({"prompt": "a cat"}, ADA)
        with pytest.raises(DatabaseFault, match="disk is full"):
            await finish(house, job)
    done = await finish(house, await house.studio.imagine({"prompt": "a dog"}, ADA))
    assert done.status is Status.RENDERED


async def test_who_follows_slowly_sees_the_latest_and_the_end() -> None:
    feed = Feed()
    for step in range(5):
        feed.publish(progress(step))
    following = feed.follow()
    assert await anext(following) == progress(4)
    feed.publish(progress(5))
    feed.close()
    assert [news async for news in following] == [progress(5)]


async def test_following_an_unknown_or_finished_job_ends_at_once(house: House) -> None:
    assert [news async for news in house.worker.follow(99)] == []
