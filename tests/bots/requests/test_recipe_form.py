"""A form with a field for each option, as it opens for a recipe and comes back."""

from __future__ import annotations

import pytest

from bots.requests.options import OPTIONS
from bots.requests.recipe_form import form_values, recipe_texts
from engine.recipe.recipe import Recipe
from tests.factories import make_recipe

PLAIN = make_recipe(prompt="a cat", seed=7, steps=20, guidance_scale=5.5, width=64, height=128)
SHA = "a" * 64


def test_the_texts_of_a_recipe_are_those_that_the_options_read() -> None:
    texts = recipe_texts(PLAIN, ())
    assert texts["prompt"] == "a cat"
    assert {
        "seed": "7",
        "steps": "20",
        "guidance": "5.5",
        "size": "64x128",
    }.items() <= texts.items()
    for option in OPTIONS:
        if texts.get(option.name):
            read = option.parse(texts[option.name])
            assert {name: getattr(PLAIN, name) for name in read} == read


@pytest.mark.parametrize("recipe", [PLAIN, make_recipe(image=SHA, strength=0.4, prompt="--steps")])
def test_a_form_that_comes_back_as_it_opened_changes_nothing(recipe: Recipe) -> None:
    texts = recipe_texts(recipe, ())
    assert form_values(texts, texts) == {}
    assert form_values({**texts, "steps": "5"}, texts) == {"steps": 5}
    assert form_values({**texts, "negative": " "}, {**texts, "negative": "fog"}) == {
        "negative_prompt": ""
    }


def test_no_field_stands_for_what_a_model_does_not_have_or_a_recipe_does_not_use() -> None:
    texts = recipe_texts(PLAIN, {"guidance_scale", "negative_prompt"})
    assert not {"guidance", "negative", "strength", "fit"} & texts.keys()
    with_start = recipe_texts(make_recipe(image=SHA, strength=0.4), ())
    assert with_start["strength"] == "0.4"
