import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bots.admission.gate import Gate
from bots.admission.roles import Roles
from bots.admission.rules import Refusal
from bots.chat.listings import rule_lines
from bots.requests.default_options import save_options
from bots.requests.studio import Asker, Studio
from bots.texts import tell, words_of
from engine.errors import OptionError, UserError
from engine.events import Progress
from engine.queue.estimates import MILLION, pixel_steps
from engine.recipe.recipe import Recipe
from storage import Job, NewJob, Status, Storage
from storage.database.database import Database
from tests.bots.conftest import House
from tests.bots.presentation.test_presentation import png
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
    return Gate(storage, ROLES, rules, clock=clock.seconds, today=clock)


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
    with pytest.raises(Refusal, match="here together"):
        await ask(make_recipe(), Asker(person="x:eve", place="x:1"))


async def test_what_is_refused_costs_nothing(storage: Storage, clock: Clock) -> None:
    ask = gate(storage, clock, per_minute=1)
    await ask.change("x:1", {"steps": "1-9"}, "x:own")
    for _ in range(3):
        with pytest.raises(Refusal, match="steps"):
            await ask(make_recipe(steps=10), ADA)
    await ask(make_recipe(steps=9), ADA)


async def test_what_fails_while_it_is_counted_costs_nothing(storage: Storage, clock: Clock) -> None:
    ask = gate(storage, clock, per_minute=1, place_per_minute=2)

    async def fail() -> None:
        async with ask.counting(ADA):
            with pytest.raises(Refusal, match="try again in"):
                await ask(make_recipe(), ADA)  # meanwhile it counts
            raise UserError("no picture")

    for _ in range(3):
        with pytest.raises(UserError, match="no picture"):
            await fail()
    async with ask.counting(ADA):
        pass
    with pytest.raises(Refusal, match="try again in"):
        await ask(make_recipe(), ADA)
    await ask(make_recipe(), Asker(person="x:bob", place="x:1"))
    with pytest.raises(Refusal, match="here together"):
        await ask(make_recipe(), Asker(person="x:eve", place="x:1"))


async def test_a_day_is_counted_from_the_database_and_ends_by_itself(
    storage: Storage, clock: Clock
) -> None:
    recipe = make_recipe(width=1000, height=1000, steps=10)
    jobs = []
    for _ in range(3):
        jobs.append(await storage.jobs.add(NewJob(recipe=recipe, person="x:ada", place="x:1")))
        clock.now += timedelta(hours=1)
    ask = gate(storage, clock, daily=30)
    with pytest.raises(Refusal, match=r"used 30 of 30 .* after .* 12:00 UTC"):
        await ask(recipe, ADA)
    await ask(recipe, Asker(person="x:bob", place="x:1"))
    await storage.jobs.cancel(jobs[2].id)
    await ask(recipe, ADA)
    await storage.jobs.add(NewJob(recipe=recipe, person="x:ada", place="x:1"))
    clock.now += timedelta(hours=21)  # noon, as it was said
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
    await ask.change("x:1", {"steps": "1-20"}, "x:own")
    held = (await ask.in_force("x:topic")).rules
    assert (held["steps"], held["blocked"], held["per_minute"]) == ([1, 20], ["bad"], 9)
    assert (await ask.in_force("x:2")).rules["steps"] == [1, 50]
    await ask.change("x:1", {"steps": ""}, "x:own")
    assert (await ask.in_force("x:topic")).rules["steps"] == [1, 50]
    [last, *_] = await storage.moderation.acts()
    assert (last.act, last.by, last.place, last.detail) == (
        "rules",
        "x:own",
        "x:1",
        {"steps": None},
    )


async def test_a_places_moderators_only_narrow_and_the_log_tells_of_it(
    storage: Storage, clock: Clock
) -> None:
    ask = gate(storage, clock)
    await storage.people.add_place("x:1/2", "x:1")
    await ask.change("*", {"steps": "1-50"}, "x:own")
    await ask.narrow("x:1", {"steps": "1-20", "models": "starter"}, "x:judge")
    await ask.narrow("x:1/2", {"steps": "1-99"}, "x:judge")
    assert (await ask.in_force("x:1")).rules["steps"] == [1, 20]
    inside = (await ask.in_force("x:1/2")).rules
    assert inside["steps"] == [1, 50]  # its own, within the owner's
    assert inside["models"] == ["starter"]
    await ask.narrow("x:1", {"steps": "", "models": ""}, "x:judge")
    assert (await ask.in_force("x:1")).rules == (await ask.in_force("x:9")).rules
    with pytest.raises(OptionError, match="must be one of per_minute"):
        await ask.narrow("x:1", {"daily": "5"}, "x:judge")
    [last, *_] = await storage.moderation.acts()
    assert (last.act, last.by, last.detail) == (
        "policy",
        "x:judge",
        {"steps": None, "models": None},
    )


