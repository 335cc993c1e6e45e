from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bots.gate import Gate
from bots.policy import NotAllowed, Roles
from bots.rules import Refusal, Rules
from bots.studio import Asker, Studio
from storage import NewJob, Storage
from tests.bots.conftest import House
from tests.factories import make_recipe

ROLES = Roles(owners={"x:own"}, moderators={"x:mod"})
ADA = Asker(person="x:ada", place="x:1")


@dataclass
class Clock:
    now: datetime = field(default_factory=lambda: datetime(2026, 1, 1, 12, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def storage(tmp_path: Path, clock: Clock) -> AsyncIterator[Storage]:
    async with Storage.open(tmp_path, now=clock) as storage:
        yield storage


def gate(storage: Storage, clock: Clock, **rules: int) -> Gate:
    return Gate(storage, ROLES, Rules(**rules), clock=clock.seconds, today=clock)  # type: ignore[arg-type]


async def test_who_asks_too_often_is_refused_until_the_time_that_was_told(
    storage: Storage, clock: Clock
) -> None:
    ask = gate(storage, clock, per_minute=2)
    for _ in range(2):
        await ask(make_recipe(), ADA)
    with pytest.raises(Refusal, match="try again in 30 s"):
        await ask(make_recipe(), ADA)
    await ask(make_recipe(), Asker(person="x:ada", place="x:2"))
    await ask(make_recipe(), Asker(person="x:bob", place="x:1"))
    clock.now += timedelta(seconds=30)
    await ask(make_recipe(), ADA)


async def test_a_place_has_a_rate_that_all_its_people_share(storage: Storage, clock: Clock) -> None:
    ask = gate(storage, clock, place_per_minute=2)
    for person in ("x:ada", "x:bob"):
        await ask(make_recipe(), Asker(person=person, place="x:1"))
    with pytest.raises(Refusal, match="all together"):
        await ask(make_recipe(), Asker(person="x:eve", place="x:1"))


async def test_what_is_refused_costs_nothing(storage: Storage, clock: Clock) -> None:
    ask = gate(storage, clock, per_minute=1)
    await ask.change("x:1", {"steps": "1-9"}, "x:own")
    for _ in range(3):
        with pytest.raises(Refusal, match="steps"):
            await ask(make_recipe(steps=10), ADA)
    await ask(make_recipe(steps=9), ADA)


async def test_a_day_is_counted_from_the_database_and_ends_by_itself(
    storage: Storage, clock: Clock
) -> None:
    recipe = make_recipe(width=1000, height=1000, steps=10)
    jobs = []
    for _ in range(3):
        jobs.append(await storage.jobs.add(NewJob(recipe=recipe, person="x:ada", place="x:1")))
        clock.now += timedelta(hours=1)
    ask = gate(storage, clock, daily=30)
    with pytest.raises(Refusal, match=r"used 30 of your 30 .* from 12:00 UTC on"):
        await ask(recipe, ADA)
    await ask(recipe, Asker(person="x:bob", place="x:1"))
    await storage.jobs.cancel(jobs[2].id)
    await ask(recipe, ADA)
    await storage.jobs.add(NewJob(recipe=recipe, person="x:ada", place="x:1"))
    clock.now += timedelta(hours=21, seconds=1)
    await ask(recipe, ADA)


async def test_a_ban_says_why_and_until_when(storage: Storage, clock: Clock) -> None:
    until = clock.now + timedelta(days=1)
    await storage.moderation.ban("x:ada", by="x:mod", reason="spam", until=until)
    ask = gate(storage, clock)
    with pytest.raises(Refusal, match=r"here until 2026-01-02 12:00 UTC: spam"):
        await ask(make_recipe(), ADA)
    clock.now = until
    await ask(make_recipe(), ADA)


@pytest.mark.parametrize("person", ["x:own", "x:mod", "terminal:root"])
async def test_owners_and_moderators_pass_freely(
    storage: Storage, clock: Clock, person: str
) -> None:
    ask = gate(storage, clock, per_minute=1, daily=1)
    for _ in range(3):
        await ask(make_recipe(width=2048, height=2048), Asker(person=person, place="x:1"))


async def test_rules_hold_in_a_place_and_all_that_lies_in_it(
    storage: Storage, clock: Clock
) -> None:
    ask = gate(storage, clock, per_minute=9)
    await storage.people.add_place("x:topic", "x:1")
    await ask.change("*", {"steps": "1-50", "blocked": "bad"}, "terminal:root")
    assert await ask.change("x:1", {"steps": "1-20"}, "x:own") == {"steps": [1, 20]}
    held = await ask.rules("x:topic")
    assert (held.bounds, held.blocked, held.per_minute) == ({"steps": (1, 20)}, ("bad",), 9)
    assert (await ask.rules("x:2")).bounds == {"steps": (1, 50)}
    await ask.change("x:1", {"steps": ""}, "x:own")
    assert (await ask.rules("x:topic")).bounds == {"steps": (1, 50)}
    [last, *_] = await storage.moderation.acts()
    assert (last.act, last.by, last.place, last.detail) == (
        "rules",
        "x:own",
        "x:1",
        {"steps": None},
    )


async def test_only_the_owner_changes_rules(storage: Storage, clock: Clock) -> None:
    with pytest.raises(NotAllowed, match="Only the owner may change the rules"):
        await gate(storage, clock).change("x:1", {"steps": "1-20"}, "x:mod")
    assert (await gate(storage, clock).rules("x:1")).bounds == {}


async def test_no_job_is_committed_that_the_gate_refuses(house: House, clock: Clock) -> None:
    ask = gate(house.storage, clock)
    await ask.change("*", {"blocked": "bad"}, "x:own")
    house.studio._gate = ask
    studio: Studio = house.studio
    for later in (False, True):
        asker = Asker(person="x:ada", place="x:1", later=later)
        with pytest.raises(Refusal):
            await studio.imagine({"prompt": "a bad cat"}, asker)
    assert await house.storage.history.page() == ()
    job = await studio.imagine({"prompt": "a cat"}, ADA)
    with pytest.raises(Refusal):
        await studio.rerun(str(job.id), {"prompt": "a bad cat"}, ADA)
    assert len(await house.storage.history.page()) == 1
