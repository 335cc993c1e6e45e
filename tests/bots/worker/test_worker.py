import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from bots.requests.studio import Asker
from bots.worker import worker
from bots.worker.progress import JobNews
from bots.worker.worker import UNEXPECTED
from engine.errors import BrokenModel, Lost, OutOfMemory, UserError
from engine.events import Progress, Stage, Waiting
from engine.executors import Health
from engine.models.needs import needs_of
from engine.queue.engines import Facts
from engine.queue.queue import Queue
from storage import DatabaseFault, Job, NewJob, Status, Storage, TooLate
from storage.errors import DiskFull
from storage.jobs.jobs import Jobs
from storage.jobs.workers import Running, WorkerProcess
from tests.bots.conftest import ADA, LIMITS, House
from tests.conftest import PATIENCE
from tests.factories import make_recipe


def progress(step: int) -> Progress:
    return Progress(stage=Stage.DENOISE, step=step, total=9)


def asker(name: str) -> Asker:
    return Asker(person=f"terminal:{name}", place="terminal")


async def finish(house: House, job: Job) -> Job:
    """Wait until a job is over and return it as it then stands."""
    async for _ in house.worker.follow(job.id):
        pass
    return await house.storage.jobs.get(job.id)


async def until_idle(queue: Queue) -> None:
    """Wait until the queue has nothing waiting and nothing running."""
    while queue.order.running or queue.order.waiting:
        queue.changed.clear()
        await queue.changed.wait()


async def test_a_job_becomes_pictures_and_a_reply_that_waits(house: House) -> None:
    job = await house.studio.imagine({"prompt": "a cat", "count": 3, "seed": 7}, ADA)
    done = await finish(house, job)
    assert done.status is Status.RENDERED
    assert [picture.name for picture in done.pictures] == ["1.1", "1.2", "1.3"]
    assert all(house.storage.pictures.path(picture).exists() for picture in done.pictures)
    assert [pending.job.id for pending in await house.storage.outbox.list_due(["terminal"])] == [1]


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
    await house.worker.cancel(job.id)
    done = await finish(house, job)
    assert done.status is Status.CANCELLED
    assert not done.pictures


async def test_a_waiting_job_is_cancelled_before_it_starts(house: House) -> None:
    house.executor.gate.clear()
    await house.studio.imagine({"prompt": "a cat"}, ADA)
    waiting = await house.studio.imagine({"prompt": "a dog"}, ADA)
    await house.worker.cancel(waiting.id)
    house.executor.gate.set()
    done = await finish(house, waiting)
    assert (done.status, done.started_at) == (Status.CANCELLED, None)


async def test_a_persons_unfinished_jobs_are_known_with_their_latest_news(house: House) -> None:
    house.executor.gate.clear()
    one = await house.studio.imagine({"prompt": "a cat"}, ADA)
    two = await house.studio.imagine({"prompt": "a dog"}, ADA)
    await house.executor.begun.wait()
    (first, news), (second, _) = house.worker.unfinished(ADA.person)
    assert (first, second) == (one.id, two.id)
    assert news == Progress(stage=Stage.DENOISE, step=0, total=one.recipe.steps)
    assert house.worker.unfinished("terminal:eve") == []
    await house.worker.cancel(two.id)
    assert [job for job, _ in house.worker.unfinished(ADA.person)] == [one.id]
    house.executor.gate.set()
    await finish(house, one)
    assert house.worker.unfinished(ADA.person) == []


async def test_it_is_too_late_to_cancel_what_is_there(house: House) -> None:
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    await finish(house, job)
    with pytest.raises(TooLate, match="too late"):
        await house.worker.cancel(job.id)


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
    assert (await house.storage.jobs.get(job.id)).status is Status.RUNNING
    await house.worker.stop_ended()
    await house.worker.take_in()
    again = await finish(house, job)
    assert (again.status, again.attempts) == (Status.RENDERED, 1), "it was not drawn in the end"


async def test_who_follows_slowly_sees_the_latest_and_the_end() -> None:
    feed = JobNews()
    for step in range(5):
        feed.publish(progress(step))
    following = feed.follow()
    assert await anext(following) == progress(4)
    feed.publish(progress(5))
    feed.close()
    assert [news async for news in following] == [progress(5)]


