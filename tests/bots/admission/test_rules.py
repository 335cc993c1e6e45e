from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bots.admission.in_force import InForce, resolve
from bots.admission.rulebook import (
    MEASURES,
    NAMED,
    RULES,
    UNLIMITED,
    WORKFLOWS,
    Rules,
    is_among,
    read_rule,
    write_rule,
)
from bots.admission.rules import Refusal, check, check_budget, check_rate
from bots.requests.options import OPTIONS
from engine.errors import OptionError, UnknownPart
from engine.queue.estimates import MILLION, pixel_steps
from engine.recipe.parts import Area, Control, Lora, Upscale
from storage.records import Level
from tests.factories import make_recipe

SHA = "0" * 64
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def resolved(defaults: Rules, stored: dict[str, Any]) -> InForce:
    return resolve(defaults, (Level(place="*", settings=stored),))


def test_without_rules_everything_passes() -> None:
    check(UNLIMITED, make_recipe(prompt="anything", steps=150))
    assert set(resolved({}, {}).limits.values()) == {()}


def test_a_number_out_of_bounds_is_refused_with_the_bounds() -> None:
    rules = {**UNLIMITED, "steps": [1, 30], "guidance": [0, 10]}
    check(rules, make_recipe(steps=30))
    with pytest.raises(Refusal, match=r"^Here steps must be between 1 and 30, not 31\.$"):
        check(rules, make_recipe(steps=31))
    with pytest.raises(Refusal, match=r"guidance must be between 0 and 10, not 12\.5"):
        check(rules, make_recipe(guidance_scale=12.5))


def test_a_blocked_word_is_refused_where_it_would_be_drawn() -> None:
    rules = {**UNLIMITED, "blocked": ["bad"]}
    with pytest.raises(Refusal, match="The word 'bad' is not allowed here"):
        check(rules, make_recipe(prompt="a b4d day"))
    check(rules, make_recipe(prompt="a day", negative_prompt="bad"))
    with pytest.raises(Refusal):  # guidance 0 draws the negative prompt and nothing else
        check(rules, make_recipe(prompt="a day", negative_prompt="bad", guidance_scale=0.0))


@pytest.mark.parametrize(
    ("prompt", "syntax"),
    [
        ("a (nu:1)de", "a1111"),
        ("a (nu:1.0)[de]", "a1111"),
        ("a (n:0.9)(u:1.1)(d:1)e", "a1111"),
        (r"a nu\de", "a1111"),
        ("a [(nu:1)de:cat:3]", "a1111"),
        ("a [cat|(nu:1)de]", "a1111_old"),
        ("a cat AND (nu:1)de", "a1111"),
        ("a (nu:1)de", "marble"),
        ("a (nu)(de:1.25)", "marble"),
        ("a ((nu):1.5)de", "marble"),
    ],
)
def test_a_blocked_word_is_found_between_weights(prompt: str, syntax: str) -> None:
    rules = {**UNLIMITED, "blocked": ["nude"]}
    for texts in (
        {"prompt": prompt},
        {"prompt": "a", "areas": (Area(prompt=prompt),)},
        {"prompt": "a", "negative_prompt": prompt, "guidance_scale": 0.0},
    ):
        if "AND" in prompt and "areas" in texts:
            continue
        with pytest.raises(Refusal, match="The word 'nude' is not allowed here"):
            check(rules, make_recipe(**texts, syntax=syntax))
    check(rules, make_recipe(prompt="a (nu:1) day", syntax=syntax))


def test_only_the_models_of_a_place_draw_there() -> None:
    check({**UNLIMITED, "models": ["starter"]}, make_recipe(checkpoint="starter"))
    with pytest.raises(Refusal, match=r"Here models must be one of sd15, not 'starter'\."):
        check({**UNLIMITED, "models": ["sd15"]}, make_recipe(checkpoint="starter"))
    with pytest.raises(Refusal, match="one of none, not"):
        check({**UNLIMITED, "models": []}, make_recipe(checkpoint="starter"))