async def test_a_place_says_how_many_pictures_a_job_has_where_nobody_else_does(
    house: House,
) -> None:
    people, storage = house.storage.people, house.storage
    gate = Gate(storage, ROLES, {})
    await people.add_place("x:1/2", "x:1")
    studio = Studio(
        house.studio.catalogue, storage, house.worker, gate=gate, default_count=gate.default_count
    )

    async def drawn(place: str, **values: Any) -> int:
        asker = Asker(person=ADA.person, place=place)
        job = await studio.imagine({"prompt": "a cat", **values}, asker, ADA.person)
        return job.recipe.count

    assert await drawn("x:1/2") == 1
    await gate.change("x:1", {"default_count": "2"}, by="x:own")
    assert (await drawn("x:1/2"), await drawn("x:3")) == (2, 1)
    await gate.narrow("x:1/2", {"default_count": "4"}, by="x:ada")  # no limit: more is fine
    assert (await drawn("x:1/2"), await drawn("x:1")) == (4, 2)
    await gate.change("x:1", {"count": "1-3"}, by="x:own")
    assert await drawn("x:1/2") == 3
    assert await drawn("x:1/2", count=1) == 1
    await save_options(people, ADA.person, {"count": "2"})
    assert await drawn("x:1/2") == 2
    for wrong in ("0", "17", "many"):
        with pytest.raises(OptionError, match="between 1 and 16"):
            await gate.narrow("x:1", {"default_count": wrong}, by="x:ada")


async def test_an_edit_and_a_blend_have_as_many_pictures_as_a_new_one(house: House) -> None:
    people, asker = house.storage.people, Asker(person=ADA.person, place="x:1")
    gate = Gate(house.storage, ROLES, {})
    studio = Studio(
        house.studio.catalogue,
        house.storage,
        house.worker,
        gate=gate,
        default_count=gate.default_count,
    )
    await people.add_place("x:1")
    await gate.change("x:1", {"default_count": "4"}, by="x:own")
    two = [await studio.keep_image(png(64, 64, seed=seed)) for seed in (1, 2)]

    async def counts(**values: Any) -> tuple[int, int]:
        asked = {"prompt": "make it bronze", **values}
        edited = await studio.edit_image(two[0], asked, asker, ADA.person)
        blended = await studio.blend([], two, asked, asker, ADA.person)
        return edited.recipe.count, blended.recipe.count

    assert (await counts(), await counts(count=2)) == ((4, 4), (2, 2))
    await save_options(people, ADA.person, {"count": "3"})
    assert await counts() == (3, 3)


async def test_what_a_killed_process_committed_is_not_too_much_beside_itself(house: House) -> None:
    gate = Gate(house.storage, ROLES, {"waiting": 2, "per_minute": 2})
    studio = Studio(house.studio.catalogue, house.storage, house.worker, gate=gate)
    house.executor.gate.clear()
    asker = Asker(person=ADA.person, place="x:1", event="x:7")
    choices = [{"prompt": f"a {colour} cat"} for colour in ("red", "blue")]
    jobs = await studio.imagine_each(choices, asker)
    again = await studio.imagine_each(choices, asker)
    assert [job.id for job in again] == [job.id for job in jobs]
    with pytest.raises(Refusal):
        await studio.imagine_each(choices, Asker(person=ADA.person, place="x:1", event="x:8"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("steps", "60-99", r"steps must be within what Marble's owner allows here \(1-50\), not"),
        ("models", "b, c", r"models must be within .* allows here \(starter, a\), not 'b, c'\."),
        ("vae", "x", r"vae must be within what Marble's owner allows here \(none\), not 'x'\."),
    ],
)
async def test_a_moderators_rule_that_leaves_nothing_of_the_owners_is_refused(
    storage: Storage, clock: Clock, name: str, text: str, said: str
) -> None:
    ask = gate(storage, clock)
    await ask.change("*", {"steps": "1-50", "models": "starter, a", "vae": ","}, "x:own")
    held = await ask.in_force("x:1")
    with pytest.raises(OptionError, match=said) as caught:
        await ask.narrow("x:1", {"count": "1-2", name: text}, "x:judge")
    assert "Marble 所有者允许的范围内" in tell(caught.value, words_of("zh"))
    assert await ask.in_force("x:1") == held
    [last, *_] = await storage.moderation.acts()
    assert last.act == "rules"
    await ask.narrow("x:1", {"count": "1-2", "lora": ",", "width": "64-512"}, "x:judge")
    assert (await ask.in_force("x:1")).rules["lora"] == []


