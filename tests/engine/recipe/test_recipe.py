import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import OptionError, UnknownOption
from engine.recipe.limits import check_words, parse_seed, read_whole
from engine.recipe.parts import Area, Control, Margins, Upscale, Variation
from engine.recipe.patches import Patch
from engine.recipe.recipe import Recipe, noise_of_version_2
from tests.factories import SMALL, make_recipe


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("width", 63, "a multiple of 8 between 64 and 2048"),
        ("width", 65, "a multiple of 8"),
        ("height", 4096, "between 64 and 2048"),
        ("steps", 0, "between 1 and 150"),
        ("steps", 2.5, "a whole number"),
        ("steps", True, "a whole number"),
        ("guidance_scale", -1, "between 0 and 30"),
        ("guidance_scale", float("nan"), "between 0 and 30"),
        ("guidance_scale", "4", "between 0 and 30"),
        ("count", 17, "between 1 and 16"),
        ("picture", 1, "below the count (1)"),
        ("picture", -1, "below the count"),
        ("seed", -1, "from 0 to 18446744073709551615"),
        ("seed", 2**64, "from 0 to 18446744073709551615"),
        ("sampler", "euller", "one of euler,"),
        ("schedule", "", "one of normal,"),
        ("prompt", "x" * 2001, "at most 2,000 characters"),
        ("negative_prompt", "x" * 2001, "at most 2,000 characters"),
        ("negative_prompt", None, "text"),
        ("checkpoint", "", "the name of a model"),
        ("refiner", " ", "the name of a model"),
        ("refiner_at", 1.0, "between 0.001 and 0.999"),
        ("refiner_by", "sigma", "one of steps, noise, anew"),
        ("aesthetic_score", 11, "between 0 and 10"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(
    option: str, value: Any, allowed: str
) -> None:
    with pytest.raises(OptionError) as error:
        make_recipe(**{option: value})
    assert error.value.option == option
    assert allowed in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_a_second_model_is_written_only_where_there_is_one() -> None:
    assert make_recipe(refiner_at=0.5, refiner_by="anew") == make_recipe()
    recipe = make_recipe(refiner="b", refiner_at=0.5, refiner_by="noise", aesthetic_score=7)
    written = recipe.to_dict()
    assert {name: written[name] for name in written if name not in make_recipe().to_dict()} == {
        "refiner": "b", "refiner_at": 0.5, "refiner_by": "noise", "aesthetic_score": 7.0,
    }  # fmt: skip
    assert Recipe.from_dict(written) == recipe
    assert make_recipe(refiner="b", aesthetic_score=6).to_dict().keys() == {
        *make_recipe().to_dict(), "refiner",
    }  # fmt: skip


def test_the_limits_themselves_are_allowed() -> None:
    make_recipe(width=64, height=2048, steps=150, guidance_scale=0, count=16, seed=2**64 - 1)
    make_recipe(prompt="x" * 2000)


@given(
    prompt=st.text(min_size=1, max_size=200).filter(lambda text: text.strip()),
    seed=st.integers(0, 2**64 - 1),
    guidance=st.floats(0, 30),
    count=st.integers(1, 16),
)
def test_json_gives_the_same_recipe_back(
    prompt: str, seed: int, guidance: float, count: int
) -> None:
    recipe = make_recipe(
        prompt=prompt, seed=seed, guidance_scale=guidance, count=count, picture=count - 1
    )
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_seed_travels_as_text_because_json_readers_stop_at_2_to_the_53() -> None:
    assert make_recipe(seed=2**63 + 1).to_dict()["seed"] == str(2**63 + 1)


def test_equal_recipes_have_equal_json_whatever_was_typed() -> None:
    assert make_recipe(guidance_scale=5).to_dict() == make_recipe(guidance_scale=5.0).to_dict()


def test_a_newer_version_an_unknown_or_a_missing_value_is_refused() -> None:
    data = make_recipe().to_dict()
    with pytest.raises(OptionError, match="newer"):
        Recipe.from_dict({**data, "version": 5})
    with pytest.raises(UnknownOption, match="did you mean 'steps'"):
        Recipe.from_dict({**data, "stepss": 3})
    with pytest.raises(OptionError, match="seed must be given"):
        Recipe.from_dict({key: data[key] for key in data if key != "seed"})


@pytest.mark.parametrize(
    ("version", "sampler", "noise", "more"),
    [
        (2, "euler", "cpu", {}),
        (2, "dpmpp_2m_sde", "independent", {}),
        (3, "dpmpp_2m_sde", "cpu", {}),
        (3, "euler", "gpu", {"ensd": 31337}),
        (4, "euler", "cpu", {"refiner": "other"}),
        (4, "dpmpp_2m_sde", "independent", {"refiner": "other"}),
        (4, "dpmpp_2m_sde", "cpu", {"aesthetic_score": 7.0}),
        (4, "euler", "gpu", {"patches": (Patch(kind="eps", numbers=(0,)),)}),
        (4, "euler", "cpu", {"syntax": "a1111"}),
        (4, "euler", "cpu", {"areas": (Area(prompt="a dog", width=0.5),)}),
    ],
)
def test_a_recipe_has_the_first_version_that_can_say_it(
    version: int, sampler: str, noise: str, more: dict[str, Any]
) -> None:
    """So that an older program says that a newer one wrote it, and reads what it can."""
    recipe = make_recipe(sampler=sampler, noise=noise, **more)
    data = json.loads(json.dumps(recipe.to_dict()))
    assert data["version"] == version
    assert Recipe.from_dict(data) == recipe
    # Such as were stored before version 4 was: noise of its own made them version 3.
    if version == 4:
        assert Recipe.from_dict({**data, "noise": noise, "version": 3}) == recipe
        if noise == noise_of_version_2(sampler):
            assert Recipe.from_dict({**data, "version": 2}) == recipe


@pytest.mark.parametrize("text", ["abc", "", "-1", "1.5", "18446744073709551616", "9" * 5000, None])
def test_what_is_no_seed_is_refused(text: object) -> None:
    with pytest.raises(OptionError, match="seed"):
        parse_seed(text)


@pytest.mark.parametrize(
    ("text", "seed"), [("0", 0), (" 42 ", 42), (7, 7), (str(2**64 - 1), 2**64 - 1)]
)
def test_a_seed_is_read_from_text_or_number(text: object, seed: int) -> None:
    assert parse_seed(text) == seed


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("20", 20), ("0" * 5000 + "7", 7)]
    + [
        (wrong, None)
        for wrong in ("", "0", "21", "-1", "1.5", " 3", "\u0663", "\u00b2", "9" * 5000)
    ],
    ids=lambda value: str(value)[:10],
)
def test_a_whole_number_is_read_within_its_bounds_however_long(
    text: str, number: int | None
) -> None:
    assert read_whole(text, 1, 20) == number


