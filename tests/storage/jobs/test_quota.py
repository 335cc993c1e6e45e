"""Quotas: what was asked for, counted by the database as by whoever reads every recipe."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from engine.queue.estimates import pixel_steps
from engine.recipe.parts import LANCZOS, Upscale
from engine.recipe.recipe import Recipe
from storage import Job, Status, Storage
from storage.jobs.quota import Quota
from storage.records import EVERYWHERE
from tests.storage.conftest import Home, a_job, a_recipe

START = datetime(2026, 1, 1, tzinfo=UTC)
PEOPLE = ("x:ada", "x:bob")
DAILY = "rules.daily"


def any_recipe(dice: random.Random, image: str) -> Recipe:
    """Make a recipe of any kind that differs in what it costs."""
    count = dice.randint(1, 4)
    larger = Upscale(factor=dice.choice((1.5, 2.0)), by=LANCZOS, strength=dice.choice((None, 0.4)))
    started = {"image": image, "strength": dice.choice((0.3, None)), "upscale": larger}
    size = {"width": 8 * dice.randint(8, 64), "height": 8 * dice.randint(8, 64)}
    changes: tuple[dict[str, Any], ...] = ({}, {"upscale": larger}, {"picture": 0}, started)
    return a_recipe(steps=dice.randint(1, 50), count=count, **size, **dice.choice(changes))


async def end(storage: Storage, job: Job, dice: random.Random) -> None:
    """Bring a job anywhere in its life."""
    for _ in range(dice.randrange(3)):
        if claimed := await storage.worker.claim(job.id):
            await storage.jobs.release(job.id, claimed.epoch)
    way = dice.choice(("wait", "run", "cancel", "fail", "draw"))
    if way == "cancel":
        await storage.jobs.cancel(job.id)
    elif way != "wait" and (claimed := await storage.worker.claim(job.id)):
        if way == "fail":
            await storage.jobs.failed(job.id, claimed.epoch, "why")
        elif way == "draw":
            await storage.jobs.rendered(job.id, claimed.epoch, [])


async def test_a_day_costs_what_its_recipes_cost_when_they_are_read_one_by_one(home: Home) -> None:
    dice, time = random.Random(8), START
    async with home.open(now=lambda: time) as storage:
        image = storage.pictures.add(b"given")
        for _ in range(120):
            time += timedelta(minutes=dice.randint(0, 60))
            new = a_job(recipe=any_recipe(dice, image), person=dice.choice(PEOPLE))
            await end(storage, await storage.jobs.add(new), dice)
        jobs = await storage.history.page(limit=200)
        for person in PEOPLE:
            for hours in (0, 1, 24, 48, 1000):
                since = time - timedelta(hours=hours)
                read = [
                    (job.created_at, pixel_steps(job.recipe))
                    for job in jobs
                    if job.person == person
                    and job.created_at > since
                    and job.status not in (Status.FAILED, Status.CANCELLED)
                ]

                def counted(
                    connection: Connection, person: str = person, at: datetime = since
                ) -> Any:
                    quota = Quota(connection, person)
                    counted = at, DAILY, EVERYWHERE
                    return quota.spent(*counted), sorted(quota.costs(*counted))

                assert await storage.database.read(counted) == (
                    sum(c for _, c in read),
                    sorted(read),
                )


@pytest.mark.parametrize("place", [EVERYWHERE, "x:1"])
async def test_a_day_is_added_up_along_an_index(tmp_path: Path, place: str) -> None:
    asked: list[tuple[str, Any]] = []

    def plan(connection: Connection) -> str:
        @event.listens_for(connection, "before_cursor_execute")
        def note(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
            asked.append((statement, values))

        Quota(connection, "x:ada").spent(START, DAILY, place)
        statement, values = asked[-1]
        return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())

    async with Storage.open(tmp_path) as storage:  # a server plans by how much there is
        plan_found = await storage.database.read(plan)
    assert "USING INDEX ix_jobs_asked (person=? AND created_at>?)" in plan_found
