"""Jobs: added, claimed, finished and found again."""

import asyncio
from collections import Counter
from dataclasses import replace
from threading import Event

import pytest
from sqlalchemy import update

from engine.errors import BrokenModel
from engine.recipe.recipe import VERSION
from engine.sentences import Sentence
from storage import IllegalStep, StaleEpoch, Status, Storage, TooLate, UnknownJob
from storage.database import schema
from storage.database.tables import jobs
from storage.errors import DiskFull, NotWaiting, UnreadableRecipe
from storage.jobs.picture_files import Pictures
from tests.conftest import PATIENCE
from tests.factories import add_claimed
from tests.storage.conftest import Home, a_job, a_recipe, drawn

PNGS = (b"one", b"two", b"three", b"four")


async def test_an_added_job_is_there_after_a_restart(home: Home) -> None:
    async with home.open() as storage:
        added = await storage.jobs.add(a_job("大理石学者", reply={"token": "t", "deep": [1]}))
    async with home.open() as storage:
        assert await storage.jobs.get(added.id) == added
    assert added.status is Status.QUEUED
    assert added.recipe.prompt == "大理石学者"
    assert added.reply == {"token": "t", "deep": [1]}


async def test_a_seed_of_64_bits_survives(storage: Storage) -> None:
    seed = 2**64 - 1
    job = await add_claimed(storage, a_job(recipe=a_recipe(seed=seed)))
    done = await storage.jobs.rendered(job.id, job.epoch, drawn())
    assert (await storage.jobs.get(job.id)).recipe.seed == done.pictures[0].seed == seed


async def test_the_way_of_a_job_to_its_reply(storage: Storage) -> None:
    job = await storage.jobs.add(a_job())
    running = await storage.worker.claim(job.id)
    assert running is not None
    assert (running.status, running.epoch, running.attempts) == (Status.RUNNING, 1, 1)
    rendered = await storage.jobs.rendered(job.id, 1, drawn(b"one", b"two"))
    assert rendered.status is Status.RENDERED
    assert [picture.name for picture in rendered.pictures] == ["1.1", "1.2"]
    [pending] = await storage.outbox.list_due(["terminal"])
    assert (pending.job, pending.outcome) == (rendered, Status.RENDERED)
    delivered = await storage.jobs.delivered(job.id, {"terminal/7": 1})
    assert delivered.status is Status.DELIVERED
    assert await storage.outbox.list_due(["terminal"]) == ()
    assert await storage.jobs.by_message("terminal/7") == (delivered, 1)


async def test_a_queued_job_is_claimed_once(storage: Storage) -> None:
    job = await storage.jobs.add(a_job())
    assert await storage.worker.claim(job.id)
    assert await storage.worker.claim(job.id) is None
    assert await storage.worker.claim(99) is None


async def test_a_job_born_running_is_never_listed(storage: Storage) -> None:
    job = await add_claimed(storage, a_job())
    assert (job.status, job.epoch) == (Status.RUNNING, 1)
    assert await storage.jobs.list_queued() == ()


async def test_the_queue_is_listed_in_pages_oldest_first(storage: Storage) -> None:
    ids = [(await storage.jobs.add(a_job())).id for _ in range(5)]
    first = await storage.jobs.list_queued(limit=3)
    rest = await storage.jobs.list_queued(after=first[-1].id)
    assert [job.id for job in (*first, *rest)] == ids


async def test_a_worker_of_the_past_cannot_write(storage: Storage) -> None:
    job = await add_claimed(storage, a_job())
    await storage.jobs.release(job.id, job.epoch)
    again = await storage.worker.claim(job.id)
    assert again is not None
    with pytest.raises(StaleEpoch, match=f"Job {job.id} was taken over"):
        await storage.jobs.rendered(job.id, job.epoch, drawn())
    with pytest.raises(StaleEpoch):
        await storage.jobs.failed(job.id, job.epoch, "late")
    assert (await storage.jobs.get(job.id)).status is Status.RUNNING
    assert again.attempts == 1  # a release burns none