async def test_what_the_owner_leaves_nothing_of_is_set_aside_and_told(
    storage: Storage, clock: Clock
) -> None:
    ask = gate(storage, clock)
    typed = {"models": "starter", "steps": "1-9", "count": "1-2", "lora": ","}
    await ask.narrow("x:1", typed, "x:judge", is_open=False)
    rules = {"models": "tiny, sd15", "steps": "20-50", "lora": "ink"}
    await ask.change("x:1", rules, "x:own")
    in_force = await ask.in_force("x:1")
    assert in_force.without_effect == {"models": ["starter"], "steps": [1, 9]}
    told = list(rule_lines(in_force, words_of("en")))
    held = "which is outside what Marble's owner allows)"
    assert told == [
        "Drawing allowed: no",
        "unsafe pictures: off",
        f"steps: 20-50 (moderators set 1-9, {held}",
        "count: 1-2",
        f"models: tiny, sd15 (moderators set starter, {held}",
        "LoRAs by name: –",
    ]
    assert "（管理员设定的 1-9 " in "".join(rule_lines(in_force, words_of("zh")))
    await ask.narrow("x:1", {}, "x:judge", is_open=True)
    await ask(make_recipe(checkpoint="tiny", steps=20), ADA)
    await ask.change("x:1", dict.fromkeys(rules, ""), "x:own")
    with pytest.raises(Refusal, match="between 1 and 9"):  # theirs holds again
        await ask(make_recipe(steps=20), ADA)


async def test_a_closed_place_takes_nothing_until_it_is_opened(
    storage: Storage, clock: Clock
) -> None:
    ask = gate(storage, clock)
    await storage.people.add_place("x:1", "x:0")
    await ask.narrow("x:0", {}, "x:judge", is_open=False)
    with pytest.raises(Refusal, match="turned off"):
        await ask(make_recipe(), ADA)
    await ask.narrow("x:0", {}, "x:judge", is_open=True)
    await ask(make_recipe(), ADA)


async def test_only_the_owner_changes_rules(storage: Storage, clock: Clock) -> None:
    with pytest.raises(UserError, match="Only Marble's owner can do that"):
        await gate(storage, clock).change("x:1", {"steps": "1-20"}, "x:mod")
    assert "steps" not in (await gate(storage, clock).in_force("x:1")).rules


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


@pytest.mark.parametrize(
    ("rules", "reads"), [({}, 1), ({"daily": 10**6}, 2), ({"running": 1, "waiting": 9}, 2)]
)
async def test_the_database_is_read_no_more_often_than_the_rules_of_a_place_need(
    storage: Storage,
    clock: Clock,
    rules: dict[str, int],
    reads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = Counter[str]()
    read = Database.read

    async def count(database: Database, unit: Any) -> Any:
        counted["reads"] += 1
        return await read(database, unit)

    monkeypatch.setattr(Database, "read", count)
    await gate(storage, clock, **rules)(make_recipe(), ADA)
    assert counted["reads"] == reads


async def ask_and_add(ask: Gate, storage: Storage, recipe: Recipe, asker: Asker = ADA) -> Job:
    """Do what the studio does with what somebody asks for."""
    allow = (await ask(recipe, asker)).allow
    new = NewJob(recipe=recipe, person=asker.person, place=asker.place)
    return await storage.jobs.add(new, allow=allow)


async def admitted(*asks: Awaitable[Job]) -> list[Job]:
    found = await asyncio.gather(*asks, return_exceptions=True)
    assert all(isinstance(each, (Job, Refusal)) for each in found), found
    return [each for each in found if isinstance(each, Job)]


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    costs=st.lists(st.integers(1, 6), min_size=2, max_size=12),
    daily=st.integers(3, 12),
    processes=st.integers(1, 2),
)
async def test_of_however_many_who_ask_at_once_no_day_is_overspent(
    tmp_path_factory: pytest.TempPathFactory, costs: list[int], daily: int, processes: int
) -> None:
    folder = tmp_path_factory.mktemp("shared")
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(Storage.open(folder)) for _ in range(processes)]
        gates = [Gate(each, ROLES, {"daily": daily}) for each in opened]
        recipes = [make_recipe(width=1000, height=1000, steps=cost) for cost in costs]
        jobs = await admitted(
            *(
                ask_and_add(gates[n % processes], opened[n % processes], recipe)
                for n, recipe in enumerate(recipes)
            )
        )
        spent = sum(pixel_steps(job.recipe) for job in jobs) / MILLION
        left = list(costs)
        for job in jobs:
            left.remove(job.recipe.steps)
    assert spent <= daily
    assert all(spent + cost > daily for cost in left), "somebody was refused who still had room"


