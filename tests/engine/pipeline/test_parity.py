"""Marble beside diffusers' own pipeline: the same noise, sigmas and timesteps, the same latents."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from torch import Tensor

from engine.denoise.conditions import Conditions
from engine.denoise.denoising import Denoising, evaluate
from engine.denoise.schedules import sigmas_for
from engine.families.stable_diffusion import StableDiffusion, load
from engine.models.catalogue import STARTER_FOLDER, describe
from engine.recipe.recipe import Recipe
from engine.text_encode.conditioning import TextEncoder
from tests.factories import make_recipe
from tests.models import make_model
from tests.noises import initial_noise
from tests.single_files import make_true_model


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
def by_marble(model: StableDiffusion, recipe: Recipe) -> Tensor:
    text = TextEncoder(model)
    positive, negative = (
        text.encode(words, recipe.clip_skip) for words in (recipe.prompt, recipe.negative_prompt)
    )
    guided = recipe.guidance_scale != 1
    conditions = Conditions.of(positive, negative if guided else None)
    picture = Denoising(model, recipe, 0, conditions)
    while picture.request:
        picture.advance(evaluate(model, [picture])[0])
    return picture.latents


def by_diffusers(model: StableDiffusion, recipe: Recipe, **arguments: Any) -> Tensor:
    """Draw with diffusers' pipeline from the very modules; arguments replace the prompts."""
    schedule = model.noise_schedule
    sigmas = sigmas_for(recipe.sampler, recipe.schedule, recipe.steps, noise_schedule=schedule)
    pipeline = make_pipeline(model)
    pipeline.scheduler.inject(sigmas, schedule.timestep(sigmas[:-1]).float())
    shape = (model.latent_channels, recipe.height // 8, recipe.width // 8)
    own = model.checkpoint.family.last_layer
    if recipe.clip_skip:
        # diffusers looks for the final norm where transformers had it before 5.6.
        object.__setattr__(model.text_encoder, "text_model", model.text_encoder)
    words = {"prompt": recipe.prompt, "negative_prompt": recipe.negative_prompt}
    latents: Tensor = pipeline(
        **(arguments or words),
        height=recipe.height,
        width=recipe.width,
        num_inference_steps=recipe.steps,
        guidance_scale=recipe.guidance_scale,
        guidance_rescale=recipe.guidance_rescale,
        clip_skip=recipe.clip_skip and recipe.clip_skip - own,
        latents=initial_noise(recipe.seed, 1, shape),
        output_type="latent",
    ).images
    vars(model.text_encoder).pop("text_model", None)
    return latents


def make_pipeline(model: StableDiffusion) -> Any:
    """Return diffusers' pipeline around a model's modules, with its schedule."""
    schedule = model.noise_schedule
    scheduler = InjectedScheduler(
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule=schedule.beta_schedule,
        prediction_type=schedule.prediction_type,
        steps_offset=1,
    )
    xl = model.checkpoint.family.is_xl
    kind = StableDiffusionXLPipeline if xl else StableDiffusionPipeline
    return pipeline_around(kind, model, scheduler)


def pipeline_around(kind: Any, model: StableDiffusion, scheduler: Any) -> Any:
    """Return one of diffusers' kinds of pipeline around a model's modules and a scheduler."""
    second = {"text_encoder_2": model.text_encoder_2, "tokenizer_2": model.tokenizer_2}
    others = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline = kind(
        vae=model.vae,
        unet=model.unet,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        scheduler=scheduler,
        **(second if model.checkpoint.family.is_xl else others),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_cpu(folder: Path) -> StableDiffusion:
    return load(describe("model", folder), torch.device("cpu"))


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def tiny(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> StableDiffusion:
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
def test_latents_equal_those_of_diffusers(tiny: StableDiffusion, changes: dict[str, Any]) -> None:
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


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def true(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> StableDiffusion:
    """Return a model of each family: its true form with fewer channels, random weights."""
    return make_true_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 8},
        {"steps": 8, "guidance_scale": 7.5, "negative_prompt": "a cat", "schedule": "karras"},
        {"steps": 4, "guidance_scale": 1.0},
        {"steps": 4, "width": 96, "height": 64},
        # diffusers skips layers for the prompt alone, Marble and ComfyUI for the negative one, too.
        {"steps": 4, "clip_skip": 3, "guidance_scale": 1.0},
    ],
    ids=str,
)
def test_latents_of_each_family_equal_those_of_diffusers(
    true: StableDiffusion, changes: dict[str, Any]
) -> None:
    recipe = make_recipe(**changes)
    ours, theirs = by_marble(true, recipe), by_diffusers(true, recipe)
    assert ours.std() > 0.1
    assert (ours - theirs).abs().max() <= 1e-4


def test_rescaled_guidance_equals_diffusers_where_both_compare_in_v(tmp_path: Path) -> None:
    model = make_true_model(tmp_path, "sd2")
    recipe = make_recipe(steps=4, guidance_rescale=0.7, guidance_scale=9.0)
    plain = by_marble(model, make_recipe(steps=4, guidance_scale=9.0))
    ours = by_marble(model, recipe)
    assert (ours - plain).abs().max() > 0.01
    assert (ours - by_diffusers(model, recipe)).abs().max() <= 1e-4


def test_prompts_of_several_windows_equal_diffusers_over_the_same_windows(
    true: StableDiffusion,
) -> None:
    words = list("abcdefghij" * 16)  # a token each: windows of 75, 75 and 10
    recipe = make_recipe(prompt=" ".join(words), negative_prompt="c", steps=4)
    windows = [" ".join(words[start : start + 75]) for start in (0, 75, 150)]
    embeds, negative = diffusers_embeds(true, windows), diffusers_embeds(true, ["c"])
    # diffusers wants both of one length: repeated, as Marble does it.
    negative["prompt_embeds"] = negative["prompt_embeds"].repeat(1, 3, 1)
    negative = {f"negative_{name}": value for name, value in negative.items()}
    theirs = by_diffusers(true, recipe, **embeds, **negative)
    assert (by_marble(true, recipe) - theirs).abs().max() <= 1e-4


def diffusers_embeds(model: StableDiffusion, windows: list[str]) -> dict[str, Tensor]:
    """Return what diffusers' pipeline makes of windows, side by side; of the first, the summary."""
    pipeline = make_pipeline(model)
    made = [
        pipeline.encode_prompt(
            window, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        for window in windows
    ]
    found = {"prompt_embeds": torch.cat([each[0] for each in made], dim=1)}
    if model.checkpoint.family.is_xl:
        found["pooled_prompt_embeds"] = made[0][2]
    return found
