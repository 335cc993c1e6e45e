"""Figures of a day: each is what whoever reads every job counts."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, event

from engine.queue.estimates import pixel_steps
from engine.sentences import Sentence
from storage import Job, Status, Storage
from storage.database.tables import jobs
from storage.jobs import figures
from storage.jobs.quota import SPARED
from storage.records import Day, Hour
from tests.storage.conftest import Home, a_job, a_recipe, drawn

START = datetime(2026, 5, 1, 12, 34, tzinfo=UTC)
PEOPLE = ("x:ada", "x:bob", "x:cleo")
ERRORS = ("The marble cracked.", Sentence("unexpected"))


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


async def end(storage: Storage, job: Job, dice: random.Random) -> None:
    """Let a job end somehow, or not."""
    way = dice.choice(("wait", "cancel", "fail", "draw", "draw", "draw"))
    if way == "cancel":
        await storage.jobs.cancel(job.id)
    elif way != "wait" and (claimed := await storage.worker.claim(job.id)):
        if way == "fail":
            await storage.jobs.failed(job.id, claimed.epoch, dice.choice(ERRORS))
        else:
            found = drawn(*(b"%d" % index for index in range(job.recipe.count)))
            await storage.jobs.rendered(job.id, claimed.epoch, found)


async def live(storage: Storage, clock: Clock) -> None:
    """Ask for much in three days, and end it later; some is deleted."""
    dice, waiting = random.Random(7), list[Job]()
    for _ in range(150):
        clock.time += timedelta(minutes=dice.randint(0, 50), seconds=dice.randint(0, 59))
        recipe = a_recipe(steps=dice.randint(1, 40), count=dice.randint(1, 4))
        waiting.append(await storage.jobs.add(a_job(recipe=recipe, person=dice.choice(PEOPLE))))
        while waiting and dice.random() < 0.6:
            await end(storage, waiting.pop(dice.randrange(len(waiting))), dice)
    gone = delete(jobs).where(jobs.c.id % 7 == 3)
    await storage.database.write(lambda c: c.execute(gone))


def counted(kept: list[Job], at: datetime) -> Hour:
    """Count an hour by reading every job."""
    ended = [
        job for job in kept if job.finished_at and at <= job.finished_at < at + timedelta(hours=1)
    ]
    done = [job for job in ended if job.status.value in figures.DRAWN]
    waits = sorted(
        (job.finished_at - job.created_at).total_seconds() for job in done if job.finished_at
    )
    statuses = Counter(job.status for job in ended)
    return Hour(
        at=at,
        pictures=sum(len(job.pictures) for job in done),
        jobs=len(done),
        failed=statuses[Status.FAILED],
        cancelled=statuses[Status.CANCELLED],
        half_within=waits[(len(waits) + 1) // 2 - 1] if waits else None,
        most_within=waits[(len(waits) * 19 + 19) // 20 - 1] if waits else None,
    )


def spent_by(kept: list[Job], person: str, hour: datetime, now: datetime) -> int:
    """Return what somebody spent in the last day until the end of an hour."""
    return sum(
        pixel_steps(job.recipe)
        for job in kept
        if job.person == person and job.status.value not in SPARED
        if now - figures.DAY < job.created_at < hour + timedelta(hours=1)
    )


async def test_a_day_is_what_whoever_reads_every_job_counts(home: Home) -> None:
    clock = Clock()
    async with home.open(now=clock) as storage:
        await live(storage, clock)
        day = await storage.figures.day()
        kept = [*await storage.history.page(limit=500)]
        this_hour = clock.time.replace(minute=0, second=0)
        assert [hour.at for hour in day.hours] == [
            this_hour - timedelta(hours=back) for back in range(23, -1, -1)
        ]
        # Nothing here waits for two days.
        assert day.hours == tuple(counted(kept, hour.at) for hour in day.hours)
        assert sum(hour.pictures for hour in day.hours) > 20
        failed = [
            job.error
            for job in kept
            if job.status is Status.FAILED
            and job.finished_at
            and job.finished_at >= day.hours[0].at
        ]
        assert dict(day.errors) == Counter(failed)
        assert any(isinstance(text, Sentence) for text, _ in day.errors)
        costs = Counter[str]()
        for job in kept:
            if job.created_at > clock.time - figures.DAY and job.status.value not in SPARED:
                costs[job.person] += pixel_steps(job.recipe)
        spenders = [(each.person, each.spent) for each in day.spenders]
        assert spenders == sorted(costs.items(), key=lambda each: -each[1])
        assert [each.hours for each in day.spenders] == [
            tuple(spent_by(kept, each.person, hour.at, clock.time) for hour in day.hours)
            for each in day.spenders
        ]
        assert not day.cut


async def test_nothing_before_the_last_two_days_is_read(home: Home) -> None:
    """What counts names the first number, which is found in a few looks."""
    clock = Clock()
    async with home.open(now=clock) as storage:
        await live(storage, clock)
        [old] = await storage.history.page(limit=1)
        clock.time += timedelta(days=3)
        new = await storage.jobs.add(a_job())
        asked: list[tuple[str, tuple[object, ...]]] = []

        def note(
            _: object, cursor: object, query: str, values: tuple[object, ...], *_more: object
        ) -> None:
            asked.append((query, values))

        reads = storage.database._reads
        event.listen(getattr(reads, "sync_engine", reads), "before_cursor_execute", note)
        day = await storage.figures.day()
    looks = [query for query, _ in asked if "ORDER BY jobs.id" in query]
    counts = [values for query, values in asked if "GROUP BY" in query]
    assert 0 < len(looks) <= new.id.bit_length() + 1
    assert len(counts) == 6
    for values in counts:
        assert any(isinstance(each, int) and old.id < each <= new.id for each in values)
    assert [each.jobs for each in day.spenders] == [1]


async def test_of_too_many_jobs_the_latest_are_looked_at(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST", 3)
    async with home.open() as storage:
        for _ in range(5):
            await storage.jobs.cancel((await storage.jobs.add(a_job())).id)
        day = await storage.figures.day()
        assert (day.cut, sum(hour.cancelled for hour in day.hours)) == (True, 3)
        assert day.spenders == ()


async def test_where_nothing_was_asked_for_a_day_is_empty(home: Home) -> None:
    async with home.open() as storage:
        day: Day = await storage.figures.day()
    assert (day.errors, day.spenders, day.cut) == ((), (), False)
    assert {(hour.pictures, hour.jobs, hour.half_within) for hour in day.hours} == {(0, 0, None)}