async def test_a_failure_puts_its_reason_into_the_outbox(storage: Storage) -> None:
    job = await add_claimed(storage, a_job())
    await storage.jobs.failed(job.id, job.epoch, "The model is broken.")
    [pending] = await storage.outbox.list_due(["terminal"])
    assert (pending.outcome, pending.job.error) == (Status.FAILED, "The model is broken.")
    assert (await storage.jobs.delivered(job.id)).status is Status.FAILED
    assert await storage.outbox.list_due(["terminal"]) == ()


async def test_a_reason_is_kept_with_what_other_languages_need_to_say_it(storage: Storage) -> None:
    job = await add_claimed(storage, a_job())
    await storage.jobs.failed(job.id, job.epoch, BrokenModel("x", "torn.").said)
    [pending] = await storage.outbox.list_due(["terminal"])
    assert isinstance(pending.job.error, Sentence)
    assert pending.job.error.code == "broken_model"
    assert pending.job.error.facts == {"name": "x", "reason": "torn."}


async def test_cancelling(storage: Storage) -> None:
    waiting = await storage.jobs.add(a_job())
    running = await add_claimed(storage, a_job())
    done = await add_claimed(storage, a_job())
    await storage.jobs.rendered(done.id, done.epoch, drawn())
    for job in (waiting, running, running):  # twice is once
        assert (await storage.jobs.cancel(job.id)).status is Status.CANCELLED
    with pytest.raises(TooLate, match=f"too late: job {done.id} has already ended"):
        await storage.jobs.cancel(done.id)
    with pytest.raises(IllegalStep):
        await storage.jobs.rendered(running.id, running.epoch, drawn())
    assert await storage.worker.claim(waiting.id) is None


async def test_what_an_owner_put_ahead_stays_so_and_is_logged_once(home: Home) -> None:
    async with home.open() as storage:
        jobs = [await storage.jobs.add(a_job(person="x:ada", place="x:1")) for _ in range(3)]
        for _ in range(2):
            await storage.jobs.put_ahead(jobs[2].id, by="x:owner")
    async with home.open() as storage:
        assert [job.ahead for job in await storage.jobs.list_queued()] == [False, False, True]
        assert await storage.jobs.list_ahead() == (jobs[2].id,)
        [act] = await storage.moderation.acts()
        assert (act.by, act.act, act.target, act.place) == ("x:owner", "ahead", "x:ada", "x:1")
        assert act.detail == {"job": jobs[2].id}
        claimed = await storage.worker.claim(jobs[2].id)
        assert claimed
        assert await storage.jobs.list_ahead() == ()
        await storage.jobs.release(claimed.id, claimed.epoch)
        assert await storage.jobs.list_ahead() == (jobs[2].id,)


async def test_only_what_waits_is_put_ahead(storage: Storage) -> None:
    running = await add_claimed(storage, a_job())
    with pytest.raises(NotWaiting, match=f"Job {running.id} does not wait any more"):
        await storage.jobs.put_ahead(running.id, by="x:owner")
    with pytest.raises(UnknownJob):
        await storage.jobs.put_ahead(99, by="x:owner")
    assert await storage.moderation.acts() == ()


async def test_reporting_twice_is_once(storage: Storage) -> None:
    job = await add_claimed(storage, a_job())
    first = await storage.jobs.rendered(job.id, job.epoch, drawn())
    assert await storage.jobs.rendered(job.id, job.epoch, drawn()) == first
    await storage.jobs.delivered(job.id)
    await storage.jobs.delivered(job.id)
    assert len(await storage.outbox.list_due(["terminal"])) == 0


async def test_the_same_event_makes_one_job(storage: Storage) -> None:
    first = await storage.jobs.add(a_job(event="telegram:update:7"))
    again = await storage.jobs.add(a_job("something else", event="telegram:update:7"))
    other = await storage.jobs.add(a_job(event="telegram:update:8"))
    assert again == first
    assert other.id != first.id


async def test_a_placeholder_finds_its_job(storage: Storage) -> None:
    job = await storage.jobs.add(a_job())
    shown = await storage.jobs.acknowledged(job.id, "discord:1/2")
    assert shown.message == "discord:1/2"
    assert await storage.jobs.by_message("discord:1/2") == (shown, None)
    assert await storage.jobs.by_message("discord:1/3") is None


async def test_an_unknown_job_is_named(storage: Storage) -> None:
    with pytest.raises(UnknownJob, match="There is no job 12"):
        await storage.jobs.get(12)
    with pytest.raises(UnknownJob):
        await storage.jobs.cancel(12)


