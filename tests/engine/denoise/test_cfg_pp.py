"""CFG++ needs the prediction for the negative prompt by itself: how it comes to the sampler."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.denoise.conditions import Conditions, needs_negative
from engine.denoise.denoising import Denoising, evaluate
from engine.denoise.inpainting import keep_unmasked
from engine.denoise.multidiffusion import in_tiles
from engine.denoise.samplers import SAMPLERS, Request, Sampling, drive
from engine.errors import UserError
from engine.families.stable_diffusion import StableDiffusion, load
from engine.models.catalogue import describe
from engine.recipe.conditions import calls_of, sides_of
from engine.recipe.limits import CFG_PP
from engine.recipe.patches import Patch
from engine.recipe.recipe import Recipe
from engine.text_encode.conditioning import TextEncoder
from tests.factories import make_recipe
from tests.models import make_model

PLAIN = make_recipe(negative_prompt="a stone", guidance_scale=3.0)
CFG = replace(PLAIN, sampler="euler_cfg_pp")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    folder = make_model(tmp_path_factory.mktemp("cfg_pp") / "tiny")
    return load(describe("model", folder), torch.device("cpu"))


def begun(model: StableDiffusion, recipe: Recipe) -> Denoising:
    text = TextEncoder(model)
    words = recipe.prompt, recipe.negative_prompt
    with torch.inference_mode():
        positive, negative = (text.encode(each, None) for each in words)
        return Denoising(model, recipe, 0, Conditions.of(positive, negative))


def answers(model: StableDiffusion, *recipes: Recipe) -> list[Tensor]:
    with torch.inference_mode():
        return evaluate(model, [begun(model, recipe) for recipe in recipes], 4)


def test_recipes_know_which_samplers_need_the_unguided_prediction() -> None:
    assert {name for name, sampler in SAMPLERS.items() if sampler.unguided} == set(CFG_PP)


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("patches", [(), (Patch(kind="perturbed_attention", numbers=(2,)),)])
def test_the_answer_holds_both_predictions(
    model: StableDiffusion, scale: float, patches: tuple[Patch, ...]
) -> None:
    plain, ours = (replace(each, guidance_scale=scale, patches=patches) for each in (PLAIN, CFG))
    only_negative = replace(plain, prompt=plain.negative_prompt, guidance_scale=1.0, patches=())
    [found], [guided], [unguided] = (answers(model, each) for each in (ours, plain, only_negative))
    assert found.shape == (2, *guided.shape[1:])
    assert torch.allclose(found[:1], guided[:1], rtol=0, atol=1e-4)
    assert torch.allclose(found[1:], unguided[:1], rtol=0, atol=1e-4)


def test_pictures_of_both_kinds_share_a_call(model: StableDiffusion) -> None:
    assert begun(model, CFG).kind == begun(model, PLAIN).kind
    together = answers(model, CFG, PLAIN)
    assert torch.equal(together[0], answers(model, CFG)[0])
    assert torch.equal(together[1], answers(model, PLAIN)[0])


def test_a_preview_shows_the_guided_prediction(model: StableDiffusion) -> None:
    picture = begun(model, CFG)
    with torch.inference_mode():
        [answer] = evaluate(model, [picture], 4)
        picture.advance(answer)
    assert picture.denoised is not None
    assert torch.equal(picture.denoised, answer[:1])


def test_the_negative_prompt_is_read_at_any_scale(model: StableDiffusion) -> None:
    for recipe, wanted in ((PLAIN, False), (CFG, True)):
        alone = replace(recipe, guidance_scale=1.0)
        assert needs_negative(model, alone, sides_of(alone, calls_of(alone, 1))) is wanted


def test_a_model_without_a_negative_side_is_refused(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "told", guidance=32)
    told = load(describe("told", folder), torch.device("cpu"))
    with pytest.raises(UserError, match=r"sampler euler_cfg_pp needs .* the model 'told' has not"):
        begun(told, CFG)


def guided(x: Tensor, sigma: float) -> Tensor:
    """Return two predictions that depend on x latent by latent."""
    return torch.cat([x / (1 + sigma), x / (2 + sigma)])


@pytest.mark.parametrize("name", CFG_PP)
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda run: keep_unmasked(
            run, torch.zeros(1, 4, 16, 24), torch.ones(1, 4, 16, 24), torch.ones(1, 1, 16, 24),
            lambda latents, noise, sigma: latents + noise * sigma,
        ),
        lambda run: in_tiles(run, 12),
    ],
    ids=["inpainting", "tiles"],
)  # fmt: skip
def test_masks_and_tiles_pass_both_predictions_on(
    name: str, wrapped: Callable[[Sampling], Sampling]
) -> None:
    x = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(0)) * 9
    sigmas = torch.tensor([9.0, 3.0, 1.0, 0.0])
    runs = [SAMPLERS[name](x, sigmas, torch.ones_like) for _ in range(2)]
    whole, found = drive(runs[0], guided), drive(wrapped(runs[1]), guided)
    assert torch.allclose(found, whole, rtol=0, atol=1e-5)


def test_a_mask_keeps_latents_in_the_guided_prediction_alone() -> None:
    """As in ComfyUI, where the sampler takes the unguided one from before the mask."""
    latents, seen = torch.full((1, 1, 2, 2), 5.0), list[Tensor]()

    def sampling() -> Sampling:
        seen.append((yield Request(latents, 1.0, 0, unguided=True)))
        return latents

    nothing = torch.zeros(1, 1, 2, 2)
    run = keep_unmasked(sampling(), latents, latents, nothing, lambda kept, noise, sigma: kept)
    drive(run, lambda x, sigma: torch.cat([x * 2, x * 3]))
    assert [each.mean().item() for each in seen[0]] == [5.0, 15.0]
