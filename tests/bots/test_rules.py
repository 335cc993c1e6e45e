from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bots.rules import RULES, Refusal, Rules, narrowed, read_rule, with_stored, write_rule
from engine.errors import OptionError
from engine.work import pixel_steps
from tests.factories import make_recipe

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_without_rules_everything_passes() -> None:
    Rules().check(make_recipe(prompt="anything", steps=150))
    Rules().check_budget(make_recipe(), [(NOON, 1e9)])


def test_a_number_out_of_bounds_is_refused_with_the_bounds() -> None:
    rules = Rules(bounds={"steps": (1, 30), "guidance": (0, 10)})
    rules.check(make_recipe(steps=30))
    with pytest.raises(Refusal, match=r"^Here steps must be between 1 and 30, not 31\.$"):
        rules.check(make_recipe(steps=31))
    with pytest.raises(Refusal, match=r"guidance must be between 0 and 10, not 12\.5"):
        rules.check(make_recipe(guidance_scale=12.5))


def test_a_blocked_word_is_refused_where_it_would_be_drawn() -> None:
    rules = Rules(blocked=("bad",))
    with pytest.raises(Refusal, match="The word 'bad' is not allowed here"):
        rules.check(make_recipe(prompt="a b4d day"))
    rules.check(make_recipe(prompt="a day", negative_prompt="bad"))
    with pytest.raises(Refusal):  # guidance 0 draws the negative prompt and nothing else
        rules.check(make_recipe(prompt="a day", negative_prompt="bad", guidance_scale=0.0))


def test_only_the_models_of_a_place_draw_there() -> None:
    Rules(models=("starter",)).check(make_recipe(checkpoint="starter"))
    with pytest.raises(Refusal, match="The model 'starter' is not for here; for here: sd15"):
        Rules(models=("sd15",)).check(make_recipe(checkpoint="starter"))
    with pytest.raises(Refusal, match="for here: none"):
        Rules(models=()).check(make_recipe(checkpoint="starter"))


def test_moderators_of_a_place_narrow_what_the_owner_set_and_never_widen_it() -> None:
    held = Rules(
        per_minute=6,
        blocked=("bad",),
        models=("a", "b"),
        bounds={"steps": (5, 30), "count": (1, 4)},
    )
    asked = {"per_minute": 2, "place_per_minute": 9, "blocked": ["worse"], "models": ["b", "c"]}
    asked |= {"steps": [1, 20], "count": [8, 16], "width": [64, 512]}
    stored = {f"policy.{name}": value for name, value in asked.items()}
    assert narrowed(held, stored) == Rules(
        per_minute=2,
        place_per_minute=9,
        blocked=("bad", "worse"),
        models=("b",),
        bounds={"steps": (5, 20), "count": (1, 4), "width": (64, 512)},
    )
    assert narrowed(held, {"policy.per_minute": 60, "policy.daily": 10**9}) == held
    assert narrowed(held, {}) == held


def test_who_asks_too_often_is_told_until_when() -> None:
    rules = Rules(per_minute=12, place_per_minute=1)
    rules.check_rate(0.0, 0.0)
    with pytest.raises(Refusal, match=r"You may ask for 12 jobs a minute here; try again in 5 s"):
        rules.check_rate(4.2, 0.0)
    with pytest.raises(Refusal, match=r"all together may ask for one job a minute; try .* 60 s"):
        rules.check_rate(0.0, 60.0)


def test_a_day_has_so_many_pixel_steps_and_who_used_them_is_told_until_when() -> None:
    recipe = make_recipe(width=1000, height=1000, steps=10, count=2)
    assert pixel_steps(recipe) == 20
    rules = Rules(daily=50)
    rules.check_budget(recipe, [(NOON, 15.0), (NOON, 15.0)])
    spent = [(NOON + timedelta(hours=2), 20.0), (NOON, 5.0), (NOON + timedelta(hours=1), 15.0)]
    with pytest.raises(Refusal, match=r"used 40 of your 50 .* takes 20.0; .* from 13:00 UTC on"):
        rules.check_budget(recipe, spent)
    with pytest.raises(Refusal, match="more than a whole day has"):
        Rules(daily=19).check_budget(recipe, [])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("per_minute", "6", 6),
        ("daily", "", None),
        ("steps", "1-30", [1, 30]),
        ("guidance", "0.5 - 7.5", [0.5, 7.5]),
        ("blocked", "one, two words ,one,", ["one", "two words"]),
    ],
)
def test_rules_are_read_and_written_as_people_do(name: str, text: str, value: Any) -> None:
    assert read_rule(name, text) == value
    if value is not None:
        assert read_rule(name, write_rule(value)) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("per_minute", "-1"),
        ("per_minute", "many"),
        ("daily", "9" * 12),
        ("steps", "30"),
        ("steps", "30-1"),
        ("steps", "0-30"),
        ("width", "64-4096"),
        ("colour", "red"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(name: str, text: str) -> None:
    with pytest.raises(OptionError):
        read_rule(name, text)


def test_a_places_own_rules_replace_the_defaults_one_by_one() -> None:
    defaults = Rules(per_minute=12, daily=50, bounds={"steps": (1, 50), "count": (1, 4)})
    stored = {"rules.per_minute": 0, "rules.steps": [1, 10], "rules.blocked": ["x"], "other": 1}
    assert with_stored(defaults, stored) == Rules(
        per_minute=0, daily=50, blocked=("x",), bounds={"steps": (1, 10), "count": (1, 4)}
    )
    assert with_stored(defaults, {}) == defaults
    assert RULES.keys() >= {"per_minute", "blocked", "steps"}