async def test_history_pages_from_the_newest(storage: Storage) -> None:
    ids = [(await storage.jobs.add(a_job())).id for _ in range(5)]
    other = await storage.jobs.add(a_job(person="terminal:bob"))
    first = await storage.history.page(person="terminal:ada", limit=2)
    rest = await storage.history.page(person="terminal:ada", before=first[-1].id)
    assert [job.id for job in (*first, *rest)] == ids[::-1]
    assert [job.id for job in await storage.history.page(limit=1)] == [other.id]


async def test_pictures_are_files_named_by_their_content(storage: Storage) -> None:
    job = await add_claimed(storage, a_job())
    done = await storage.jobs.rendered(job.id, job.epoch, drawn(b"same", b"same"))
    one, two = done.pictures
    assert storage.pictures.path(one) == storage.pictures.path(two)
    assert storage.pictures.read(one) == b"same"
    assert [path.name for path in storage.pictures.folder.rglob("*.*")] == [f"{one.sha256}.png"]


async def test_a_living_process_keeps_its_jobs_and_a_gone_one_does_not(home: Home) -> None:
    async with home.open() as mine:
        async with home.open() as other:
            job = await add_claimed(other, a_job())
            assert await mine.worker.requeue_lost() == ()
            assert (await mine.jobs.get(job.id)).status is Status.RUNNING
        [lost] = await mine.worker.requeue_lost()
        assert (lost.id, lost.status, lost.attempts) == (job.id, Status.QUEUED, 1)
        assert lost.suspect


async def test_a_job_that_ends_its_worker_three_times_is_quarantined(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "marble.storage")
    async with home.open() as mine:
        job = await mine.jobs.add(a_job())
        for _ in range(3):
            async with home.open() as other:
                assert await other.worker.claim(job.id)
            assert not mine.outbox.arrived.is_set()
            await mine.worker.requeue_lost()
        assert mine.outbox.arrived.is_set()
        [pending] = await mine.outbox.list_due(["terminal"])
    assert pending.outcome is Status.FAILED
    assert "3 times" in (pending.job.error or "")
    told = [record.getMessage() for record in caplog.records if record.name == "marble.storage"]
    again = f"job {job.id} is tried again, alone: its worker died"
    assert told == [again, again, f"job {job.id} ended its worker 3 times, and is quarantined"]


async def test_of_several_that_a_worker_died_with_none_is_blamed_and_all_are_suspects(
    home: Home,
) -> None:
    async with home.open() as mine:
        async with home.open() as other:
            for _ in range(3):
                await add_claimed(other, a_job())
            waits = await other.jobs.add(a_job())
        lost = await mine.worker.requeue_lost()
        untouched = await mine.jobs.get(waits.id)
    assert [(job.status, job.attempts, job.suspect) for job in lost] == [
        (Status.QUEUED, 0, True)
    ] * 3
    assert untouched == waits


async def test_a_suspect_is_blamed_for_whatever_it_dies_with(storage: Storage) -> None:
    """It runs alone: what else its worker has is only being recorded."""
    job = await storage.jobs.add(a_job())
    for blamed in (0, 1, 2, 3):
        claimed = await storage.worker.claim(job.id)
        assert claimed is not None
        lost = await storage.jobs.lost(job.id, claimed.epoch)
        assert (lost.attempts, lost.status is Status.FAILED) == (blamed, blamed == 3)
        assert storage.outbox.arrived.is_set() == (blamed == 3)
    with pytest.raises(StaleEpoch):
        await storage.jobs.lost(job.id, 1)


async def test_what_is_given_back_in_good_order_is_blamed_for_nothing(storage: Storage) -> None:
    job = await add_claimed(storage, a_job())
    again = await storage.jobs.lost(job.id, job.epoch)
    for _ in range(5):
        claimed = await storage.worker.claim(job.id)
        assert claimed is not None
        again = await storage.jobs.release(job.id, claimed.epoch)
    assert (again.status, again.attempts, again.suspect) == (Status.QUEUED, 0, True)