async def test_following_an_unknown_or_finished_job_ends_at_once(house: House) -> None:
    assert [news async for news in house.worker.follow(99)] == []


async def test_as_many_jobs_run_at_once_as_the_executor_has_slots(house: House) -> None:
    house.executor.gate.clear()
    house.executor.slots = 2
    jobs = [await house.studio.imagine({"prompt": "a cat"}, asker(f"{n}")) for n in range(3)]
    await house.executor.full.wait()
    assert (house.worker.queue.order.running, house.worker.queue.order.waiting) == (2, 1)
    house.executor.gate.set()
    assert {(await finish(house, job)).status for job in jobs} == {Status.RENDERED}
    assert house.executor.most == 2


async def test_a_job_waits_in_line_until_the_engine_is_ready(house: House) -> None:
    await asyncio.sleep(0)
    assert not house.executor.wanted.is_set(), "an engine was started for nobody"
    house.executor.made.clear()
    first, second = [await house.studio.imagine({"prompt": "a cat"}, ADA) for _ in range(2)]
    async with asyncio.timeout(PATIENCE):
        await house.executor.wanted.wait()
    assert (house.worker.queue.order.waiting, house.worker.queue.order.running) == (2, 0)
    await house.worker.cancel(first.id)
    house.executor.made.set()
    assert (await finish(house, second)).status is Status.RENDERED
    assert [spec.job for spec in house.executor.specs] == [second.id]


async def test_who_is_cancelled_while_the_engine_is_made_leaves_the_worker_waiting(
    house: House,
) -> None:
    house.executor.made.clear()
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    async with asyncio.timeout(PATIENCE):
        await house.executor.wanted.wait()
    await house.worker.cancel(job.id)
    house.executor.made.set()
    done = await finish(house, await house.studio.imagine({"prompt": "a dog"}, ADA))
    assert done.status is Status.RENDERED


async def test_nobody_waits_behind_anothers_backlog(house: House) -> None:
    house.executor.gate.clear()
    backlog = [await house.studio.imagine({"prompt": "a cat"}, ADA) for _ in range(5)]
    mine = await house.studio.imagine({"prompt": "a dog"}, asker("bob"))
    house.executor.gate.set()
    done = [await finish(house, job) for job in (backlog[0], mine, *backlog[1:])]
    started = [job.started_at for job in done if job.started_at]
    assert started == sorted(started)


async def test_who_waits_is_told_their_place_until_the_job_begins(house: House) -> None:
    house.executor.gate.clear()
    await house.studio.imagine({"prompt": "a cat"}, ADA)
    await house.executor.begun.wait()
    waiting = await house.studio.imagine({"prompt": "a dog"}, ADA)
    news = house.worker.follow(waiting.id)
    assert await anext(news) == Waiting(position=1)
    house.worker.queue.pause("Back at noon.")
    assert await anext(news) == Waiting(position=1, reason="Back at noon.")
    house.worker.queue.resume()
    house.executor.gate.set()
    assert [type(each) for each in [each async for each in news]][-1] is Progress


async def test_a_refused_job_is_never_written(house: House) -> None:
    house.executor.gate.clear()
    for _ in range(1 + LIMITS.waiting):
        job = await house.studio.imagine({"prompt": "a cat"}, ADA)
        await house.executor.begun.wait()
    with pytest.raises(UserError, match="waiting, the most allowed"):
        await house.studio.imagine({"prompt": "one too many"}, ADA)
    assert (await house.storage.history.page(limit=1))[0].id == job.id
    await house.studio.imagine({"prompt": "a dog"}, asker("bob"))


async def test_a_job_that_another_process_took_is_followed_to_its_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.worker.worker.WATCH", 0)
    house.worker.queue.pause("until the other has it")
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    async with Storage.open(house.storage.pictures.folder.parent) as other:
        assert await other.worker.claim(job.id)
        finishing = asyncio.create_task(finish(house, job), name="finish")
        house.worker.queue.resume()
        await until_idle(house.worker.queue)
        await other.jobs.rendered(job.id, 1, [])
        assert (await finishing).status is Status.RENDERED


