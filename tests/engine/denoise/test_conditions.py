"""What several texts for one picture give, against a plain computation: one call for each."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.denoise.denoising import evaluate, shape_of
from engine.denoise.noise import JobNoise
from engine.denoise.samplers import SAMPLERS, drive
from engine.denoise.schedules import sigmas_for
from engine.families.stable_diffusion import StableDiffusion
from engine.recipe.recipe import Recipe
from engine.text_encode.conditioning import TextEncoder
from tests.engine.ticks import make_loaded_model
from tests.factories import make_recipe

NEGATIVE = "blurred"
SCALE = 4.0
LESS = 1 / 1.1
# The prediction of x at σ, in a call of the network, from one of a text at x.
Predict = Callable[[Callable[[str, Tensor], Tensor], Tensor, float, int], Tensor]


def make_edited(prompt: str, **changes: Any) -> Recipe:
    """Return a recipe of A1111's grammar."""
    return make_recipe(
        **{
            "prompt": prompt,
            "negative_prompt": NEGATIVE,
            "guidance_scale": SCALE,
            "syntax": "a1111",
            "steps": 6,
            **changes,
        }
    )


@torch.inference_mode()
def by_marble(model: StableDiffusion, recipe: Recipe) -> Tensor:
    """Return the latents that Marble draws."""
    [picture] = make_loaded_model(model).begin(recipe)
    while picture.request:
        picture.advance(evaluate(model, [picture])[0])
    return picture.latents


@torch.inference_mode()
def by_hand(model: StableDiffusion, recipe: Recipe, predict: Predict) -> Tensor:
    """Return the latents that a sampler draws with a prediction of the test's own."""
    text = TextEncoder(model)
    width, height = recipe.width, recipe.height
    call = -1

    def denoise(x: Tensor, sigma: float) -> Tensor:
        nonlocal call
        call += 1

        def of_text(words: str, part: Tensor) -> Tensor:
            told = model.conditions(text.encode(words), width, height, recipe.guidance_scale)
            levels = model.levels([sigma])
            return model.predict(part, None, levels, told, lambda *_: {})

        return predict(of_text, x, sigma, call)

    schedule = model.noise(width, height, recipe.steps)
    sigmas = sigmas_for(recipe.sampler, recipe.schedule, recipe.steps, 1.0, noise_schedule=schedule)
    shape, noise = shape_of(model, width, height), JobNoise(recipe)
    x = schedule.start(noise.start(0, shape), float(sigmas[0]), None)
    sampler = SAMPLERS[recipe.sampler]
    source = noise.between_steps(0, shape, sampler, sigmas, None)
    return drive(sampler(x, sigmas, source, None), denoise)


def error(ours: Tensor, theirs: Tensor) -> float:
    """Return the greatest difference, in the greatest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def guided(text_at: Callable[[int], str]) -> Predict:
    """Return plain guidance by the text of each call."""

    def predict(
        of_text: Callable[[str, Tensor], Tensor], x: Tensor, sigma: float, call: int
    ) -> Tensor:
        away = of_text(NEGATIVE, x)
        return away + (of_text(text_at(call), x) - away) * SCALE

    return predict


@pytest.mark.parametrize(
    ("prompt", "sampler", "texts"),
    [
        # A1111 counts calls from 0, and the first change is one call late.
        ("a [cat:dog:2]", "euler", ["a cat"] * 3 + ["a dog"] * 3),
        ("a [cat:dog:0.5]", "euler_ancestral", ["a cat"] * 4 + ["a dog"] * 2),
        ("a [cat:dog:0.5]", "heun", ["a cat"] * 7 + ["a dog"] * 4),
        ("a [cat|dog]", "euler", ["a cat", "a cat", "a dog", "a cat", "a dog", "a cat"]),
        ("a [cat|dog:2]", "euler", [f"a (cat|dog:2:{LESS!r})"] * 6),
        ("a [cat]", "euler", [f"a (cat:{LESS!r})"] * 6),
        ("a (((cat:1.3))", "euler", [f"a (cat:{1.3 * 1.1 * 1.1!r})"] * 6),
    ],
)
def test_prompts_change_at_the_calls_at_which_a1111_changes_them(
    model: StableDiffusion, prompt: str, sampler: str, texts: Sequence[str]
) -> None:
    recipe = make_edited(prompt, sampler=sampler)
    theirs = by_hand(model, recipe, guided(lambda call: texts[call]))
    assert error(by_marble(model, recipe), theirs) <= 1e-5


def compose(parts: Sequence[tuple[str, float]], scale: float = SCALE) -> Predict:
    """Return composable guidance: Liu et al. (2022), arXiv:2206.01714, as A1111 computes it."""

    def predict(
        of_text: Callable[[str, Tensor], Tensor], x: Tensor, sigma: float, call: int
    ) -> Tensor:
        away = of_text(NEGATIVE, x)
        return away + sum(
            ((of_text(text, x) - away) * (weight * scale) for text, weight in parts),
            start=torch.zeros_like(x),
        )

    return predict


@pytest.mark.parametrize(
    ("prompt", "scale", "parts"),
    [
        ("a cat AND a dog", SCALE, [("a cat", 1), (" a dog", 1)]),
        ("a cat :0.5 AND a dog:1.5", SCALE, [("a cat", 0.5), (" a dog", 1.5)]),
        ("a cat AND a dog :-0.5", SCALE, [("a cat", 1), (" a dog", -0.5)]),
        ("a cat :0.5", SCALE, [("a cat", 0.5)]),
        ("a cat AND a dog", 1.0, [("a cat", 1), (" a dog", 1)]),
        ("a cat AND a dog", 0.5, [("a cat", 1), (" a dog", 1)]),
    ],
)
def test_prompts_compose_as_in_a1111(
    model: StableDiffusion, prompt: str, scale: float, parts: Sequence[tuple[str, float]]
) -> None:
    recipe = make_edited(prompt, guidance_scale=scale)
    theirs = by_hand(model, recipe, compose(parts, scale))
    assert error(by_marble(model, recipe), theirs) <= 1e-5
