"""A second model that people ask for: its name, whether it fits the first, and what is said."""

from types import SimpleNamespace
from typing import Any

import pytest

from bots.requests.options import parse_values
from bots.requests.recipe_builder import RecipeBuilder
from engine.errors import OptionError, UnknownModel, UserError
from engine.models.catalogue import Catalogue
from engine.models.second_model import check_second
from engine.models.variants import TOLD
from tests.factories import make_recipe
from tests.models import make_model


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> RecipeBuilder:
    """Return a builder for the bundled model, and another of its form in a folder."""
    root = tmp_path_factory.mktemp("models")
    make_model(root / "Second", channels=8)  # as many as the bundled model's latents have
    make_model(root / "Four")
    return RecipeBuilder(Catalogue(root))


def test_the_two_options_are_read_as_fields() -> None:
    assert parse_values([("refiner", "b"), ("refiner-at", "0.5")]) == {
        "refiner": "b",
        "refiner_at": 0.5,
    }
    assert parse_values([("refiner", "none")]) == {"refiner": None}
    with pytest.raises(OptionError, match=r"between 0\.001 and 0\.999"):
        parse_values([("refiner-at", "1")])


def test_the_second_model_gets_its_full_name(builder: RecipeBuilder) -> None:
    recipe = builder.complete({"prompt": "a cat", "refiner": "second", "refiner_at": 0.5}).recipe
    assert recipe.models == ("starter", "Second")
    with pytest.raises(UnknownModel, match="There is no model 'absent'"):
        builder.complete({"prompt": "a cat", "refiner": "absent"})


def test_one_with_other_channels_does_not_fit(builder: RecipeBuilder) -> None:
    said = "'Four' .* cannot finish what 'starter' .* begins: their latents differ"
    with pytest.raises(UserError, match=said):
        builder.complete({"prompt": "a cat", "refiner": "Four"})
    assert builder.complete({"prompt": "a", "checkpoint": "Four", "refiner": "Four"}).notes == ()


def test_a_share_of_the_steps_alone_is_refused(builder: RecipeBuilder) -> None:
    said = "--refiner-at is for two models: name the second one with --refiner, too."
    for typed in ({"refiner_at": 0.5}, {"refiner_at": 0.5, "refiner": None}):
        with pytest.raises(UserError, match=said):
            builder.complete({"prompt": "a cat", **typed})
        with pytest.raises(UserError, match=said):
            builder.change(make_recipe(), typed)
    kept = {"refiner_at"}  # a person's default, for pictures with a second model
    assert builder.complete({"prompt": "a cat", "refiner_at": 0.5}, kept).recipe.refiner is None
    changed = builder.change(make_recipe(refiner="Second"), {"refiner_at": 0.5})
    assert changed.recipe.refiner_at == 0.5


def test_one_that_does_not_fit_is_refused_where_it_was_typed_and_else_left_out(
    builder: RecipeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.requests.recipe_builder.is_second", lambda *_: False)
    monkeypatch.setattr("engine.models.second_model.is_second", lambda *_: False)
    values: dict[str, Any] = {"prompt": "a cat", "refiner": "Second"}
    said = "cannot finish what 'starter' .* begins: their latents differ"
    with pytest.raises(UserError, match=said):
        builder.complete(values)
    with pytest.raises(UserError, match=said):
        builder.change(make_recipe(), {"refiner": "Second"})
    for built in (
        builder.complete(values, kept={"refiner"}),
        builder.change(make_recipe(refiner="Second"), {"steps": 5}),
        builder.fit(make_recipe(refiner="Second")),
    ):
        assert built.recipe.refiner is None
        assert [str(note) for note in built.notes] == [
            "Left out: the second model 'Second', whose latents are not those of 'starter'."
        ]


def test_a_sampler_of_the_negative_prompt_takes_no_second_model_that_is_told_the_guidance(
    builder: RecipeBuilder,
) -> None:
    values: dict[str, Any] = {"prompt": "a cat", "refiner": "Second", "sampler": "euler_cfg_pp"}
    assert builder.complete(values).recipe.refiner == "Second"
    first, second = (builder.catalogue.get(name) for name in ("starter", "Second"))
    told = SimpleNamespace(
        **{name: getattr(second, name) for name in ("family", "latents", "name", "title")},
        lacks=TOLD,
    )
    recipe = make_recipe(sampler="euler_cfg_pp")
    with pytest.raises(UserError, match="sampler euler_cfg_pp needs a negative prompt"):
        check_second(recipe, first, told)  # type: ignore[arg-type]
    check_second(make_recipe(sampler="euler"), first, told)  # type: ignore[arg-type]