async def test_what_waits_here_while_another_process_draws_it_has_no_place_until_it_is_given_back(
    house: House,
) -> None:
    queue, worker = house.worker.queue, house.worker
    queue.pause("until the other has it")
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    async with Storage.open(house.storage.pictures.folder.parent) as other:
        assert await other.worker.claim(job.id)
        await worker.stop_ended()
        later = await house.studio.imagine({"prompt": "a cat"}, ADA)
        assert isinstance(await anext(worker.follow(later.id)), Waiting)  # places were published
        assert dict(worker.unfinished(ADA.person))[job.id] == Waiting(position=0)
        await other.jobs.release(job.id, 1)
        await worker.stop_ended()
        await house.studio.imagine({"prompt": "a cat"}, ADA)
        async for news in worker.follow(job.id):
            if isinstance(news, Waiting) and news.position == 1:
                break
        assert await other.worker.claim(job.id)
        await worker.stop_ended()
        await other.jobs.rendered(job.id, 2, [])
        await worker.stop_ended()
        assert (await finish(house, job)).status is Status.RENDERED
    assert not queue.order.is_waiting(job.id)
    assert queue.order.is_waiting(later.id)


async def test_what_other_processes_run_counts_for_a_persons_limit(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.worker.worker.WATCH", 0)
    house.worker.most, queue = LIMITS.running, house.worker.queue
    queue.pause("until the others have two")
    jobs = [await house.studio.imagine({"prompt": f"cat {n}"}, ADA) for n in range(3)]
    async with Storage.open(house.storage.pictures.folder.parent) as other:
        for job in jobs[:2]:
            assert await other.worker.claim(job.id)
            queue.cancel(job.id)
        queue.resume()
        async with asyncio.timeout(PATIENCE):
            # Until its claim was refused, and it waits again.
            while not (queue.order.people.elsewhere and queue.order.is_waiting(jobs[2].id)):
                queue.changed.clear()
                await queue.changed.wait()
        dog = await house.studio.imagine({"prompt": "a dog"}, asker("bob"))
        await finish(house, dog)
        assert [spec.job for spec in house.executor.specs] == [dog.id]
        assert queue.order.is_waiting(jobs[2].id)
        await other.jobs.rendered(jobs[0].id, 1, [])
        await house.worker.look_elsewhere()
        assert (await finish(house, jobs[2])).status is Status.RENDERED


async def refused(house: House, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Job], list[int]]:
    """Return two jobs that run in the database alone and a third that was refused, and claims."""
    claims: list[int] = []
    claim, tried = WorkerProcess.claim, asyncio.Event()

    async def count(self: WorkerProcess, job: int, most: int | None = None) -> Job | None:
        claims.append(job)
        try:
            return await claim(self, job, most)
        finally:
            tried.set()

    house.worker.most, house.executor.slots = LIMITS.running, 3
    house.worker.queue.pause("until two are claimed")
    jobs = [await house.studio.imagine({"prompt": "a cat"}, ADA) for _ in range(3)]
    for job in jobs[:2]:
        house.worker.queue.cancel(job.id)
        assert await house.storage.worker.claim(job.id)  # whose answer is lost
    monkeypatch.setattr(WorkerProcess, "claim", count)
    house.worker.queue.resume()
    async with asyncio.timeout(PATIENCE):
        await tried.wait()
    for _ in range(50):  # as long as many claims take
        await house.storage.jobs.get(jobs[2].id)
    return jobs, claims


async def test_a_job_that_ours_in_the_database_alone_hold_up_is_claimed_once_they_are_given_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.worker.worker.WATCH", 0)
    (*unknown, job), claims = await refused(house, monkeypatch)
    assert claims == [job.id]
    assert house.worker.queue.order.is_waiting(job.id)
    await house.worker.stop_ended()
    found = [await house.storage.jobs.get(each.id) for each in unknown]
    assert [(each.status, each.attempts) for each in found] == [(Status.QUEUED, 0)] * 2
    await house.worker.look_elsewhere()
    assert (await finish(house, job)).status is Status.RENDERED
    assert claims == [job.id, job.id]


