"""Patches of a U-Net against what their papers and ComfyUI's nodes say, written plainly."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from torch.nn import functional

from engine.denoise.conditions import Conditions
from engine.denoise.denoising import Denoising, evaluate
from engine.denoise.freeu import _places, features_weighed
from engine.denoise.perturbed import attention_perturbed
from engine.families.stable_diffusion import StableDiffusion
from engine.models.families import BY_KEY
from engine.recipe.patches import Patch
from engine.recipe.recipe import Recipe
from engine.text_encode.conditioning import TextEncoder
from tests.factories import make_recipe
from tests.single_files import make_true_model

FREEU = Patch(kind="freeu_v2", numbers=(1.3, 1.4, 0.9, 0.2))
PERTURBED = Patch(kind="perturbed_attention", numbers=(3,))
V = Patch(kind="v_prediction", numbers=(1,))


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> StableDiffusion:
    return make_true_model(tmp_path_factory.mktemp("patched"), request.param)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def drawn(**changes: Any) -> Recipe:
    """Return a recipe whose lowest features have several places."""
    return make_recipe(width=128, height=192, **changes)


def begun(model: StableDiffusion, recipe: Recipe) -> Denoising:
    text = TextEncoder(model)
    positive, negative = (
        text.encode(each, None) for each in (recipe.prompt, recipe.negative_prompt)
    )
    guided = recipe.guidance_scale != 1
    conditions = Conditions.of(positive, negative if guided else None)
    return Denoising(model, recipe, 0, conditions)


def first(model: StableDiffusion, *recipes: Recipe, rows: int = 4) -> list[Tensor]:
    return evaluate(model, [begun(model, recipe) for recipe in recipes], rows)


@pytest.mark.parametrize(
    ("family", "wanted"),
    [
        # As ComfyUI's output blocks: their channels from below, of 1280 and of 640.
        ("sd1", [1280] * 7 + [640] * 3),
        ("sdxl", [1280] * 4 + [640] * 3),
    ],
)
def test_freeu_acts_where_the_channels_are_four_or_two_times_the_first(
    family: str, wanted: list[int]
) -> None:
    config = UNet2DConditionModel.load_config(str(BY_KEY[family].config_folder), subfolder="unet")
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    found = [(channels, factors) for _, channels, factors in _places(unet, (1, 2, 3, 4))]
    factors = {1280: (1, 3), 640: (2, 4)}
    assert found == [(channels, factors[channels]) for channels in wanted]


def weighed(joined: np.ndarray, channels: int, b: float, s: float, adaptive: bool) -> np.ndarray:
    """Return FreeU's inputs of a block, by the paper's equations 5 and 6, with a mask."""
    below, skipped = joined[:, :channels].copy(), joined[:, channels:]
    mean = below.mean(1, keepdims=True)
    low, high = (each(axis=(1, 2, 3), keepdims=True) for each in (mean.min, mean.max))
    factor = (b - 1) * (mean - low) / (high - low) + 1 if adaptive else b
    below[:, : channels // 2] *= factor
    spectrum = np.fft.fftshift(np.fft.fftn(skipped, axes=(2, 3)), axes=(2, 3))
    middle_row, middle = (side // 2 for side in skipped.shape[2:])
    spectrum[:, :, middle_row - 1 : middle_row + 1, middle - 1 : middle + 1] *= s
    skipped = np.fft.ifftn(np.fft.ifftshift(spectrum, axes=(2, 3)), axes=(2, 3)).real
    return np.concatenate([below, skipped], axis=1)


@pytest.mark.parametrize("kind", ["freeu", "freeu_v2"])
def test_freeu_weighs_what_each_block_takes(model: StableDiffusion, kind: str) -> None:
    patches = [Patch(kind=kind, numbers=(1.3, 1.4, 0.9, 0.2)), Patch(kind=kind, numbers=(2,) * 4)]
    places = list(_places(model.unet, patches[0].numbers))
    given, taken = list[Tensor](), list[Tensor]()

    def spy(seen: list[Tensor], modules: list[Any]) -> None:
        for module in modules:
            hooks.append(module.register_forward_pre_hook(lambda _, x: seen.append(x[0])))

    hooks: list[Any] = []
    spy(given, [block for block, _, _ in places])
    with features_weighed(model.unet, patches):
        spy(taken, [block.norm1 for block, _, _ in places])
        first(model, drawn())
    for hook in hooks:
        hook.remove()
    assert len(given) == len(taken) == len(places)
    for joined, made, (_, channels, own) in zip(given, taken, places, strict=True):
        wanted = joined.double().numpy()
        for factors in (own, (2.0, 2.0)):
            wanted = weighed(wanted, channels, *factors, kind == "freeu_v2")
        assert np.abs(made.numpy() - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_a_patch_is_gone_after_its_call(model: StableDiffusion) -> None:
    plain = drawn()
    [before] = first(model, plain)
    [patched] = first(model, replace(plain, patches=(FREEU, PERTURBED, V)))
    assert not patched.allclose(before)
    assert torch.equal(first(model, plain)[0], before)


def test_perturbed_attention_sees_each_place_alone(model: StableDiffusion) -> None:
    """Attention whose weights are the identity: scaled_dot_product_attention returns values."""
    unet, recipe = model.unet, drawn(guidance_scale=1.0)
    with attention_perturbed(unet):
        [ours] = first(model, recipe)
    attend, inside = functional.scaled_dot_product_attention, list[int]()

    def patched(query: Tensor, key: Tensor, value: Tensor, **more: Any) -> Tensor:
        return value if inside else attend(query, key, value, **more)

    hooks = []
    for each in unet.mid_block.attentions:
        for block in each.transformer_blocks:
            hooks.append(block.attn1.register_forward_pre_hook(lambda *_: inside.append(1)))
            hooks.append(block.attn1.register_forward_hook(lambda *_: inside.clear()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "scaled_dot_product_attention", patched)
        [theirs] = first(model, recipe)
    for hook in hooks:
        hook.remove()
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-4)
    assert not ours.allclose(first(model, recipe)[0], rtol=0, atol=1e-4)


def test_perturbed_attention_counts_each_call_twice(model: StableDiffusion) -> None:
    plain, perturbed = (begun(model, drawn(patches=each)) for each in ((), (PERTURBED,)))
    assert (plain.times, perturbed.times) == (1, 2)
    assert perturbed.work == 2 * plain.work


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_guidance_leads_away_from_perturbed_attention(model: StableDiffusion, scale: float) -> None:
    """guided + 3·(cond − perturbed), as ComfyUI's PerturbedAttentionGuidance."""
    plain = drawn(guidance_scale=scale)
    alone = replace(plain, guidance_scale=1.0)
    [guided], [cond] = first(model, plain), first(model, alone)
    with attention_perturbed(model.unet):
        [weaker] = first(model, alone)
    [found] = first(model, replace(plain, patches=(PERTURBED,)))
    assert torch.allclose(found, guided + 3 * (cond - weaker), rtol=0, atol=1e-3)