@pytest.mark.parametrize(
    ("allowed", "name", "right"),
    [
        ("sub/dream.safetensors", "sub/dream.safetensors", True),
        ("sub/dream", "sub/dream.safetensors", True),
        ("Sub\\Dream", "sub/dream.safetensors", True),
        ("dream", "sub/dream.safetensors", True),
        ("dream.safetensors", "sub/dream.safetensors", True),
        ("dream", "dream", True),
        ("other/dream", "sub/dream.safetensors", False),
        ("sub/dream", "dream", False),
        ("dream-x", "dream_x.safetensors", False),
        ("dream", "dreamy.safetensors", False),
    ],
)
def test_a_rules_names_mean_files_as_everywhere(allowed: str, name: str, right: bool) -> None:
    for rule in ("models", "lora", "control", "upscaler", "vae"):
        assert is_among(rule, name, [allowed]) is right
    rules = {**UNLIMITED, "models": [allowed]}
    if right:
        check(rules, make_recipe(checkpoint=name))
    else:
        with pytest.raises(Refusal):
            check(rules, make_recipe(checkpoint=name))


def test_of_a_bare_name_and_a_file_both_rules_let_the_file() -> None:
    for owner, asked in (("dream", "sub/dream.safetensors"), ("sub/dream.safetensors", "dream")):
        held = resolved({"models": [owner]}, {"policy.models": [asked]}).rules
        assert held["models"] == ["sub/dream.safetensors"]


def test_moderators_of_a_place_narrow_what_the_owner_set_and_never_widen_it() -> None:
    held = {**UNLIMITED, "per_minute": 6, "blocked": ["bad"], "safety": "spoiler"}
    held |= {"models": ["a", "b"], "sampler": ["euler"], "steps": [5, 30], "count": [1, 4]}
    asked = {"per_minute": 2, "place_per_minute": 9, "blocked": ["worse"], "models": ["b", "c"]}
    asked |= {"steps": [1, 20], "count": [8, 16], "width": [64, 512], "safety": "refuse"}
    asked |= {"sampler": ["lms"], "vae": ["one"]}
    stored = {f"policy.{name}": value for name, value in asked.items()}
    assert resolved(held, stored).rules == held | {
        "per_minute": 2,
        "place_per_minute": 9,
        "blocked": ["bad", "worse"],
        "safety": "refuse",
        "models": ["b"],
        "vae": ["one"],
        "steps": [5, 20],
        "width": [64, 512],
    }
    assert resolved(held, stored).without_effect == {"sampler": ["lms"], "count": [8, 16]}
    left = resolved(held, {"policy.models": []})  # is asked for, too
    assert (left.rules["models"], left.without_effect) == ([], {})
    wider = {"per_minute": 60, "daily": 10**9, "safety": "off", "models": ["a", "b", "c"]}
    assert resolved(held, {f"policy.{name}": value for name, value in wider.items()}).rules == held
    assert resolved(held, {}).rules == held


def test_who_asks_too_often_is_told_until_when() -> None:
    check_rate("per_minute", 12, 0.0)
    with pytest.raises(Refusal, match=r"You may request 12 jobs a minute here; try again in 5 s"):
        check_rate("per_minute", 12, 4.2)
    with pytest.raises(
        Refusal, match=r"All people here together may request 1 job a minute; try .* 60 s"
    ):
        check_rate("place_per_minute", 1, 60.0)