# What version 1 wrote. It must stay readable for ever: never change these lines, add others.
RECIPES = {
    1: {
        "version": 1,
        "prompt": "a marble scholar, 大理石学者",
        "negative_prompt": "blurry",
        "seed": "18446744073709551615",
        "steps": 20,
        "guidance_scale": 5.0,
        "width": 256,
        "height": 320,
        "count": 4,
        "picture": 2,
        "sampler": "euler_ancestral",
        "schedule": "karras",
        "checkpoint": "starter",
    },
    2: {
        "version": 2,
        "prompt": "a marble scholar, 大理石学者",
        "negative_prompt": "blurry",
        "seed": "18446744073709551615",
        "steps": 20,
        "guidance_scale": 5.0,
        "width": 256,
        "height": 320,
        "count": 4,
        "picture": 2,
        "sampler": "euler_ancestral",
        "schedule": "karras",
        "checkpoint": "starter",
        "image": "0" * 64,
        "fit": "pad",
        "strength": 0.6,
        "margins": {"left": 8, "top": 0, "right": 0, "bottom": 0},
        "variations": [{"seed": "18446744073709551614", "amount": 0.25}],
        "controls": [
            {
                "model": "canny",
                "image": "1" * 64,
                "strength": 1.0,
                "start": 0.0,
                "end": 0.5,
                "preprocessor": "canny",
            }
        ],
        "upscale": {"factor": 2.0, "by": "latent", "strength": 0.4, "tile": None},
    },
    3: {
        "version": 3,
        "prompt": "a marble scholar, 大理石学者",
        "negative_prompt": "blurry",
        "seed": "18446744073709551615",
        "steps": 20,
        "guidance_scale": 5.0,
        "width": 256,
        "height": 320,
        "count": 4,
        "picture": 2,
        "sampler": "dpmpp_2m_sde",
        "schedule": "karras",
        "checkpoint": "starter",
        "noise": "gpu",
        "ensd": 31337,
    },
    4: {
        "version": 4,
        "prompt": "a marble scholar, 大理石学者",
        "negative_prompt": "blurry",
        "seed": "18446744073709551615",
        "steps": 20,
        "guidance_scale": 5.0,
        "width": 256,
        "height": 320,
        "count": 4,
        "picture": 2,
        "sampler": "euler",
        "schedule": "karras",
        "checkpoint": "starter",
        "refiner": "finisher",
        "refiner_at": 0.7,
        "patches": [{"kind": "eps", "numbers": [0]}],
        "syntax": "a1111",
        "areas": [{"prompt": "a dog", "width": 0.5}],
    },
}
REVISION_OF_RECIPE = {
    1: "0001",
    2: "0002",
    3: "0010",
    4: "0012",
}  # the first schema whose jobs may hold such a recipe


@pytest.mark.parametrize("version", RECIPES)
async def test_recipes_of_every_version_can_be_read(storage: Storage, version: int) -> None:
    job = await storage.jobs.add(a_job())
    stored = update(jobs).where(jobs.c.id == job.id).values(recipe=RECIPES[version])
    await storage.database.write(lambda c: c.execute(stored))
    recipe = (await storage.jobs.get(job.id)).recipe
    assert (recipe.prompt, recipe.seed) == ("a marble scholar, 大理石学者", 2**64 - 1)
    assert (recipe.count, recipe.picture, recipe.schedule) == (4, 2, "karras")


def test_a_new_kind_of_recipe_comes_with_a_migration() -> None:
    """An older Marble must refuse a database whose recipes it cannot read."""
    assert REVISION_OF_RECIPE[VERSION] in schema.known()


