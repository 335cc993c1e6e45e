"""Marble beside diffusers' own pipeline: the same noise, sigmas and timesteps, the same latents."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from torch import Tensor

from engine.checkpoints import STARTER_FOLDER, describe
from engine.conditioning import TextEncoder
from engine.denoise import Denoising, evaluate
from engine.loading import Model, load
from engine.recipe import Recipe
from engine.schedules import initial_noise, sigmas_for
from tests.factories import make_recipe
from tests.models import make_model


class InjectedScheduler(EulerDiscreteScheduler):  # type: ignore[misc]  # diffusers has no types
    """Step as diffusers does, over the sigmas and integer timesteps of Marble."""

    def inject(self, sigmas: Tensor, timesteps: Tensor) -> None:
        self.injected = sigmas, timesteps

    def set_timesteps(self, *_: Any, **__: Any) -> None:
        self.sigmas, self.timesteps = self.injected
        self.num_inference_steps = len(self.timesteps)
        self._step_index = self._begin_index = None

    @property
    def init_noise_sigma(self) -> float:
        return float((self.injected[0][0] ** 2 + 1) ** 0.5)


@torch.inference_mode()
def by_marble(model: Model, recipe: Recipe) -> Tensor:
    text = TextEncoder(model)
    picture = Denoising(
        model, recipe, 0, text.encode(recipe.prompt), text.encode(recipe.negative_prompt)
    )
    while picture.request:
        picture.advance(evaluate(model, [picture])[0])
    return picture.latents


def by_diffusers(model: Model, recipe: Recipe) -> Tensor:
    schedule = model.noise_schedule
    sigmas = sigmas_for(recipe.sampler, recipe.schedule, recipe.steps, noise_schedule=schedule)
    pipeline = StableDiffusionPipeline.from_pretrained(
        model.checkpoint.folder,
        dtype=torch.float32,
        safety_checker=None,
        requires_safety_checker=False,
        local_files_only=True,
    )
    pipeline.scheduler = InjectedScheduler.from_config(pipeline.scheduler.config)
    pipeline.scheduler.inject(sigmas, schedule.timestep(sigmas[:-1]).float())
    pipeline.set_progress_bar_config(disable=True)
    shape = (model.latent_channels, recipe.height // 8, recipe.width // 8)
    latents: Tensor = pipeline(
        recipe.prompt,
        negative_prompt=recipe.negative_prompt,
        height=recipe.height,
        width=recipe.width,
        num_inference_steps=recipe.steps,
        guidance_scale=recipe.guidance_scale,
        latents=initial_noise(recipe.seed, 1, shape),
        output_type="latent",
    ).images
    return latents


def load_cpu(folder: Path) -> Model:
    return load(describe("model", folder), torch.device("cpu"))


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a tiny model of each parameterisation."""
    folder = tmp_path_factory.mktemp("parity") / "tiny"
    return load_cpu(make_model(folder, prediction_type=request.param))


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 20, "schedule": "normal"},
        {"steps": 8, "schedule": "karras", "guidance_scale": 7.5, "negative_prompt": "a cat"},
        {"steps": 8, "schedule": "sgm_uniform", "guidance_scale": 1.0},
        {"steps": 8, "width": 64, "height": 96},
    ],
    ids=str,
)
def test_latents_equal_those_of_diffusers(tiny: Model, changes: dict[str, Any]) -> None:
    recipe = make_recipe(**changes)
    ours, theirs = by_marble(tiny, recipe), by_diffusers(tiny, recipe)
    assert ours.std() > 0.1
    assert (ours - theirs).abs().max() <= 1e-4


def test_latents_of_the_starter_model_equal_those_of_diffusers() -> None:
    model = load_cpu(STARTER_FOLDER)
    recipe = make_recipe(
        prompt="a marble scholar holding a book",
        negative_prompt="night",
        steps=20,
        width=128,
        height=128,
    )
    difference = (by_marble(model, recipe) - by_diffusers(model, recipe)).abs().max()
    assert difference <= 1e-4