async def test_caps_of_what_waits_hold_for_a_person_and_for_all_of_a_server(
    storage: Storage, clock: Clock
) -> None:
    for channel in ("x:1/a", "x:1/b"):
        await storage.people.add_place(channel, "x:1")
    ask = gate(storage, clock, waiting=2)
    await ask.change("x:1", {"place_waiting": "3"}, "x:own")
    a, b, elsewhere = (Asker(person="x:ada", place=place) for place in ("x:1/a", "x:1/b", "x:2"))
    recipe = make_recipe()
    first = await ask_and_add(ask, storage, recipe, a)
    await ask_and_add(ask, storage, recipe, b)
    with pytest.raises(
        Refusal, match="You already have 2 jobs waiting here, and at most 2 may wait"
    ):
        await ask_and_add(ask, storage, recipe, a)
    await ask_and_add(ask, storage, recipe, elsewhere)
    bob = Asker(person="x:bob", place="x:1/b")
    await ask_and_add(ask, storage, recipe, bob)
    with pytest.raises(Refusal, match="Here 3 jobs are already waiting"):
        await ask_and_add(ask, storage, recipe, bob)
    await storage.worker.claim(first.id)
    await ask_and_add(ask, storage, recipe, bob)


async def test_a_channels_own_cap_counts_that_channel_alone(storage: Storage, clock: Clock) -> None:
    for channel in ("x:1/a", "x:1/b"):
        await storage.people.add_place(channel, "x:1")
    ask = gate(storage, clock)
    await ask.change("x:1/a", {"place_waiting": "1"}, "x:own")
    a, b = (Asker(person="x:ada", place=place) for place in ("x:1/a", "x:1/b"))
    for asker in (b, b, a):
        await ask_and_add(ask, storage, make_recipe(), asker)
    with pytest.raises(Refusal, match="Here 1 job is already waiting"):
        await ask_and_add(ask, storage, make_recipe(), a)


async def test_of_many_who_ask_at_once_no_more_wait_than_may(
    storage: Storage, clock: Clock
) -> None:
    ask = gate(storage, clock, waiting=2, place_waiting=3)
    people = [Asker(person=f"x:{n % 3}", place="x:1") for n in range(15)]
    jobs = await admitted(*(ask_and_add(ask, storage, make_recipe(), each) for each in people))
    assert len(jobs) == 3
    assert max(Counter(job.person for job in jobs).values()) <= 2


async def test_as_many_of_a_server_run_at_once_as_may_and_the_next_when_one_has_ended(
    house: House, clock: Clock
) -> None:
    ask = gate(house.storage, clock)
    for channel in ("x:1/a", "x:1/b"):
        await house.storage.people.add_place(channel, "x:1")
    await ask.change("x:1", {"place_running": "2", "running": "1"}, "x:own")
    assert await ask.caps("x:ada", "x:1/a") == (("x:ada in x:1", 1), ("x:1", 2))
    assert await ask.caps("x:own", "x:1/a") == await ask.caps("x:ada", "x:2") == ()
    house.studio._gate = ask
    house.executor.slots, house.executor.gate = 4, asyncio.Event()
    asked = [("x:ada", "x:1/a"), ("x:ada", "x:1/b"), ("x:bob", "x:1/b"), ("x:eve", "x:1/a")]
    jobs = [
        await house.studio.imagine({"prompt": "a cat"}, Asker(person=person, place=place))
        for person, place in asked
    ]
    async for news in house.worker.follow(jobs[2].id):  # bob's: the second that may run
        if isinstance(news, Progress):
            break
    house.executor.gate.set()
    for job in jobs:
        async for _ in house.worker.follow(job.id):
            pass
    ended = [(await house.storage.jobs.get(job.id)).status for job in jobs]
    assert (ended, house.executor.most) == ([Status.RENDERED] * 4, 2)


async def test_what_was_counted_for_a_place_counts_under_its_new_id(
    storage: Storage, clock: Clock
) -> None:
    ask = gate(storage, clock, per_minute=2, place_per_minute=3, running=4, place_running=5)
    await ask.change("x:1/3", {"per_minute": "1"}, "x:own")
    old, new, topic = (Asker(person="x:ada", place=place) for place in ("x:1", "x:8", "x:8/3"))
    await ask(make_recipe(), old)
    await ask(make_recipe(), Asker(person="x:ada", place="x:1/3"))
    running = await ask.caps("x:ada", "x:1/3")
    await storage.people.move_place("x:1", "x:8", reply={})
    ask.move("x:1", "x:8")
    assert await ask.caps("x:ada", "x:8/3") == running
    with pytest.raises(Refusal, match="You may request 1 job a minute here"):
        await ask(make_recipe(), topic)
    await ask(make_recipe(), new)
    with pytest.raises(Refusal, match="You may request 2 jobs a minute here"):
        await ask(make_recipe(), new)
    with pytest.raises(Refusal, match="here together may request 3 jobs"):
        await ask(make_recipe(), Asker(person="x:bob", place="x:8"))