def test_a_day_has_so_many_pixel_steps_and_who_used_them_is_told_until_when() -> None:
    recipe = make_recipe(width=1000, height=1000, steps=10, count=2)
    assert pixel_steps(recipe) == 20 * MILLION
    check_budget(50, recipe, 30 * MILLION, list)
    shares = (5, 15, 20)
    costs = [(NOON + timedelta(hours=n), each * MILLION) for n, each in enumerate(shares)]
    with pytest.raises(Refusal, match=r"used 40 of 50 .* needs 20.0; .* after .* 13:00 UTC"):
        check_budget(50, recipe, 40 * MILLION, lambda: costs)
    late = [(at + timedelta(seconds=1), each) for at, each in costs]
    with pytest.raises(Refusal, match=r"after .* 13:01 UTC"):
        check_budget(50, recipe, 40 * MILLION, lambda: late)
    with pytest.raises(Refusal, match="more than the 19 million"):
        check_budget(19, recipe, 0, list)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("per_minute", "6", 6),
        ("daily", "", None),
        ("steps", "1-30", [1, 30]),
        ("guidance", "0.5 - 7.5", [0.5, 7.5]),
        ("blocked", "one, two words ,one,", ["one", "two words"]),
        ("blocked", "龙，血腥、gore", ["龙", "血腥", "gore"]),
        ("steps", "1～30", [1, 30]),
        ("guidance", "1 – 7.5", [1, 7.5]),
        ("lora_weight", "-1 - 1.5", [-1, 1.5]),
        ("lora_weight", "-2--1", [-2, -1]),
        ("pixels", "4096-262144", [4096, 262144]),
        ("sampler", "euler, DPMPP-2M", ["euler", "dpmpp_2m"]),
        ("models", "starter, Dream Shaper", ["starter", "Dream Shaper"]),
        ("safety", "Refuse", "refuse"),
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
        ("width", "64-16385"),
        ("colour", "red"),
        ("sampler", "euler, guess"),
        ("safety", "perhaps"),
        ("images", "0-11"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(name: str, text: str) -> None:
    with pytest.raises((OptionError, UnknownPart)):
        read_rule(name, text)


def test_a_places_own_rules_replace_the_defaults_one_by_one() -> None:
    defaults = {**UNLIMITED, "per_minute": 12, "daily": 50, "steps": [1, 50], "count": [1, 4]}
    stored = {"rules.per_minute": 0, "rules.steps": [1, 10], "rules.blocked": ["x"], "other": 1}
    changed = {"per_minute": 0, "blocked": ["x"], "steps": [1, 10]}
    assert resolved(defaults, stored).rules == defaults | changed
    assert resolved(defaults, {}).rules == defaults
    assert RULES.keys() >= {"per_minute", "blocked", "steps"}


# Options and what else people may ask for, as changes of a recipe, and the rules that bound them.
ASKED: dict[str, tuple[dict[str, Any], str, str]] = {
    "steps": ({"steps": 31}, "steps", "1-30"),
    "guidance": ({"guidance_scale": 9.0}, "guidance", "0-8"),
    "strength": ({"image": SHA, "strength": 0.9}, "strength", "0.1-0.8"),
    "fit": ({"image": SHA, "strength": 0.5, "fit": "pad"}, "fit", "crop"),
    "sampler": ({"sampler": "heun"}, "sampler", "euler, lms"),
    "schedule": ({"schedule": "beta"}, "schedule", "normal"),
    "size": ({"width": 520}, "width", "64-512"),
    "size, its height": ({"height": 520}, "height", "64-512"),
    "size, all of it": ({"width": 512, "height": 520}, "pixels", "4096-262144"),
    "count": ({"count": 3}, "count", "1-2"),
    "model": ({"checkpoint": "huge"}, "models", "starter, small"),
    "refiner": ({"refiner": "huge"}, "models", "starter, small"),
    "lora": ({"loras": (Lora(name="ink"),)}, "lora", "Chalk.safetensors"),
    "lora, how many": ({"loras": (Lora(name="a"), Lora(name="b"))}, "loras", "0-1"),
    "lora, its weight": ({"loras": (Lora(name="a", weight=-2.0),)}, "lora_weight", "-1-1"),
    "clip-skip": ({"clip_skip": 3}, "clip_skip", "1-2"),
    "vae": ({"vae": "other"}, "vae", "one"),
    "rescale": ({"guidance_rescale": 0.9}, "rescale", "0-0.7"),
    "shift": ({"shift": 6.0}, "shift", "0.5-5"),
    "upscale": ({"upscale": Upscale(factor=4.0)}, "upscale", "1-2"),
    "upscale, by what": ({"upscale": Upscale(by="huge")}, "upscaler", "lanczos"),
    "upscale, its pass": ({"upscale": Upscale(strength=0.9)}, "strength", "0.1-0.5"),
    "upscale, its width": ({"upscale": Upscale(factor=4.0)}, "width", "64-128"),
    "upscale, its size": ({"upscale": Upscale(factor=4.0)}, "pixels", "4096-20000"),
    "control": ({"controls": (Control(model="canny", image=SHA),)}, "control", "depth"),
    "control, how many": ({"controls": (Control(model="canny", image=SHA),)}, "controls", "0-0"),
    "control, its strength": (
        {"controls": (Control(model="canny", image=SHA, strength=1.5),)},
        "control_strength",
        "0-1",
    ),
    "images": ({"image": SHA, "strength": 0.5}, "images", "0-0"),
}
# Any number, whose numbers noise is, when a second model takes over, and words, which `blocked` is
# for, whatever their grammar.
FREE = {"seed", "noise", "refiner-at", "negative", "style", "syntax", "best"}


def test_words_are_blocked_in_parts_of_the_picture() -> None:
    rules = {**UNLIMITED, "blocked": ["bad"]}
    check(rules, make_recipe(areas=(Area(prompt="bad", negative=True),)))
    with pytest.raises(Refusal, match="bad"):
        check(rules, make_recipe(areas=(Area(prompt="a bad day", width=0.5),)))


@pytest.mark.parametrize("prompt", ["a [b|g]ad day", "a [ba:x:0.5][d|t]", "x AND [b:3]ad :-1"])
def test_words_are_blocked_where_steps_put_them_together(prompt: str) -> None:
    rules = {**UNLIMITED, "blocked": ["bad"]}
    check(rules, make_recipe(prompt=prompt))
    with pytest.raises(Refusal, match="bad"):
        check(rules, make_recipe(prompt=prompt, syntax="a1111"))


def test_every_option_has_a_rule() -> None:
    assert {option.name for option in OPTIONS} - FREE <= ASKED.keys()
    assert {rule for _, rule, _ in ASKED.values()} == MEASURES.keys() | NAMED.keys() - {WORKFLOWS}


@pytest.mark.parametrize("asked", ASKED)
def test_what_a_place_holds_within_bounds_is_refused_beyond_them_alone(asked: str) -> None:
    changes, rule, text = ASKED[asked]
    held = resolved({}, {f"rules.{rule}": read_rule(rule, text)}).rules
    check(held, make_recipe())
    check(UNLIMITED, make_recipe(**changes))
    with pytest.raises(Refusal, match=f"^Here {rule} must be .*, not "):
        check(held, make_recipe(**changes))


OF_FIELDS = {
    "guidance": ("guidance_scale", "3-10", {"guidance_scale": 1.0}),
    "rescale": ("guidance_rescale", "0.2-0.7", {}),
    "loras": ("loras", "1-16", {}),
    "controls": ("controls", "1-4", {}),
}


@pytest.mark.parametrize("rule", OF_FIELDS)
def test_a_rule_of_an_option_limits_only_models_that_have_it(rule: str) -> None:
    field, text, changes = OF_FIELDS[rule]
    held = resolved({}, {f"rules.{rule}": read_rule(rule, text)}).rules
    recipe = make_recipe(**changes)
    with pytest.raises(Refusal, match=f"^Here {rule} must be "):
        check(held, recipe)
    check(held, recipe, {field})
    assert {each.field for each in MEASURES.values()} - {""} == {
        *(field for field, *_ in OF_FIELDS.values()),
        *("clip_skip", "shift"),
    }
