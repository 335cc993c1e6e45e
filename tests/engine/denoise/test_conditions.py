"""What several texts for one picture give, against a plain computation: one call for each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.decode.vae import Pixels
from engine.denoise.denoising import evaluate, shape_of
from engine.denoise.guidance import rescale
from engine.denoise.noise import JobNoise
from engine.denoise.samplers import SAMPLERS, drive
from engine.denoise.schedules import sigmas_for
from engine.families.stable_diffusion import StableDiffusion
from engine.loading.noise_schedule import NoiseSchedule
from engine.recipe.parts import Area
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
def by_marble(
    model: StableDiffusion, recipe: Recipe, masks: Mapping[str, Pixels] | None = None
) -> Tensor:
    """Return the latents that Marble draws."""
    [picture] = make_loaded_model(model).begin(recipe, area_masks=masks or {})
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


def test_weights_that_add_up_to_nothing_but_rounding_are_no_divisor(
    model: StableDiffusion,
) -> None:
    """A1111 has no mean of such: their plain mean is what the contrast is compared with."""
    parts = [("a cat", 0.1), (" a dog", 0.2), (" a bird", -0.3)]
    assert 0 < sum(weight for _, weight in parts) < 1e-15

    def predict(
        of_text: Callable[[str, Tensor], Tensor], x: Tensor, sigma: float, call: int
    ) -> Tensor:
        guided = compose(parts)(of_text, x, sigma, call)
        mean = sum((of_text(text, x) for text, _ in parts), torch.zeros_like(x)) / 3
        return rescale(guided, mean, x, sigma, 0.7)

    recipe = make_edited("a cat :0.1 AND a dog :0.2 AND a bird :-0.3", guidance_rescale=0.7)
    assert error(by_marble(model, recipe), by_hand(model, recipe, predict)) <= 1e-5


def ramp(length: int, low: bool, high: bool) -> Tensor:
    """Return the weights along a side of a box, which fade where the picture goes on."""
    weights, edge = torch.ones(length), min(8, length // 4)
    for step in range(edge):
        if low:
            weights[step] *= (step + 1) / edge
        if high:
            weights[length - 1 - step] *= (step + 1) / edge
    return weights


def mean(*parts: tuple[Tensor, tuple[int, int, int, int], Tensor | float]) -> Tensor:
    """Return ComfyUI's mean of predictions, of boxes (top, left, height, width) with weights."""
    total, weights = torch.zeros(1, 4, 16, 16), torch.full((1, 4, 16, 16), 1e-37)
    for predicted, (top, left, height, width), weight in parts:
        part = (..., slice(top, top + height), slice(left, left + width))
        total[part] += predicted * weight
        weights[part] += weight
    return total / weights


ALL = (0, 0, 16, 16)
LEFT = (0, 0, 16, 10)
INNER = (4, 6, 8, 10)
GRADIENT = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (16, 1))  # to the right
CORNER = np.zeros((128, 128), np.uint8)
CORNER[40:, 96:] = 255  # latents 5 … 15 down, 12 … 15 across
MASK = "a" * 64
Text = Callable[[str, Tensor], Tensor]


def cut(x: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    top, left, height, width = box
    return x[..., top : top + height, left : left + width]


def left_and_all(text: Text, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    weight = ramp(16, False, False)[:, None] * ramp(10, False, True) * 1.5
    part = cut(x, LEFT)
    cond = mean((text("a cat", x), ALL, 1), (text("a dog", part), LEFT, weight))
    return cond, mean((text(NEGATIVE, x), ALL, 1), (text(NEGATIVE, part), LEFT, weight))


def two_boxes(text: Text, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    first = ramp(16, False, False)[:, None] * ramp(10, False, True)
    second = ramp(8, True, True)[:, None] * ramp(10, True, False) * 0.5
    boxes = ((LEFT, first, "a cat"), (INNER, second, "a dog"))
    cond = mean(*((text(words, cut(x, box)), box, weight) for box, weight, words in boxes))
    away = ((text(NEGATIVE, cut(x, box)), box, weight) for box, weight, _ in boxes)
    return cond, mean((text(NEGATIVE, x), ALL, 1), *away)


def under_mask(text: Text, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    weight = torch.from_numpy(GRADIENT)[None, None].float() / 255 * 0.8
    return mean((text("a cat", x), ALL, 1), (text("a dog", x), ALL, weight)), text(NEGATIVE, x)


def in_bounds(text: Text, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    weight = torch.nn.functional.interpolate(
        torch.from_numpy(CORNER)[None, None].float() / 255, (16, 16), mode="bilinear"
    )
    box = (5, 8, 11, 8)  # eight latents at least, within the picture
    box = (5, 12, 11, 4)
    weight = cut(weight, box)
    cond = mean((text("a cat", x), ALL, 1), (text("a dog", cut(x, box)), box, weight))
    return cond, mean((text(NEGATIVE, x), ALL, 1), (text(NEGATIVE, cut(x, box)), box, weight))


def by_noise(text: Text, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    # Shares of 1,000 noise levels: from 30 % on the second text, up to 60 % the first.
    levels = NoiseSchedule().sigma
    parts = []
    if sigma >= float(levels(0.4 * 999)):
        parts.append((text("a cat", x), ALL, 1))
    if sigma <= float(levels(0.7 * 999)):
        parts.append((text("a dog", x), ALL, 1))
    return mean(*parts), text(NEGATIVE, x)


def averaged(text: Text, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    cond = mean((text("a cat", x), ALL, 1), (text("a dog", x), ALL, 1))
    return cond, mean((text(NEGATIVE, x), ALL, 1), (text("dull", x), ALL, 0.5))


def nowhere(text: Text, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(x), text(NEGATIVE, x)


@pytest.mark.parametrize(
    ("areas", "sides"),
    [
        ([Area(prompt="a dog", width=10 / 16, strength=1.5)], left_and_all),
        (
            [
                Area(width=10 / 16),
                Area(prompt="a dog", left=6 / 16, top=0.25, width=0.9, height=0.5, strength=0.5),
            ],
            two_boxes,
        ),
        ([Area(prompt="a dog", mask=MASK, strength=0.8)], under_mask),
        ([Area(prompt="a dog", mask=MASK, bounds=True)], in_bounds),
        ([Area(end=0.6), Area(prompt="a dog", start=0.3)], by_noise),
        ([Area(prompt="a dog"), Area(prompt="dull", negative=True, strength=0.5)], averaged),
        ([Area(start=0.999, end=0.9995)], nowhere),
    ],
)
def test_areas_are_drawn_as_comfyui_draws_them(
    model: StableDiffusion,
    areas: Sequence[Area],
    sides: Callable[[Text, Tensor, float], tuple[Tensor, Tensor]],
) -> None:
    recipe = make_recipe(
        prompt="a cat",
        negative_prompt=NEGATIVE,
        areas=tuple(areas),
        width=128,
        height=128,
        steps=5,
        guidance_scale=SCALE,
        schedule="karras",
    )

    def predict(text: Text, x: Tensor, sigma: float, call: int) -> Tensor:
        cond, uncond = sides(text, x, sigma)
        return uncond + (cond - uncond) * SCALE

    mask = GRADIENT if sides is under_mask else CORNER
    ours = by_marble(model, recipe, {MASK: mask})
    assert error(ours, by_hand(model, recipe, predict)) <= 1e-5
