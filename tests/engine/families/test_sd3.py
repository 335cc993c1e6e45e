"""SD3's and SD3.5's networks, held to ComfyUI's by small networks with random weights."""

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.families import sd3
from engine.files.safetensors import BadFile
from engine.loading.makers_names import PREFIX
from engine.loading.modules import Target
from tests.engine.families.small import answers, apart, needs_networks, prefixed, weights

NETWORKS = "sd3", "sd35_medium"
INPUTS = "x", "timestep", "context", "y"


def inputs(name: str, case: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    io = answers(name)
    x, timestep, context, pooled = (io[f"{case}.in.{key}"] for key in INPUTS)
    return x, timestep / 1000, context, pooled


@needs_networks
@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize("case", ["case0", "case1", "case2"])
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_the_network_equals_comfyui(name: str, case: str, prefix: str) -> None:
    network = sd3.network_of(prefixed(weights(name), prefix))
    found = sd3.predict(network, *inputs(name, case))
    assert apart(found, answers(name)[f"{case}.out"]) <= 1e-4


@needs_networks
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_a_folder_has_diffusers_names_already(name: str) -> None:
    network = sd3.network_of(weights(name))
    again = sd3.network_of(network.state_dict())
    both = [sd3.predict(each, *inputs(name, "case0")) for each in (network, again)]
    assert torch.equal(*both)


@needs_networks
def test_projections_stay_in_the_memory_of_the_file() -> None:
    file = weights("sd35_medium")
    fused = file[f"{PREFIX}joint_blocks.0.x_block.attn2.qkv.weight"]
    attention: Any = sd3.network_of(file).transformer_blocks[0].attn2
    parts = (attention.to_q, attention.to_k, attention.to_v)
    size = parts[0].weight.nbytes
    assert [part.weight.data_ptr() - fused.data_ptr() for part in parts] == [0, size, 2 * size]


@needs_networks
@torch.inference_mode()
def test_rows_never_see_each_other() -> None:
    network = sd3.network_of(weights("sd35_medium"))
    rows = inputs("sd35_medium", "case0")
    pair = sd3.predict(network, *rows)
    other = sd3.predict(network, *(each.flip(0) for each in rows))
    assert torch.equal(pair[0], other[1])


@needs_networks
@torch.inference_mode()
def test_times_are_not_rounded_to_bf16() -> None:
    held = {name: each.bfloat16() for name, each in weights("sd35_medium").items()}
    network = sd3.network_of(held, Target(dtype=torch.bfloat16))
    x, sigma, context, pooled = inputs("sd35_medium", "case0")
    found = sd3.predict(network, x.bfloat16(), sigma, context.bfloat16(), pooled.bfloat16())
    assert apart(found, answers("sd35_medium")["case0.out"]) <= 0.1


@needs_networks
def test_a_tensor_that_is_missing_or_unknown_is_named() -> None:
    file = weights("sd35_medium")
    lost = f"{PREFIX}joint_blocks.1.x_block.attn.ln_k.weight"
    with pytest.raises(BadFile, match=r"'transformer_blocks.1.attn.norm_k.weight'"):
        sd3.network_of({name: each for name, each in file.items() if name != lost})
    with pytest.raises(BadFile, match=r"'pos_embed.pos_embed' of Stable Diffusion 3"):
        sd3.network_of({name: each for name, each in file.items() if "pos_embed" not in name})
    with pytest.raises(BadFile, match="'strange'"):
        sd3.network_of({**file, "strange": torch.zeros(1)})


def test_texts_stand_beside_each_other_and_t5_behind_them() -> None:
    clip_l, clip_g, t5 = (
        torch.full((1, tokens, width), float(number))
        for number, (tokens, width) in enumerate([(77, 768), (154, 1280), (99, 4096)], 1)
    )
    joined = sd3.join_texts([clip_l, clip_g], t5)
    assert joined.shape == (1, 77 + 99, 4096)
    clip = torch.tensor([1.0] * 768 + [2.0] * 1280 + [0.0] * 2048)
    assert bool((joined[0, :77] == clip).all())
    assert bool((joined[0, 77:] == 3).all())
