import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.denoise.noise import slerp, start_noise
from engine.denoise.schedules import initial_noise
from engine.recipe.parts import Variation
from tests.factories import make_recipe

SHAPE = (4, 16, 16)


def noise(seed: int) -> torch.Tensor:
    return initial_noise(seed, 1, SHAPE)


@given(amount=st.floats(0, 1))
def test_noise_between_two_seeds_is_as_long_as_noise(amount: float) -> None:
    between = slerp(noise(1), noise(2), amount)
    assert between.std().item() == pytest.approx(1, abs=0.05)


def test_the_angle_grows_with_the_amount() -> None:
    first, second = noise(1), noise(2)

    def angle(a: torch.Tensor, b: torch.Tensor) -> float:
        return math.acos(float((a * b).sum() / (a.norm() * b.norm())))

    whole = angle(first, second)
    for amount in (0.2, 0.5, 0.9):
        assert angle(first, slerp(first, second, amount)) == pytest.approx(whole * amount, abs=0.03)


def test_no_way_and_the_whole_way() -> None:
    assert slerp(noise(1), noise(2), 0).equal(noise(1))
    assert slerp(noise(1), noise(2), 1).equal(noise(2))


def test_noise_towards_itself_or_its_opposite_stays_finite() -> None:
    assert slerp(noise(1), noise(1), 0.5).allclose(noise(1))
    assert slerp(noise(1), -noise(1), 0.5).isfinite().all()


def test_a_recipe_without_variations_starts_from_its_seed_alone() -> None:
    recipe = make_recipe(seed=3, count=2)
    assert start_noise(recipe, 1, SHAPE).equal(initial_noise(3, 2, SHAPE, [1]))


def test_variations_follow_one_upon_the_other() -> None:
    recipe = make_recipe(
        seed=1, variations=(Variation(seed=2, amount=0.5), Variation(seed=3, amount=0.25))
    )
    expected = slerp(slerp(noise(1), noise(2), 0.5), noise(3), 0.25)
    assert start_noise(recipe, 0, SHAPE).equal(expected)


def test_each_picture_of_a_grid_varies_by_its_own_slice() -> None:
    recipe = make_recipe(seed=1, count=3, variations=(Variation(seed=2, amount=1),))
    assert start_noise(recipe, 2, SHAPE).equal(initial_noise(2, 3, SHAPE, [2]))