def test_a_recipe_makes_all_pictures_or_the_named_one() -> None:
    assert make_recipe(count=3).pictures == (0, 1, 2)
    assert make_recipe(count=3, picture=2).pictures == (2,)


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        make_recipe().seed = 8  # type: ignore[misc]
    assert SMALL["seed"] == 7


IMAGE, MASK = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"strength": 0.5}, "strength must be left out without a start image"),
        ({"image": IMAGE}, "strength must be between 0.01 and 1 beside a start image"),
        ({"image": IMAGE, "strength": 0}, "strength must be between 0.01 and 1"),
        ({"image": IMAGE, "strength": 1.5}, "strength must be between 0.01 and 1"),
        ({"image": "cat.png", "strength": 0.5}, "image must be the sha256"),
        ({"image": IMAGE, "strength": 0.5, "fit": "squash"}, "one of crop, pad, resize"),
        ({"mask": MASK}, "mask must be used with a start image"),
        ({"margins": Margins(left=8)}, "margins must be used with a start image"),
        (
            {"image": IMAGE, "strength": 1, "mask": MASK, "margins": Margins(left=8)},
            "mask must be left out where margins are painted",
        ),
        (
            {"image": IMAGE, "strength": 1, "margins": Margins(left=30, right=30)},
            "such that 8 pixels of the image remain",
        ),
        (
            {"upscale": Upscale(factor=8), "width": 2048, "height": 2048},
            "within 16 megapixels",
        ),
        ({"variations": [(1, 2)]}, "variations must be the parts of a recipe"),
        ({"references": ("cat.png",)}, "references must be the sha256 of a stored picture"),
        ({"references": (5,)}, "references must be the parts of a recipe"),
        ({"references": IMAGE}, "references must be the parts of a recipe"),
        ({"references": (IMAGE,) * 5}, "references must be 4 at most"),
        ({"shift": 0}, "shift must be between 0.01 and 100"),
        ({"shift": True}, "shift must be between 0.01 and 100"),
    ],
)
def test_sources_that_do_not_go_together_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=re.escape(sentence)):
        make_recipe(**values)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Margins(), "above 0 on one side"),
        (lambda: Margins(left=-8), "between 0 and 2048"),
        (lambda: Variation(seed=1, amount=1.5), "variation must be between 0 and 1"),
        (lambda: Upscale(by="latent"), "used with a second pass"),
        (lambda: Upscale(factor=0.5), "factor must be between 1 and 8"),
        (lambda: Control(model="canny", image=IMAGE, start=0.5, end=0.5), "above its start (0.5)"),
        (lambda: Control(model="", image=IMAGE), "the name of a ControlNet"),
    ],
)
def test_a_part_of_a_recipe_is_checked(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(OptionError, match=re.escape(sentence)):
        make()


SOURCES: dict[str, Any] = {
    "image": IMAGE,
    "strength": 0.5,
    "fit": "pad",
    "mask": MASK,
    "variations": (Variation(seed=2**64 - 1, amount=0.25), Variation(seed=3, amount=1)),
    "controls": (Control(model="canny", image="c" * 64, preprocessor="canny"),),
    "upscale": Upscale(factor=1.5, strength=0.3, tile=64),
    "references": ("d" * 64, IMAGE),
}


def test_json_gives_sources_back() -> None:
    for recipe in (
        make_recipe(**SOURCES),
        make_recipe(image=IMAGE, strength=1, margins=Margins(top=8)),
    ):
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_seeds_of_variations_travel_as_text() -> None:
    assert make_recipe(**SOURCES).to_dict()["variations"][0]["seed"] == str(2**64 - 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"upscale": 3},
        {"variations": 7},
        {"margins": {"left": "x"}},
        {"controls": [{}]},
        {"references": 7},
        {"references": IMAGE},
    ],
)
def test_parts_that_cannot_be_read_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Recipe.from_dict({**make_recipe().to_dict(), **wrong})


