"""Qwen-Image's network, held to ComfyUI's and diffusers' by a small network with random weights."""

from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from torch import Tensor

from engine.families import qwen_image
from engine.files.safetensors import BadFile
from engine.loading.makers_names import PREFIX
from engine.loading.modules import Target
from tests.engine.families.small import answers, apart, needs_networks, prefixed, weights

pytestmark = needs_networks


def inputs(case: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, σ and texts; ComfyUI's latents have an axis for frames."""
    x, sigma, context = (
        answers("qwen_image")[f"{case}.in.{key}"] for key in ("x", "timestep", "context")
    )
    return x.squeeze(2), sigma, context


def out(case: str) -> Tensor:
    return answers("qwen_image")[f"{case}.out"].squeeze(2)


def reference() -> Tensor:
    return answers("qwen_image")["reference.in.ref_latent"].squeeze(2)


def diffusers_answer(
    case: str, mask: Tensor | None = None, pictures: tuple[Tensor, ...] = (), **config: Any
) -> Tensor:
    """Return what diffusers' class answers, its tokens cut by indices."""
    file = dict(weights("qwen_image"))
    network = QwenImageTransformer2DModel(**qwen_image.config_of(file), **config)
    network.load_state_dict(file)
    x, sigma, context = inputs(case)
    tokens, grids = [], []
    for picture in (x, *pictures):
        n, _, h, w = picture.shape
        grids.append((1, h // 2, w // 2))
        patches = [
            picture[:, :, i : i + 2, j : j + 2].reshape(n, -1)
            for i in range(0, h, 2)
            for j in range(0, w, 2)
        ]
        tokens.append(torch.stack(patches, dim=1))
    answer = network(
        torch.cat(tokens, dim=1), context, mask, sigma, [grids, grids], return_dict=False
    )[0]
    result = torch.zeros_like(x)
    for k, (i, j) in enumerate((i, j) for i in range(grids[0][1]) for j in range(grids[0][2])):
        patch = answer[:, k].reshape(len(x), 16, 2, 2)
        result[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = patch
    return result


@pytest.fixture(scope="module")
def network() -> Any:
    return qwen_image.network_of(weights("qwen_image"))


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize("case", ["case0", "case1"])
@torch.inference_mode()
def test_the_network_equals_comfyui(case: str, prefix: str) -> None:
    network = qwen_image.network_of(prefixed(weights("qwen_image"), prefix))
    assert apart(qwen_image.predict(network, *inputs(case)), out(case)) <= 1e-4


@torch.inference_mode()
def test_a_picture_to_edit_is_further_tokens(network: Any) -> None:
    found = qwen_image.predict(network, *inputs("reference"), references=[reference()])
    assert apart(found, out("reference")) <= 1e-4


@torch.inference_mode()
def test_grids_with_an_odd_side_are_centred_as_diffusers_does(network: Any) -> None:
    found = qwen_image.predict(network, *inputs("case2"))
    assert apart(found, diffusers_answer("case2")) <= 1e-4
    assert apart(found, out("case2")) > 0.1


@torch.inference_mode()
def test_padding_is_masked_as_diffusers_does(network: Any) -> None:
    mask = answers("qwen_image")["masked.in.attention_mask"].bool()
    assert not mask.all()
    found = qwen_image.predict(network, *inputs("masked"), mask)
    assert apart(found, diffusers_answer("masked", mask)) <= 1e-4
    assert apart(found, out("masked")) > 0.1  # ComfyUI ignores it


@torch.inference_mode()
def test_a_row_is_the_same_whatever_the_others_say(network: Any) -> None:
    x, sigma, context = inputs("case1")
    short = torch.zeros_like(context[:1])
    short[:, :7] = context[:1, :7]
    mask = torch.arange(short.shape[1]) < torch.tensor([[7], [19]])
    pair = qwen_image.predict(network, x, sigma, torch.cat([short, context[1:]]), mask)
    alike = qwen_image.predict(network, x, sigma, torch.cat([short, short]), mask[[0, 0]])
    assert torch.equal(pair[0], alike[0])
    alone = qwen_image.predict(network, x[:1], sigma[:1], short[:, :7])
    assert apart(pair[0], alone[0]) <= 1e-5


@torch.inference_mode()
def test_a_mark_in_the_file_tells_that_references_are_noiseless() -> None:
    marked = {**weights("qwen_image"), qwen_image.CLEAN_REFERENCES: torch.zeros(0)}
    network = qwen_image.network_of(marked)
    edited = qwen_image.predict(network, *inputs("reference"), references=[reference()])
    due = diffusers_answer("reference", None, (reference(),), zero_cond_t=True)
    assert apart(edited, due) <= 1e-4
    assert apart(edited, out("reference")) > 0.01
    folder = qwen_image.network_of(weights("qwen_image"), clean_references=True)
    again = qwen_image.predict(folder, *inputs("reference"), references=[reference()])
    assert torch.equal(again, edited)
    without = qwen_image.predict(network, *inputs("case0"))
    assert apart(without, out("case0")) <= 1e-4


@torch.inference_mode()
def test_times_are_not_rounded_to_bf16() -> None:
    held = {name: each.bfloat16() for name, each in weights("qwen_image").items()}
    target = Target(dtype=torch.bfloat16)
    x, sigma, context = inputs("case0")
    for marked in (False, True):
        network = qwen_image.network_of(held, target, clean_references=marked)
        found = qwen_image.predict(network, x.bfloat16(), sigma, context.bfloat16())
        # σ = 0.85 as bf16 is told as 852 instead of 850, which moves the result by much more.
        assert apart(found, out("case0")) <= 0.1


def test_a_tensor_that_is_missing_or_unknown_is_named() -> None:
    file = weights("qwen_image")
    with pytest.raises(BadFile, match=r"'norm_out.linear.bias'"):
        qwen_image.network_of({n: each for n, each in file.items() if n != "norm_out.linear.bias"})
    with pytest.raises(BadFile, match=r"'transformer_blocks.0.attn.norm_q.weight' of Qwen-Image"):
        qwen_image.network_of({})
    with pytest.raises(BadFile, match="'strange'"):
        qwen_image.network_of({**file, "strange": torch.zeros(1)})