def test_pictures_with_other_patches_share_no_call(model: StableDiffusion) -> None:
    recipes = [drawn(patches=patches) for patches in ((), (FREEU,), (PERTURBED,), (V,))]
    kinds = {begun(model, recipe).kind for recipe in recipes}
    assert len(kinds) == 4


@pytest.mark.parametrize("patch", [FREEU, PERTURBED, V])
def test_a_patched_picture_is_the_same_in_company(model: StableDiffusion, patch: Patch) -> None:
    recipe = drawn(patches=(patch,))
    other = replace(recipe, prompt="a river", seed=9)
    assert torch.equal(first(model, recipe, other)[0], first(model, recipe)[0])
    assert torch.equal(first(model, other, recipe)[1], first(model, recipe)[0])


def test_the_output_is_read_as_a_patch_says(model: StableDiffusion) -> None:
    """In the same modules: what a model says that was made with v and zero SNR."""
    recipe = drawn(schedule="sgm_uniform", guidance_scale=1.0)
    schedule = replace(model.noise_schedule, prediction_type="v_prediction", zero_snr=True)
    other = replace(model, noise_schedule=schedule)
    patched = begun(model, replace(recipe, patches=(V,)))
    assert patched.request is not None
    assert patched.request.sigma == pytest.approx(4518.76, rel=1e-3)
    wanted = evaluate(other, [begun(other, recipe)], 4)[0]
    assert torch.equal(evaluate(model, [patched], 4)[0], wanted)
