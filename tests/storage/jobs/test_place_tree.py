"""Which settings apply to a place, and to which places a setting applies: the same answer."""

from __future__ import annotations

import random

import pytest
from alembic import command
from sqlalchemy import ColumnElement, Connection, text

from storage import Storage
from storage.database import schema
from storage.database.tables import jobs
from storage.jobs.place_tree import ruled_by, within
from storage.records import EVERYWHERE
from tests.factories import line_in
from tests.storage.conftest import Home, a_job
from tests.storage.database.test_migrations import in_transaction

RULE = "rules.keep_days"


async def found(storage: Storage, which: ColumnElement[bool]) -> set[str]:
    """Return the places of the jobs that are meant."""
    query = jobs.select().with_only_columns(jobs.c.place).where(which)
    return set(await storage.database.read(lambda c: c.scalars(query).all()))


async def nearest(storage: Storage, place: str) -> str:
    """Return the place whose rule applies in a place."""
    line = await line_in(storage, place)
    return next((level.place for level in line if RULE in level.settings), EVERYWHERE)


@pytest.mark.parametrize("seed", range(4))
async def test_a_rule_applies_to_the_jobs_of_those_places_that_find_it_first(
    storage: Storage, seed: int
) -> None:
    dice = random.Random(seed)
    places = [f"x:{number}" for number in range(10)]
    for number, place in enumerate(places):
        if number and dice.random() < 0.7:
            await storage.people.add_place(place, dice.choice(places[:number]))
        await storage.jobs.add(a_job(place=place))
    for place in dice.sample([*places, EVERYWHERE], 4):
        changes = {RULE: dice.choice([0, 9]), "other": 1}
        await storage.people.change_place_settings(place, changes)
    for place in dice.sample(places, 3):
        await storage.people.change_place_settings(place, {"other": "a"})
    kept = await storage.people.places_with(RULE)
    assert len(kept) == 4
    for place in {*kept, EVERYWHERE}:
        meant = {each for each in places if await nearest(storage, each) == place}
        assert await found(storage, ruled_by(RULE, place)) == meant


async def test_what_lies_in_a_place_is_found_however_deep(storage: Storage) -> None:
    await storage.people.add_place("x:1/3", "x:1/2")
    for place in ("x:1", "x:1/2", "x:1/3", "x:1/4", "x:11", "x:2"):
        await storage.jobs.add(a_job(place=place))
    assert await found(storage, within("x:1")) == {"x:1", "x:1/2", "x:1/3", "x:1/4"}
    assert await found(storage, within("x:1/2")) == {"x:1/2", "x:1/3"}
    assert (await storage.history.stats(place="x:1/2")).pictures == 0
    assert sum((await storage.history.stats(place="x:1/2")).jobs.values()) == 2


async def test_places_that_nobody_told_of_lie_in_what_their_names_say_after_an_upgrade(
    empty_home: Home,
) -> None:
    async with empty_home.open() as storage:
        await storage.people.add_place("x:1/9", "x:1/2")
        for place in ("x:1/3", "x:-5/4", "x:@me/6"):
            await storage.jobs.add(a_job(place=place))

    def forget(connection: Connection) -> None:
        command.downgrade(schema.config(connection), "0008")
        connection.execute(text("UPDATE places SET parent = NULL WHERE id != 'x:1/9'"))
        connection.execute(text("DELETE FROM places WHERE id = 'x:-5'"))

    await in_transaction(empty_home, forget)
    async with empty_home.open() as storage:
        assert await found(storage, within("x:1")) == {"x:1/3"}
        assert await found(storage, within("x:-5")) == {"x:-5/4"}
        for place, lies_in in {"x:1/9": ["x:1/2", "x:1"], "x:@me/6": []}.items():
            names = [level.place for level in await line_in(storage, place)]
            assert names == [place, *lies_in, EVERYWHERE]
