"""LCM's first form, whose U-Net is told the guidance scale: diffusers' results, in any company."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LatentConsistencyModelPipeline
from diffusers.schedulers import scheduling_lcm
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.denoise.schedules import sigmas_for
from engine.errors import BrokenModel
from engine.families.stable_diffusion import StableDiffusion, embed_scale, load
from engine.formats.comfy.writer import to_graph
from engine.models import families
from engine.models.catalogue import describe, describe_file
from engine.models.signatures import GUIDANCE_IN
from engine.recipe.parts import Control
from engine.recipe.recipe import Recipe
from tests.engine.denoise.test_control import BLOBS, DISC, make_network
from tests.engine.denoise.test_control import by_marble as controlled
from tests.engine.pipeline.test_parity import by_marble, pipeline_around
from tests.engine.recipes import recipe_of
from tests.engine.ticks import ROOMY, draw, make_loaded_model, make_pipeline, pngs
from tests.factories import make_recipe
from tests.models import make_model
from tests.noises import draws, initial_noise
from tests.single_files import make_modules, make_true_model, small_forms, write_single_file

WIDTH = 256  # values in which the U-Net takes the scale, as those that are published
LCM = {"steps": 4, "sampler": "lcm", "schedule": "sgm_uniform", "guidance_scale": 8.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    """Return Stable Diffusion 1's true form with fewer channels, its guidance built in."""
    made = make_true_model(tmp_path_factory.mktemp("lcm"), "sd1", time_cond_proj_dim=WIDTH)
    # Random weights hardly hear the scale.
    made.unet.time_embedding.cond_proj.weight.mul_(20)
    return made


class InjectedScheduler(LCMScheduler):  # type: ignore[misc]  # diffusers has no types
    """Step as diffusers does, over the sigmas and whole timesteps of Marble."""

    def inject(self, sigmas: Tensor, timesteps: Tensor) -> None:
        self.injected = timesteps.long()
        self.alphas_cumprod[self.injected] = 1 / (1 + sigmas[:-1] ** 2)

    def set_timesteps(self, *_: Any, **__: Any) -> None:
        self.timesteps = self.injected
        self.num_inference_steps = len(self.timesteps)
        self._step_index = self._begin_index = None


