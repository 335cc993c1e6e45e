"""What is in force in a place is what is shown there and is enforced, in trees of any shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bots.admission.gate import Gate
from bots.admission.in_force import resolve
from bots.admission.roles import Roles
from bots.admission.rulebook import Rules, Safety, read_rule
from bots.admission.rules import Refusal
from bots.chat.listings import rule_lines
from bots.operations.settings import load_settings
from bots.requests.studio import Asker
from bots.texts import words_of
from bots.worker.maintenance import Maintenance
from engine.queue.queue import Queue
from storage import NewJob, Storage
from storage.records import Level
from tests.factories import line_in, make_recipe

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
NUMBERS: Final = count()
AGES: Final = (5, 15, 50)  # days
NOTHING: Final = ""
LIMIT: Final = st.sampled_from(["0", "1", "2", NOTHING, NOTHING])
Values = dict[str, Any]


@dataclass(frozen=True)
class Tree:
    """A forest of numbered places: what each lies in (an earlier one, or nothing), its settings.

    The place of a number bears the forest's name, so that many grow in one storage.
    """

    parents: list[int | None]
    values: dict[str, Values]
    adult: frozenset[str] = frozenset()
    name: str = "x"

    @property
    def numbers(self) -> list[str]:
        return [str(number) for number in range(len(self.parents))]

    def place(self, number: str) -> str:
        return number if number == "*" else f"{self.name}:{number}"

    def is_adult(self, place: str) -> bool:
        return place.rpartition(":")[2] in self.adult

    def line(self, number: str) -> list[str]:
        """Return a place and what it lies in, the innermost first."""
        found = [number]
        while (parent := self.parents[int(found[-1])]) is not None:
            found.append(str(parent))
        return found

    def nearest(self, number: str, rule: str) -> tuple[str, Any]:
        """Return where a rule that applies in a place was set, and what it says."""
        for each in (*self.line(number), "*"):
            if rule in self.values.get(each, {}):
                return each, self.values[each][rule]
        return "", None

    def group(self, number: str, rule: str, everywheres: str = "") -> str:
        """Return with which place a place's jobs are counted by a rule."""
        set_in, _ = self.nearest(number, rule)
        return set_in if set_in not in ("", "*") else everywheres or self.line(number)[-1]


@st.composite
def trees(draw: st.DrawFn, rules: Mapping[str, st.SearchStrategy[str]]) -> Tree:
    """Make forests of places with rules of some names (`rules.waiting`) at any of them."""
    number = draw(st.integers(2, 7))
    parents = [draw(st.none() | st.integers(0, n - 1)) if n else None for n in range(number)]
    places = [str(n) for n in range(number)]
    values: dict[str, Values] = {}
    for place in (*places, "*"):
        typed = {rule: draw(texts) for rule, texts in rules.items()}
        if place == "*":  # moderators set nothing everywhere
            typed = {rule: text for rule, text in typed.items() if rule.startswith("rules.")}
        values[place] = {
            rule: read_rule(rule.partition(".")[2], text)
            for rule, text in typed.items()
            if text != NOTHING
        }
    return Tree(parents, values, draw(st.frozensets(st.sampled_from(places))))