def test_a_recipe_names_the_stored_pictures_that_it_needs() -> None:
    assert make_recipe().inputs == ()
    assert make_recipe(**SOURCES).inputs == (IMAGE, MASK, "c" * 64, "d" * 64)


def test_a_recipe_without_references_is_written_as_before_there_were_any() -> None:
    assert "references" not in make_recipe().to_dict()
    assert make_recipe(references=(IMAGE,)).to_dict() == {
        **make_recipe().to_dict(),
        "references": [IMAGE],
    }


def test_a_recipe_without_a_shift_is_written_as_before_there_was_one() -> None:
    assert "shift" not in make_recipe().to_dict()
    recipe = make_recipe(shift=3)
    assert recipe == make_recipe(shift=3.0)
    assert json.dumps(recipe.to_dict()["shift"]) == "3.0"
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_the_finished_size_is_in_whole_latents() -> None:
    assert make_recipe().size == (64, 64)
    assert make_recipe(height=72, upscale=Upscale(factor=1.5)).size == (96, 112)


def test_version_1_is_read_with_nothing_but_words() -> None:
    recipe = Recipe.from_dict({**make_recipe().to_dict(), "version": 1})
    assert recipe == make_recipe()
    assert (recipe.image, recipe.strength) == (None, None)


def test_the_parts_of_a_recipe_are_bounded() -> None:
    with pytest.raises(OptionError, match="variations must be 16 at most, not '17'"):
        make_recipe(variations=(Variation(seed=1, amount=0.1),) * 17)


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_a_recipe_may_be_without_words_but_nobody_asks_for_one(prompt: str) -> None:
    assert make_recipe(prompt=prompt).prompt == prompt
    with pytest.raises(OptionError, match="a description of the picture, not ''"):
        check_words(prompt)


def test_of_very_many_names_the_nearest_are_listed() -> None:
    with pytest.raises(OptionError) as error:
        make_recipe(sampler="seeds_4")
    assert re.match(
        r"sampler must be one of seeds_[23], seeds_[23], .*, … \(38 in all\), not 'seeds_4'\.",
        str(error.value),
    )