def by_diffusers(model: StableDiffusion, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    schedule = model.noise_schedule
    sigmas = sigmas_for(recipe.sampler, recipe.schedule, recipe.steps, noise_schedule=schedule)
    scheduler = InjectedScheduler(
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule=schedule.beta_schedule,
    )
    pipeline = pipeline_around(LatentConsistencyModelPipeline, model, scheduler)
    pipeline.scheduler.inject(sigmas, schedule.timestep(sigmas[:-1]))
    noise = draws(recipe.seed)
    monkeypatch.setattr(
        scheduling_lcm, "randn_tensor", lambda shape, **_: noise(torch.empty(shape))
    )
    latents: Tensor = pipeline(
        prompt=recipe.prompt,
        height=recipe.height,
        width=recipe.width,
        num_inference_steps=recipe.steps,
        guidance_scale=recipe.guidance_scale,
        latents=initial_noise(recipe.seed, 1, (4, recipe.height // 8, recipe.width // 8)),
        output_type="latent",
    ).images
    return latents


@pytest.mark.parametrize("scale", [0.0, 1.0, 8.0, 12.5])
def test_latents_equal_those_of_diffusers(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    recipe = make_recipe(**{**LCM, "guidance_scale": scale})
    ours, theirs = by_marble(model, recipe), by_diffusers(model, recipe, monkeypatch)
    assert ours.std() > 0.1
    assert (ours - theirs).abs().max() <= 1e-4


@pytest.mark.parametrize("width", [6, 7, WIDTH])
def test_the_scale_is_told_as_diffusers_tells_it(width: int) -> None:
    tell = LatentConsistencyModelPipeline.get_guidance_scale_embedding
    for scale in (0.0, 1.0, 7.3, 30.0):
        theirs = tell(None, torch.tensor([scale - 1]), embedding_dim=width)
        assert torch.equal(embed_scale(scale, width), theirs)


def test_a_picture_brings_one_row_that_hears_the_scale_and_no_negative_prompt(
    model: StableDiffusion,
) -> None:
    recipe = make_recipe(**LCM)
    plain = by_marble(model, recipe)
    assert torch.equal(by_marble(model, replace(recipe, negative_prompt="a cat")), plain)
    assert (by_marble(model, replace(recipe, guidance_scale=4.0)) - plain).abs().max() > 1e-3
    assert [each.rows for each in make_loaded_model(model).begin(recipe)] == [1]


def test_different_scales_share_calls_and_stay_themselves(model: StableDiffusion) -> None:
    recipes = [make_recipe(**{**LCM, "guidance_scale": scale}) for scale in (1.0, 4.0, 8.0)]
    calls: list[int] = []
    hook = model.unet.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))
    try:
        together = [pngs(news) for news in draw(make_pipeline(model, ROOMY), recipes, [0, 0, 0])]
    finally:
        hook.remove()
    assert len(calls) == 4  # one for each step of all three
    alone = [pngs(draw(make_pipeline(model, ROOMY), [recipe], [0])[0]) for recipe in recipes]
    assert together == alone
    assert len({png for (png,) in together}) == 3


def test_a_control_model_is_not_told_the_scale(
    model: StableDiffusion, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    usual = make_true_model(tmp_path_factory.mktemp("usual"), "sd1")
    make_network(usual.unet, 1).save_pretrained(tmp_path / "controlnet" / "disc")
    loaded_model = make_loaded_model(model, tmp_path)
    recipe = make_recipe(**LCM, controls=(Control(model="disc", image=DISC),))
    control_residuals = controlled(loaded_model, recipe, BLOBS)
    assert (control_residuals - by_marble(model, replace(recipe, controls=()))).abs().max() > 1e-3


def test_a_folder_says_so_in_its_configuration(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "LCM_Dreamshaper_v7", guidance=32)
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionP", "LatentConsistencyModelP"))
    checkpoint = describe("LCM_Dreamshaper_v7", folder)
    its = checkpoint.defaults
    usual = (its.steps, its.guidance_scale, its.sampler, its.schedule)
    assert usual == (4, 8.0, "lcm", "sgm_uniform")
    loaded = load(checkpoint, torch.device("cpu"))
    assert loaded.guidance_width == 32
    recipe = make_recipe(**LCM)
    difference = by_marble(loaded, recipe) - by_marble(loaded, replace(recipe, guidance_scale=1.5))
    assert difference.abs().max() > 0


def test_a_single_file_says_so_by_a_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "CONFIGS", small_forms(tmp_path / "forms"))
    form = small_forms(tmp_path / "with") / "sd1"
    config = form / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "time_cond_proj_dim": WIDTH}))
    modules = make_modules(form)
    path = write_single_file(tmp_path / "dream.safetensors", "sd1", modules)
    checkpoint = describe_file(path.name, path)
    assert (checkpoint.defaults.steps, checkpoint.defaults.guidance_scale) == (4, 8.0)
    loaded = load(checkpoint, torch.device("cpu"), torch.float16)
    assert loaded.guidance_width == WIDTH
    weights = dict(loaded.unet.named_parameters())
    expected = dict(modules["unet"].half().named_parameters())
    assert weights.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(weights[name], weight), name


@pytest.mark.parametrize("shape", [(), (WIDTH,), (32, 0), (32, 2)])
def test_a_single_file_whose_weight_has_another_shape_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr(families, "CONFIGS", small_forms(tmp_path / "forms"))
    modules = make_modules(families.CONFIGS / "sd1")
    path = write_single_file(tmp_path / "dream.safetensors", "sd1", modules)
    save_file({**load_file(path), GUIDANCE_IN: torch.zeros(shape)}, path)
    with pytest.raises(BrokenModel, match=r"cond_proj.*where two sides|guidance scale in \d"):
        describe_file(path.name, path)


def test_its_recipe_travels_through_a_graph() -> None:
    recipe = make_recipe(**LCM, checkpoint="LCM_Dreamshaper_v7.safetensors")
    assert recipe_of(json.loads(json.dumps(to_graph(recipe)))) == recipe
