"""What the model draws, before the judge: what was asked for must be seen."""

import numpy as np
import pytest

from engine.families.stable_diffusion import StableDiffusion
from engine.starter.render.picture import render
from engine.starter.world import Spec
from tests.starter.drawing import draw, load_starter
from tests.starter.judge import Judge, Verdict, draw_renders, is_right, judge, load_judge, shares
from tests.starter.measure import SAMPLERS, draw_wishes

pytestmark = pytest.mark.slow

GOALS = {"subject": 0.95, "material": 0.95, "object": 0.90, "ground": 0.95}
HELD_OUT_GOALS = {**GOALS, "object": 0.85}


@pytest.fixture(scope="module")
def model() -> StableDiffusion:
    """Load the bundled model once."""
    return load_starter()


@pytest.fixture(scope="module")
def eye() -> Judge:
    """Load the judge once."""
    return load_judge()


def test_the_judge_names_renders_it_never_saw(eye: Judge) -> None:
    specs, pictures = draw_renders(4242, 150)
    right = shares(specs, judge(eye, pictures))
    assert min(right.values()) >= 0.95, right


def test_pictures_show_what_was_asked_for(model: StableDiffusion, eye: Judge) -> None:
    specs, prompts = draw_wishes(60)
    right = shares(specs, judge(eye, draw(model, prompts)))
    assert all(right[name] >= goal for name, goal in GOALS.items()), right


def test_combinations_that_training_never_showed_are_drawn_as_well(
    model: StableDiffusion, eye: Judge
) -> None:
    specs, prompts = draw_wishes(60, held_out=True)
    right = shares(specs, judge(eye, draw(model, prompts)))
    assert all(right[name] >= goal for name, goal in HELD_OUT_GOALS.items()), right


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_eight_steps_of_every_usual_sampler_are_enough(
    model: StableDiffusion, eye: Judge, sampler: str
) -> None:
    specs, prompts = draw_wishes(12)
    verdicts = judge(eye, draw(model, prompts, sampler=sampler, steps=8))
    assert sum(map(is_right, specs, verdicts)) >= 10


def test_strength_decides_between_the_start_image_and_the_prompt(
    model: StableDiffusion, eye: Judge
) -> None:
    lion = Spec(subject="lion", material="bronze", object="none", ground="sea")
    images = np.stack([render(lion, np.random.default_rng(seed)) for seed in range(8)])
    prompts = ["a gold king holding a sword at night"] * 8
    near, far = (
        judge(eye, draw(model, prompts, on=images, strength=strength)) for strength in (0.2, 0.9)
    )
    assert _count(near, "subject", "lion") >= 7
    assert _count(near, "ground", "sea") >= 7
    assert _count(far, "subject", "king") >= 7
    assert _count(far, "ground", "night") >= 7


def test_guidance_decides_how_much_the_prompt_counts(model: StableDiffusion, eye: Judge) -> None:
    prompts = ["a bronze lion at night"] * 8
    ignored, heard = (
        judge(eye, draw(model, prompts, guidance_scale=scale)) for scale in (0.0, 5.0)
    )
    for attribute, name in (("subject", "lion"), ("material", "bronze"), ("ground", "night")):
        assert _count(ignored, attribute, name) <= 4
        assert _count(heard, attribute, name) >= 7


def test_a_negative_prompt_removes_what_it_names(model: StableDiffusion, eye: Judge) -> None:
    prompts = ["a marble scholar"] * 20
    free, without = (
        judge(eye, draw(model, prompts, negative=negative)) for negative in ("", "sword")
    )
    assert _count(free, "object", "sword") >= 3
    assert _count(without, "object", "sword") <= _count(free, "object", "sword") / 2
    assert _count(without, "subject", "scholar") >= 19


def _count(verdicts: list[Verdict], attribute: str, name: str) -> int:
    return sum(verdict.names[attribute] == name for verdict in verdicts)