async def test_a_refused_job_is_not_claimed_at_once_where_the_count_of_others_fails(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(self: WorkerProcess) -> tuple[Running, ...]:
        raise DiskFull("data/marble.db")

    monkeypatch.setattr("bots.worker.worker.WATCH", 3600)
    monkeypatch.setattr(WorkerProcess, "running", full)
    (*_, job), claims = await refused(house, monkeypatch)
    assert claims == [job.id]
    assert "what other processes run could not be counted" in caplog.text
    assert job.id in house.worker._news, "who waits was told of a failure"


async def test_what_ended_while_the_database_was_asked_is_not_counted_as_elsewhere(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, asked, answer = WorkerProcess.running, asyncio.Event(), asyncio.Event()

    async def slow(self: WorkerProcess) -> tuple[Running, ...]:
        found = await running(self)
        asked.set()
        await answer.wait()
        return found

    monkeypatch.setattr(WorkerProcess, "running", slow)
    house.worker.most = 1
    house.executor.gate.clear()
    first = await house.studio.imagine({"prompt": "a cat"}, ADA)
    await house.executor.begun.wait()
    looking = asyncio.create_task(house.worker.look_elsewhere(), name="look")
    await asked.wait()
    house.executor.gate.set()
    await finish(house, first)
    answer.set()
    await looking
    assert house.worker.queue.order.people.elsewhere == {}


async def test_a_job_that_another_process_gives_back_is_drawn_here(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.worker.worker.WATCH", 0)
    house.worker.queue.pause("until the other has it")
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    async with Storage.open(house.storage.pictures.folder.parent) as other:
        assert await other.worker.claim(job.id)
        house.worker.queue.resume()
        await until_idle(house.worker.queue)
        await other.jobs.release(job.id, 1)
        done = await finish(house, job)
    assert (done.status, done.epoch) == (Status.RENDERED, 2)


async def test_a_job_that_another_process_died_with_while_it_waited_here_is_drawn_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back_or_begun = house.executor.full
    release = Jobs.release

    async def tell(self: Jobs, job: int, epoch: int) -> Job:
        back = await release(self, job, epoch)
        given_back_or_begun.set()
        return back

    monkeypatch.setattr(Jobs, "release", tell)
    house.executor.slots = 2
    house.executor.gate.clear()
    first = await house.studio.imagine({"prompt": "a cat"}, ADA)
    await house.executor.begun.wait()
    house.worker.queue.pause("until the other has died with it")
    suspect = await house.studio.imagine({"prompt": "a dog"}, ADA)
    async with Storage.open(house.storage.pictures.folder.parent) as other:
        assert await other.worker.claim(suspect.id)
        await other.jobs.lost(suspect.id, 1)
    house.worker.queue.resume()
    async with asyncio.timeout(PATIENCE):
        await given_back_or_begun.wait()
        house.executor.gate.set()
        done = [await finish(house, job) for job in (first, suspect)]
    assert [(job.status, job.attempts) for job in done] == [(Status.RENDERED, 1)] * 2
    assert house.executor.most == 1
    assert [spec.alone for spec in house.executor.specs] == [False, True]


async def test_what_waits_in_the_database_is_taken_in_once(house: House) -> None:
    house.worker.queue.pause("until all are there")
    mine = await house.studio.imagine({"prompt": "a cat"}, ADA)
    new = [NewJob(recipe=mine.recipe, person=f"discord:{n}", place="discord") for n in range(120)]
    jobs = await asyncio.gather(*(house.storage.jobs.add(each) for each in new))
    await house.worker.take_in()
    await house.worker.take_in()
    assert house.worker.queue.order.waiting == 121
    house.worker.queue.resume()
    assert {(await finish(house, job)).status for job in (mine, *jobs)} == {Status.RENDERED}


async def test_a_claim_cut_short_by_the_end_is_given_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed, let_go = asyncio.Event(), asyncio.Event()
    claim = WorkerProcess.claim

    async def slow(self: WorkerProcess, job: int, most: int | None = None) -> Job | None:
        found = await claim(self, job, most)
        claimed.set()
        await let_go.wait()
        return found

    monkeypatch.setattr(WorkerProcess, "claim", slow)
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    await claimed.wait()
    house.working.cancel()
    await asyncio.sleep(0)
    let_go.set()
    await asyncio.wait([house.working])
    back = await house.storage.jobs.get(job.id)
    assert (back.status, back.attempts) == (Status.QUEUED, 0)


async def test_a_job_cancelled_before_the_engine_knew_it_stops_at_its_first_word(
    house: House,
) -> None:
    house.executor.deaf = True
    house.executor.gate.clear()
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    await house.executor.begun.wait()
    await house.worker.cancel(job.id)
    house.executor.gate.set()
    assert (await finish(house, job)).status is Status.CANCELLED
    assert house.executor.finished == 0


async def test_who_follows_is_let_go_at_the_end(house: House) -> None:
    house.executor.gate.clear()
    jobs = [await house.studio.imagine({"prompt": "a cat"}, ADA) for _ in range(2)]
    following = [asyncio.create_task(finish(house, job), name="finish") for job in jobs]
    await house.executor.begun.wait()
    house.working.cancel()
    assert [(await each).status for each in following] == [Status.QUEUED, Status.QUEUED]


async def test_a_job_whose_engine_died_is_tried_again_alone(house: House) -> None:
    house.executor.errors = [Lost("killed by signal 9")]
    done = await finish(house, await house.studio.imagine({"prompt": "a cat"}, ADA))
    assert (done.status, done.epoch) == (Status.RENDERED, 2)
    assert [spec.alone for spec in house.executor.specs] == [False, True]


async def test_a_job_that_lost_its_machine_is_tried_again_and_nobody_suspects_it(
    house: House,
) -> None:
    house.executor.errors = [Lost("its machine left", alone=True, outside=True)] * 4
    done = await finish(house, await house.studio.imagine({"prompt": "a cat"}, ADA))
    assert (done.status, done.epoch, done.attempts, done.suspect) == (Status.RENDERED, 5, 1, False)
    assert not any(spec.alone for spec in house.executor.specs)


@pytest.mark.parametrize(("alone", "deaths"), [(True, 3), (False, 4)])
async def test_a_job_that_kills_its_engine_each_time_is_quarantined(
    house: House, alone: bool, deaths: int
) -> None:
    house.executor.error = Lost("killed by signal 9", alone=alone)
    done = await finish(house, await house.studio.imagine({"prompt": "a cat"}, ADA))
    assert done.status is Status.FAILED
    assert "3 times" in (done.error or "")
    assert len(house.executor.specs) == deaths


async def test_who_follows_a_job_that_is_submitted_twice_sees_its_end(house: House) -> None:
    house.worker.queue.pause("until somebody follows")
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    news = house.worker.follow(job.id)
    assert isinstance(await anext(news), Waiting)
    house.worker.submit(job)
    house.worker.queue.resume()
    async with asyncio.timeout(PATIENCE):
        assert isinstance([each async for each in news][-1], Progress)


async def test_only_what_was_drawn_teaches_how_long_it_takes(house: House) -> None:
    house.executor.errors = [RuntimeError("once")]
    await finish(house, await house.studio.imagine({"prompt": "a cat"}, ADA))
    assert not house.worker.queue.order.speeds.has_measured("starter")
    await finish(house, await house.studio.imagine({"prompt": "a cat"}, ADA))
    assert house.worker.queue.order.speeds.has_measured("starter")


async def test_a_job_begins_when_its_model_is_there(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, bool]] = []

    def note(job: int, *, loaded: bool) -> None:
        begun.append((job, loaded))

    monkeypatch.setattr(house.worker.queue, "drawing_began", note)
    for loads in (True, False):
        house.executor.loads = loads
        await finish(house, await house.studio.imagine({"prompt": "a cat"}, ADA))
    assert begun == [(1, True), (2, False)]


async def test_waiting_for_a_second_model_is_told_to_the_queue(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[int] = []
    monkeypatch.setattr(house.worker.queue, "loading_began", began.append)
    stages = (None, Stage.LOAD, Stage.DENOISE, Stage.LOAD, Stage.DENOISE, Stage.DECODE)
    for before, now in pairwise(stages):
        house.worker._note_stage(7, before, 0.0, now)
    assert began == [7]


async def test_a_job_is_stored_with_the_kind_of_device_that_drew_it_and_a_new_kind_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new = NewJob(recipe=make_recipe(checkpoint="starter"), person="a:b", place="terminal")
    for parent, kind in ((None, "old"), (1, "new")):
        health = Health(alive=True, kind=kind)
        monkeypatch.setattr(house.executor, "health", lambda told=health: told)
        job = await house.storage.jobs.add(replace(new, parent=parent))
        house.worker.submit(job)
        assert (await finish(house, job)).device == kind
    assert "job 2: new drew it, since old is not there" in caplog.text


async def wanting(house: House, kind: str) -> Job:
    """Submit a job that is made from one that a kind of device drew."""
    new = NewJob(recipe=make_recipe(checkpoint="starter"), person="a:b", place="terminal")
    job = await house.storage.jobs.add(new)
    house.worker.submit(replace(job, device=kind))
    return job


async def test_a_job_that_wants_a_kind_waits_for_an_engine_that_may_be_of_it(house: House) -> None:
    note, order = house.worker._note_engine, house.worker.queue.order
    note("a", Health(alive=False, slots=2))
    note("b", Health(alive=False, slots=2))
    job = await wanting(house, "B")
    assert order.demand == 1
    note("a", Health(alive=True, slots=2, kind="A"))
    assert order.choose(0.0, 0) is None
    assert order.demand == 2
    note("b", Health(alive=True, slots=2, kind="B"))
    await finish(house, job)
    assert [spec.engine for spec in house.executor.specs] == ["b"]


@pytest.mark.parametrize("told", [{"failing": True}, {"fault": "x"}, {"waits": "x"}, {"kind": "C"}])
async def test_a_job_does_not_wait_for_an_engine_that_does_not_start_or_is_of_another_kind(
    house: House, told: dict[str, Any]
) -> None:
    note, order = house.worker._note_engine, house.worker.queue.order
    note("a", Health(alive=True, slots=2, kind="A"))
    note("b", Health(alive=False, slots=2))
    job = await wanting(house, "B")
    assert order.choose(0.0, 0) is None
    note("b", Health(alive=False, slots=2, **told))
    await finish(house, job)
    assert [spec.engine for spec in house.executor.specs] == ["a"]


async def test_a_job_whose_files_no_engine_has_waits_with_a_reason_and_ends_with_their_names(
    house: House,
) -> None:
    queue = house.worker.queue
    queue.put("a", Facts(slots=1, has=frozenset()))
    queue.put("b", Facts(slots=1, has=frozenset(), alive=False))
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    async for news in house.worker.follow(job.id):
        assert isinstance(news, Waiting)
        assert news.reason
        assert news.reason.endswith("one that is away may have it.")
        break
    queue.put("b", Facts(slots=1, has=frozenset()))
    ended = await finish(house, job)
    [missing] = needs_of(job.recipe)
    told = f"No machine that draws has {missing}; the owner can copy it to one."
    assert (ended.status, ended.error, house.executor.specs) == (Status.FAILED, told, [])


async def test_a_model_that_does_not_fit_on_an_engine_is_remembered(house: House) -> None:
    for name in "ab":
        house.worker.queue.put(name, Facts(slots=1))
    house.executor.loads = True
    house.executor.unloadable.append(OutOfMemory("no memory"))
    for _ in range(2):
        done = await finish(house, await house.studio.imagine({"prompt": "a cat"}, ADA))
        assert done.status is Status.RENDERED
    tried, *drew = [spec.engine for spec in house.executor.specs]
    assert tried not in drew
    assert len(drew) == 2


async def test_an_engine_that_died_has_to_load_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    cooled: list[int] = []
    monkeypatch.setattr(house.worker.queue.order, "lost", cooled.append)
    house.executor.errors = [Lost("killed by signal 9")]
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    await finish(house, job)
    assert cooled == [job.id]


async def test_what_another_process_cancelled_or_forgot_is_stopped_here(house: House) -> None:
    house.executor.gate.clear()
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    await house.executor.begun.wait()
    await house.worker.stop_ended()
    assert house.executor.cancelled == set()
    async with Storage.open(house.storage.pictures.folder.parent) as other:
        await other.jobs.cancel(job.id)
        await house.worker.stop_ended()
        assert (await finish(house, job)).status is Status.CANCELLED
        house.executor.begun.clear()
        gone = await house.studio.imagine({"prompt": "a dog"}, ADA)
        await house.executor.begun.wait()
        await other.privacy.forget(ADA.person)
    await house.worker.stop_ended()
    async for _ in house.worker.follow(gone.id):
        pass
    await until_idle(house.worker.queue)
    assert house.executor.cancelled == {(job.id, 1), (gone.id, 1)}
    assert house.executor.finished == 0


async def test_a_job_that_was_forgotten_while_it_waited_is_no_trouble(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.worker.queue.pause("until it is forgotten")
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    await house.storage.privacy.forget(ADA.person)
    house.worker.queue.resume()
    async for _ in house.worker.follow(job.id):
        pass
    await until_idle(house.worker.queue)
    assert "Traceback" not in caplog.text


async def test_a_job_put_ahead_here_or_by_another_process_is_drawn_next(house: House) -> None:
    house.executor.gate.clear()
    jobs = [await house.studio.imagine({"prompt": f"cat {n}"}, ADA) for n in range(4)]
    await house.executor.begun.wait()
    await house.worker.put_ahead(jobs[3].id, by="terminal:owner")
    await house.storage.jobs.put_ahead(jobs[2].id, by="terminal:owner")  # as another process does
    await house.worker.look_ahead()
    house.executor.gate.set()
    for job in jobs:
        await finish(house, job)
    drawn = [spec.job for spec in house.executor.specs]
    assert drawn[0] == jobs[0].id
    assert drawn[1] == jobs[3].id
    assert drawn.index(jobs[2].id) < drawn.index(jobs[1].id)


FOUR = {"prompt": "a cat", "count": 4, "seed": 7, "best": True}


async def test_the_best_match_comes_first_and_no_other_job_waits_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    compared: list[tuple[str, Sequence[bytes]]] = []

    async def match(prompt: str, files: Sequence[bytes]) -> list[float]:
        compared.append((prompt, files))
        asked.set()
        await go_on.wait()
        return [0.1, 0.3, 0.4, 0.2]

    monkeypatch.setattr(house.worker, "_match", match)
    best = await house.studio.imagine(FOUR, ADA)
    await asked.wait()
    other = await house.studio.imagine({"prompt": "a dog", "count": 2}, asker("bo"))
    assert (await finish(house, other)).status is Status.RENDERED  # the engine has one slot
    assert (await house.storage.jobs.get(best.id)).status is Status.RUNNING
    go_on.set()
    done = await finish(house, best)
    assert [each.name for each in done.pictures] == ["1.3", "1.2", "1.4", "1.1"]
    [(prompt, files)] = compared
    assert prompt == "a cat"
    assert [house.storage.pictures.read(each) for each in done.pictures] == [
        files[each.index] for each in done.pictures
    ]
    assert await house.storage.jobs.get(best.id) == done


@pytest.mark.parametrize("hangs", [False, True])
async def test_where_nothing_compares_pictures_they_stay_as_they_were_drawn(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, hangs: bool
) -> None:
    async def match(prompt: str, files: Sequence[bytes]) -> list[float]:
        if hangs:
            await asyncio.Event().wait()
        raise UserError("The model fails.")

    monkeypatch.setattr(worker, "MATCHING", 0.01)
    monkeypatch.setattr(house.worker, "_match", match)
    done = await finish(house, await house.studio.imagine(FOUR, ADA))
    assert done.status is Status.RENDERED
    assert [(each.index, each.match) for each in done.pictures] == [(n, None) for n in range(4)]
    assert ("it took too long" if hangs else "The model fails.") in caplog.text


async def test_a_job_is_cancelled_while_its_best_picture_is_found(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def match(prompt: str, files: Sequence[bytes]) -> list[float]:
        asked.set()
        await go_on.wait()
        return [0.0] * len(files)

    monkeypatch.setattr(house.worker, "_match", match)
    job = await house.studio.imagine(FOUR, ADA)
    await asked.wait()
    await house.worker.cancel(job.id)
    go_on.set()
    done = await finish(house, job)
    assert (done.status, done.pictures) == (Status.CANCELLED, ())
