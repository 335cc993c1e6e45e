"""Patches in a recipe: how they are stored, and what is refused."""

from typing import Any

import pytest

from engine.errors import OptionError
from engine.recipe.patches import PATCHES, Patch, perturbed_scale, reading_of
from engine.recipe.recipe import Recipe
from tests.factories import make_recipe

FREEU = Patch(kind="freeu_v2", numbers=(1.3, 1.4, 0.9, 0.2))
LCM = Patch(kind="lcm", numbers=(0,))
V = Patch(kind="v_prediction", numbers=(True + 0,))


def test_a_recipe_keeps_its_patches() -> None:
    recipe = make_recipe(patches=(FREEU, LCM))
    stored = recipe.to_dict()
    assert stored["patches"] == [
        {"kind": "freeu_v2", "numbers": [1.3, 1.4, 0.9, 0.2]},
        {"kind": "lcm", "numbers": [0.0]},
    ]
    assert Recipe.from_dict(stored) == recipe


def test_a_recipe_without_patches_is_stored_as_before() -> None:
    assert "patches" not in make_recipe().to_dict()


@pytest.mark.parametrize(
    ("kind", "numbers", "said"),
    [
        ("magic", (1,), f"patch must be one of {', '.join(PATCHES)}, not 'magic'"),
        ("freeu", (1.0,), r"freeu must be 4 numbers, not \(1.0,\)"),
        ("freeu", (1, 1, 1, 11), "freeu must be between 0 and 10, not 11"),
        ("freeu", (1, 1, 1, float("nan")), "freeu must be between 0 and 10, not nan"),
        ("freeu", "1111", "freeu must be 4 numbers, not '1111'"),
        ("perturbed_attention", (-1,), "perturbed_attention must be between 0 and 100, not -1"),
        ("perturbed_attention", (), "perturbed_attention must be one number"),
        ("eps", (0.5,), "eps must be a whole number between 0 and 1, not 0.5"),
        ("eps", ("x",), "eps must be a whole number between 0 and 1, not 'x'"),
    ],
)
def test_a_bad_patch_is_named(kind: str, numbers: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Patch(kind=kind, numbers=numbers)


@pytest.mark.parametrize("stored", [5, [5], [{}], [{"kind": "eps", "numbers": 3}], [None]])
def test_what_is_no_patch_is_refused(stored: Any) -> None:
    with pytest.raises(OptionError):
        Recipe.from_dict({**make_recipe().to_dict(), "patches": stored})


def test_of_several_readings_the_last_one_counts_and_scales_add_up() -> None:
    both = [Patch(kind="perturbed_attention", numbers=(scale,)) for scale in (2, 1.5)]
    assert reading_of((LCM, FREEU, V, *both)) == V
    assert reading_of((FREEU,)) is None
    assert perturbed_scale((LCM, *both)) == 3.5
    assert perturbed_scale((LCM,)) == 0