async def test_a_recipe_that_cannot_be_read_hides_no_other(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    strange, fine = await storage.jobs.add(a_job()), await storage.jobs.add(a_job())
    stored = update(jobs).where(jobs.c.id == strange.id).values(recipe={"version": 99})
    await storage.database.write(lambda c: c.execute(stored))
    assert await storage.history.page() == (fine,)
    assert await storage.jobs.list_queued() == (fine,)
    with pytest.raises(UnreadableRecipe, match=r"The recipe of job 1 cannot be read: version"):
        await storage.jobs.get(strange.id)
    assert "recipe of job 1" in caplog.text


async def test_a_job_remembers_whether_it_is_a_making_of(storage: Storage) -> None:
    first = await storage.jobs.add(a_job())
    made = await storage.jobs.add(replace(a_job(), parent=first.id, making_of=True))
    claimed = await storage.worker.claim(made.id)
    assert claimed
    known = [await storage.jobs.get(each.id) for each in (first, made)]
    assert [each.making_of for each in (first, made, claimed, *known)] == [
        *(False, True, True),
        *(False, True),
    ]


async def test_pictures_whose_match_is_kept_are_ordered_by_it_and_keep_their_names(
    storage: Storage,
) -> None:
    job = await add_claimed(storage, a_job(recipe=a_recipe(count=4), best=True))
    matches = [0.25, 0.75, 0.25, 0.5]
    best = await storage.jobs.rendered(job.id, job.epoch, drawn(*PNGS), None, matches)
    plain = await add_claimed(storage, a_job(recipe=a_recipe(count=4)))
    plain = await storage.jobs.rendered(plain.id, plain.epoch, drawn(*PNGS))
    assert best.best
    assert [each.index for each in best.pictures] == [1, 3, 0, 2]
    assert [each.match for each in best.pictures] == [0.75, 0.5, 0.25, 0.25]
    for each in best.pictures:
        assert storage.pictures.read(each) == PNGS[each.index]
    assert [each.index for each in plain.pictures] == [0, 1, 2, 3]
    found = await storage.jobs.several([best.id, plain.id])
    assert found == {best.id: best, plain.id: plain}
    assert await storage.vectors.matches(best.id) == dict(enumerate(matches))
    assert await storage.vectors.matches(plain.id) == {}


async def test_a_job_remembers_its_kind_of_device_and_another_of_that_seed_wants_it(
    storage: Storage,
) -> None:
    first = await add_claimed(storage, a_job())
    assert first.device is None
    done = await storage.jobs.rendered(first.id, first.epoch, drawn(), "NVIDIA H200")
    again = replace(a_job(), parent=first.id)
    other = replace(again, recipe=replace(again.recipe, seed=again.recipe.seed + 1))
    wanted = [(await storage.jobs.add(each)).device for each in (again, other)]
    assert (done.device, wanted) == ("NVIDIA H200", ["NVIDIA H200", None])
    drawing = await storage.worker.claim(2)
    assert drawing
    another = await storage.jobs.rendered(2, drawing.epoch, drawn(), "NVIDIA L4")
    assert (done.device_wanted, another.device_wanted) == (None, "NVIDIA H200")
    assert (await storage.jobs.get(2)).device_wanted == "NVIDIA H200"


async def test_no_file_of_a_job_is_under_way_when_they_are_written_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, tries = Pictures.add, Counter[bytes]()
    failed, again, overlapped = Event(), Event(), list[bool]()

    def slow(self: Pictures, png: bytes) -> str:
        tries[png] += 1
        if png == b"slow" and tries[png] == 1:
            failed.wait(PATIENCE)
            overlapped.append(again.wait(0.2))
        elif png == b"full" and tries[png] == 1:
            failed.set()
            raise DiskFull("pictures")
        else:
            again.set()
        return add(self, png)

    monkeypatch.setattr(Pictures, "add", slow)
    monkeypatch.setattr("storage.jobs.jobs.RETRY", 0)
    job = await add_claimed(storage, a_job())
    done = await storage.jobs.rendered(job.id, job.epoch, drawn(b"slow", b"full"))
    assert (done.status, len(done.pictures)) == (Status.RENDERED, 2)
    assert (tries, overlapped) == ({b"slow": 2, b"full": 2}, [False])


async def test_no_file_of_a_job_is_under_way_once_its_caller_was_cancelled(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, ended = Event(), Event(), list[bytes]()

    def slow(self: Pictures, png: bytes) -> str:
        begun.set()
        go_on.wait(PATIENCE)
        ended.append(png)
        return ""

    monkeypatch.setattr(Pictures, "add", slow)
    job = await add_claimed(storage, a_job())
    recording = asyncio.create_task(storage.jobs.rendered(job.id, job.epoch, drawn(b"slow")))
    await asyncio.to_thread(begun.wait)
    recording.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    left = recording.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await recording
    assert (left, ended) == (False, [b"slow"])
    assert (await storage.jobs.get(job.id)).status is Status.RUNNING
