"""Pictures from pictures beside diffusers' own pipelines: same noise, sigmas and timesteps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from torch import Tensor

from engine.denoise.denoising import evaluate
from engine.denoise.schedules import sigmas_for
from engine.families.stable_diffusion import StableDiffusion
from engine.pictures.start_image import Pixels, StartImage
from engine.recipe.recipe import Recipe
from tests.engine.pipeline.test_parity import InjectedScheduler, load_cpu, pipeline_around
from tests.engine.ticks import make_loaded_model
from tests.factories import make_recipe, pixels
from tests.models import make_model

IMAGE = "a" * 64
TOLERANCE = 1e-4


class NoisingScheduler(InjectedScheduler):
    """Noise a start image as `InjectedScheduler` steps: over Marble's sigmas."""

    def add_noise(self, original: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        at = (self.timesteps - timesteps[0]).abs().argmin()
        return original + noise * self.sigmas[at]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    return load_cpu(make_model(tmp_path_factory.mktemp("plain") / "tiny"))


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    folder = tmp_path_factory.mktemp("nine") / "tiny"
    return load_cpu(make_model(folder, inputs=9))


@pytest.fixture(autouse=True)
def means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let diffusers take the mean of what a VAE says, as Marble does, where it would draw."""

    def mode(self: DiagonalGaussianDistribution, generator: object = None) -> Tensor:
        mean: Tensor = self.mode()
        return mean

    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", mode)


@torch.inference_mode()
def by_marble(model: StableDiffusion, recipe: Recipe, canvas: StartImage) -> Tensor:
    [picture] = make_loaded_model(model).begin(recipe, canvas)
    while picture.request:
        picture.advance(evaluate(model, [picture])[0])
    return picture.latents


def by_diffusers(kind: Any, model: StableDiffusion, recipe: Recipe, canvas: StartImage) -> Tensor:
    schedule = model.noise_schedule
    assert recipe.strength is not None
    sigmas = sigmas_for(
        recipe.sampler, recipe.schedule, recipe.steps, recipe.strength, noise_schedule=schedule
    )
    scheduler = NoisingScheduler(prediction_type=schedule.prediction_type, steps_offset=1)
    scheduler.inject(sigmas, schedule.timestep(sigmas[:-1]).float())
    pipeline = pipeline_around(kind, model, scheduler)
    # The sigmas are those of the strength already.
    pipeline.get_timesteps = lambda *_, **__: (scheduler.timesteps, len(scheduler.timesteps))
    mask = {} if canvas.mask is None else {"mask_image": Image.fromarray(canvas.mask)}
    sizes = {"height": recipe.height, "width": recipe.width} if mask else {}
    latents: Tensor = pipeline(
        recipe.prompt,
        negative_prompt=recipe.negative_prompt,
        image=Image.fromarray(canvas.pixels),
        strength=0.99,  # anything below 1, where diffusers would forget the image
        num_inference_steps=recipe.steps,
        guidance_scale=recipe.guidance_scale,
        generator=torch.Generator().manual_seed(recipe.seed),
        output_type="latent",
        **mask,
        **sizes,
    ).images
    return latents


def start_image(**changes: Any) -> Recipe:
    return make_recipe(image=IMAGE, negative_prompt="a cat", **{"strength": 0.6, **changes})


def half_mask() -> Pixels:
    mask = np.zeros((64, 64), np.uint8)
    mask[16:56, 24:64] = 255  # whole latents: diffusers takes the nearest pixel of each
    return mask


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 6},
        {"steps": 8, "strength": 0.25, "schedule": "karras"},
        {"steps": 10, "strength": 0.9, "guidance_scale": 1.0},
    ],
    ids=str,
)
def test_img2img_gives_the_latents_of_diffusers(
    tiny: StableDiffusion, changes: dict[str, Any]
) -> None:
    recipe, canvas = start_image(**changes), StartImage(pixels(1, 64, 64))
    ours = by_marble(tiny, recipe, canvas)
    theirs = by_diffusers(StableDiffusionImg2ImgPipeline, tiny, recipe, canvas)
    assert ours.std() > 0.1
    assert (ours - theirs).abs().max() <= TOLERANCE


@pytest.mark.parametrize("strength", [0.5, 0.9])
def test_inpainting_by_an_ordinary_model_gives_the_latents_of_diffusers(
    tiny: StableDiffusion, strength: float
) -> None:
    recipe = start_image(mask="b" * 64, strength=strength, steps=10)
    canvas = StartImage(pixels(1, 64, 64), half_mask())
    ours = by_marble(tiny, recipe, canvas)
    theirs = by_diffusers(StableDiffusionInpaintPipeline, tiny, recipe, canvas)
    assert (ours - theirs).abs().max() <= TOLERANCE
    kept = by_marble(tiny, start_image(steps=10, strength=strength), StartImage(pixels(1, 64, 64)))
    assert (ours - kept).abs().max() > 0.1


def test_inpainting_by_its_own_model_gives_the_latents_of_diffusers(
    inpainting: StableDiffusion,
) -> None:
    recipe = start_image(mask="b" * 64, strength=0.75, steps=6)
    canvas = StartImage(pixels(1, 64, 64), half_mask())
    ours = by_marble(inpainting, recipe, canvas)
    theirs = by_diffusers(StableDiffusionInpaintPipeline, inpainting, recipe, canvas)
    assert (ours - theirs).abs().max() <= TOLERANCE


def test_a_model_for_inpainting_draws_from_words_alone_and_from_a_start_image(
    inpainting: StableDiffusion,
) -> None:
    assert inpainting.inpaints
    with torch.inference_mode():
        for recipe, canvas in (
            (make_recipe(), None),
            (start_image(), StartImage(pixels(1, 64, 64))),
        ):
            [picture] = make_loaded_model(inpainting).begin(recipe, canvas)
            assert picture.extra is not None
            assert (picture.extra[:, 0] == 1).all()
            while picture.request:
                picture.advance(evaluate(inpainting, [picture])[0])
            assert picture.latents.isfinite().all()


def test_a_model_for_inpainting_sees_by_the_vae_that_its_recipe_names(
    inpainting: StableDiffusion, tmp_path: Path
) -> None:
    other = load_cpu(make_model(tmp_path / "other", seed=5))
    other.vae.save_pretrained(tmp_path / "vae" / "other")
    loaded_model, canvas = (
        make_loaded_model(inpainting, tmp_path),
        StartImage(pixels(1, 64, 64)),
    )
    with torch.inference_mode():
        seen = [
            loaded_model.begin(start_image(vae=vae), canvas)[0].extra for vae in (None, "other")
        ]
        grey = other.vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mode()
    assert seen[0] is not None
    assert seen[1] is not None
    assert not torch.allclose(seen[0], seen[1])
    assert torch.allclose(seen[1][:, 1:], grey * other.vae.config.scaling_factor, atol=1e-5)