cheap = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Clock:
    """Tell the time that a test says it is."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def storage(tmp_path: Path, clock: Clock) -> AsyncIterator[Storage]:
    """Open one storage for all trees of a test."""
    async with Storage.open(tmp_path, now=clock) as storage:
        yield storage


async def planted(storage: Storage, tree: Tree, defaults: Rules) -> tuple[Tree, Gate]:
    """Put a tree into a storage; return it with a name of its own, and the gate."""
    tree = replace(tree, name=f"x{next(NUMBERS)}")
    people = storage.people
    for number, parent in enumerate(tree.parents):
        if parent is not None:
            await people.add_place(tree.place(str(number)), tree.place(str(parent)))
    await people.change_place_settings(
        "*", dict.fromkeys((await line_in(storage, "*"))[0].settings)
    )
    for place, values in tree.values.items():
        await people.change_place_settings(tree.place(place), values)
    return tree, Gate(storage, Roles(), defaults, clock=lambda: 0.0, today=lambda: NOW)


async def asks(gate: Gate, person: str, place: str) -> bool:
    """Ask for a picture of 10⁶ pixels × steps and add the job; say whether it was admitted."""
    recipe = make_recipe(width=1000, height=1000, steps=1)
    try:
        admission = await gate(recipe, Asker(person=person, place=place))
        new = NewJob(recipe=recipe, person=person, place=place)
        await gate.storage.jobs.add(new, allow=admission.allow)
    except Refusal:
        return False
    return True


def shown(lines: list[str], label: str) -> str | None:
    """Return what a list of rules says of one."""
    found = [line.removeprefix(f"{label}: ") for line in lines if line.startswith(f"{label}: ")]
    return found[0].partition(" (")[0] if found else None


@cheap
@given(
    tree=trees(
        {
            "rules.safety": st.sampled_from([*Safety, NOTHING, NOTHING]),
            "policy.safety": st.sampled_from([*Safety, NOTHING, NOTHING]),
        }
    )
)
async def test_pictures_are_shown_as_the_rules_say_where_they_are_asked_for(
    storage: Storage, tree: Tree
) -> None:
    tree, gate = await planted(storage, tree, {"safety": "spoiler"})
    words = words_of("en")
    for number in tree.numbers:
        where, owners = tree.nearest(number, "rules.safety")
        if tree.adult.intersection(tree.line(number)) and where in ("*", ""):
            owners = Safety.OFF
        owners = Safety(owners or Safety.SPOILER)
        theirs = Safety(tree.nearest(number, "policy.safety")[1] or Safety.OFF)
        strictest = max(owners, theirs, key=list(Safety).index)
        assert (await gate.view(tree.place(number), tree.is_adult)).rule is strictest
        held = await gate.in_force(tree.place(number), tree.is_adult)
        assert shown(list(rule_lines(held, words)), words.rules["safety"]) == strictest


@cheap
@given(tree=trees({"rules.keep_days": st.sampled_from(["0", "10", "20", "100", NOTHING])}))
async def test_the_night_removes_what_is_older_than_is_shown_and_nothing_else(
    storage: Storage, clock: Clock, tmp_path: Path, tree: Tree
) -> None:
    tree, gate = await planted(storage, tree, {"keep_days": 30})
    jobs: dict[int, tuple[str, int]] = {}
    for number in tree.numbers:
        for age in AGES:
            clock.now = NOW - timedelta(days=age)
            new = NewJob(recipe=make_recipe(), person="x:a", place=tree.place(number))
            job = await storage.jobs.add(new)
            await storage.jobs.cancel(job.id)
            await storage.jobs.delivered(job.id)
            jobs[job.id] = (number, age)
    clock.now = NOW
    to_go = set()
    for number in tree.numbers:
        days = (await gate.in_force(tree.place(number))).rules["keep_days"]
        set_in, said = tree.nearest(number, "rules.keep_days")
        assert days == (said if set_in else 30)
        to_go |= {(number, age) for age in AGES if days and age > days}
    kept = replace(load_settings({}, env_file=""), data_dir=tmp_path, keep_days=30)
    await Maintenance(storage, Queue(lambda: 1), kept).prune()
    left = {job.id for job in await storage.history.page(limit=len(jobs))}
    assert {jobs[job] for job in jobs.keys() - left} == to_go


STEPS: Final = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from(["ada", "bob"])), min_size=4, max_size=16
)


@cheap
@given(tree=trees({"rules.per_minute": LIMIT, "policy.per_minute": LIMIT}), steps=STEPS)
async def test_a_rate_counts_together_what_is_asked_for_where_it_was_set(
    storage: Storage, tree: Tree, steps: list[tuple[int, str]]
) -> None:
    tree, gate = await planted(storage, tree, {"per_minute": 3})
    asked: Counter[tuple[str, str, str]] = Counter()
    for step, person in steps:
        number = tree.numbers[step % len(tree.numbers)]
        owners = tree.nearest(number, "rules.per_minute")[1]
        limits = {
            "rules.per_minute": 3 if owners is None else owners,
            "policy.per_minute": tree.nearest(number, "policy.per_minute")[1],
        }
        bound = {
            (rule, tree.group(number, rule), person): most for rule, most in limits.items() if most
        }
        place = tree.place(number)
        assert (await gate.in_force(place)).rules["per_minute"] == min(bound.values(), default=0)
        free = all(asked[key] < most for key, most in bound.items())
        assert await asks(gate, person, place) is free
        if free:
            asked.update(bound.keys())


@cheap
@given(
    tree=trees(
        {
            "rules.place_waiting": LIMIT,
            "rules.waiting": LIMIT,
            "rules.daily": LIMIT,
            "rules.running": LIMIT,
        }
    ),
    steps=STEPS,
)
async def test_caps_and_budgets_count_together_what_is_asked_for_where_they_were_set(
    storage: Storage, tree: Tree, steps: list[tuple[int, str]]
) -> None:
    tree, gate = await planted(storage, tree, {})
    counted: Counter[tuple[str, str, str]] = Counter()
    for step, name in steps:
        number, person = tree.numbers[step % len(tree.numbers)], f"{tree.name}:{name}"
        limits = {
            ("place_waiting", tree.group(number, "rules.place_waiting"), ""),
            ("waiting", tree.group(number, "rules.waiting"), person),
            ("daily", tree.group(number, "rules.daily", "*"), person),
        }
        place = tree.place(number)
        held = (await gate.in_force(place)).rules
        together = f"{person} in {tree.place(tree.group(number, 'rules.running'))}"
        caps = ((together, held["running"]),) if held["running"] else ()
        assert await gate.caps(person, place) == caps
        bound = {key: held[key[0]] for key in limits if held[key[0]]}
        free = all(counted[key] < most for key, most in bound.items())
        assert await asks(gate, person, place) is free
        if free:
            counted.update(limits)


def a_line(**values: Values) -> tuple[Level, ...]:
    """Return a thread in a channel in a server, with their settings."""
    names = {"x:1/3": "thread", "x:1/2": "channel", "x:1": "server", "*": "everywhere"}
    return tuple(Level(place=place, settings=values.get(n, {})) for place, n in names.items())


def test_it_is_told_where_each_rule_was_set() -> None:
    held = resolve(
        {"safety": "spoiler"},
        a_line(
            everywhere={"rules.steps": [1, 50], "rules.models": ["a", "b"], "rules.blocked": ["x"]},
            server={"policy.steps": [1, 30], "policy.blocked": ["y"], "rules.keep_days": 9},
            channel={"policy.models": ["b"], "rules.keep_days": 0, "policy.count": [1, 2]},
            thread={"policy.safety": "off", "policy.steps": [20, 60], "rules.count": [1, 2]},
        ),
    )
    assert held.set_in == {
        "steps": ("*", "x:1/3"),  # 20-50: of both
        "models": ("x:1/2",),
        "blocked": ("*", "x:1"),
        "keep_days": ("x:1/2",),
        "count": ("x:1/3",),
    }
    assert held.rules["safety"] == "spoiler"  # the setting's: a moderator cannot widen it
    called = {"x:1": "this server", "x:1/2": "the channel of this thread"}
    told = list(rule_lines(held, words_of("en"), called))
    assert "models: b (set for the channel of this thread)" in told
    assert "steps: 20-50" in told
    assert "blocked words: x, y (set for this server)" in told
    chinese = "".join(rule_lines(held, words_of("zh"), {"x:1/2": "此子区所属的频道"}))
    assert "（由此子区所属的频道设定）" in chinese


async def test_a_server_rule_of_two_lets_two_through_in_all_its_channels_and_threads(
    storage: Storage,
) -> None:
    grown = Tree([None, 0, 0, 1, None], {"0": {"policy.per_minute": 2}})
    tree, gate = await planted(storage, grown, {"place_per_minute": 3})
    server, *channels, elsewhere = map(tree.place, tree.numbers)
    admitted = [await asks(gate, "x:a", place) for place in (*channels, channels[0], server)]
    assert admitted == [True, True, False, False, False]
    assert await asks(gate, "x:b", channels[2])
    assert not await asks(gate, "x:b", channels[1])  # three of all together, as everywhere
    assert await asks(gate, "x:b", elsewhere)
