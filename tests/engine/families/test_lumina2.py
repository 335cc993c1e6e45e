"""Lumina 2's network, held to ComfyUI's and diffusers' by a small network with random weights."""

import pytest
import torch
from diffusers.models.transformers.transformer_lumina2 import Lumina2Transformer2DModel
from torch import Tensor

from engine.families import lumina2
from engine.files.safetensors import BadFile
from engine.loading.makers_names import PREFIX, respelled
from engine.loading.modules import Target
from tests.engine.families.small import answers, apart, needs_networks, prefixed, weights

pytestmark = needs_networks


def inputs(case: str) -> tuple[Tensor, Tensor, Tensor]:
    x, sigma, context = (answers("lumina2")[f"{case}.in.{key}"] for key in INPUTS)
    return x, sigma, context


INPUTS = "x", "timestep", "context"


@pytest.fixture(scope="module")
def network() -> lumina2.Network:
    return lumina2.network_of(weights("lumina2"))


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize("case", ["case0", "case1", "case2"])
@torch.inference_mode()
def test_the_network_equals_comfyui(case: str, prefix: str) -> None:
    network = lumina2.network_of(prefixed(weights("lumina2"), prefix))
    found = lumina2.predict(network, *inputs(case))
    assert apart(found, answers("lumina2")[f"{case}.out"]) <= 1e-4


@torch.inference_mode()
def test_a_folder_has_diffusers_names_already(network: lumina2.Network) -> None:
    again = lumina2.network_of(network.state_dict())
    both = [lumina2.predict(each, *inputs("case0")) for each in (network, again)]
    assert torch.equal(*both)


@torch.inference_mode()
def test_padding_is_masked_as_diffusers_does() -> None:
    """ComfyUI masks it in the text's own layers alone."""
    names = respelled(weights("lumina2"), lumina2.NAMES)
    own = Lumina2Transformer2DModel(**lumina2.config_of(names))
    own.load_state_dict(names)
    x, sigma, context = inputs("masked")
    mask = answers("lumina2")["masked.in.attention_mask"].bool()
    assert not mask.all()
    due = -own(x, 1 - sigma, context, mask, return_dict=False)[0]
    found = lumina2.predict(lumina2.network_of(weights("lumina2")), x, sigma, context, mask)
    assert apart(found, due) <= 1e-4
    assert apart(found, answers("lumina2")["masked.out"]) > 0.1


@torch.inference_mode()
def test_a_row_is_the_same_whatever_the_others_say(network: lumina2.Network) -> None:
    x, sigma, context = inputs("case1")
    short = torch.zeros_like(context[:1])
    short[:, :7] = context[:1, :7]
    mask = torch.arange(short.shape[1]) < torch.tensor([[7], [19]])
    pair = lumina2.predict(network, x, sigma, torch.cat([short, context[1:]]), mask)
    alike = lumina2.predict(network, x, sigma, torch.cat([short, short]), mask[[0, 0]])
    assert torch.equal(pair[0], alike[0])
    alone = lumina2.predict(network, x[:1], sigma[:1], short[:, :7])
    assert apart(pair[0], alone[0]) <= 1e-5


@torch.inference_mode()
def test_prompts_may_be_longer_than_diffusers_tables(network: lumina2.Network) -> None:
    x, sigma, context = inputs("case0")
    long = context.repeat(1, 60, 1)
    assert lumina2.predict(network, x, sigma, long).isfinite().all()


@torch.inference_mode()
def test_times_are_not_rounded_to_bf16() -> None:
    held = {name: each.bfloat16() for name, each in weights("lumina2").items()}
    network = lumina2.network_of(held, Target(dtype=torch.bfloat16))
    x, sigma, context = inputs("case0")
    found = lumina2.predict(network, x.bfloat16(), sigma, context.bfloat16())
    assert apart(found, answers("lumina2")["case0.out"]) <= 0.1


def test_a_tensor_that_is_missing_or_unknown_is_named() -> None:
    file = weights("lumina2")
    with pytest.raises(BadFile, match=r"'layers.0.ffn_norm2.weight'"):
        lumina2.network_of(
            {n: each for n, each in file.items() if n != "layers.0.ffn_norm2.weight"}
        )
    with pytest.raises(BadFile, match=r"'layers.0.attn.norm_q.weight' of Lumina 2"):
        lumina2.network_of({})
    with pytest.raises(BadFile, match="'strange'"):
        lumina2.network_of({**file, "strange": torch.zeros(1)})
    lumina2.network_of({**file, "norm_final.weight": torch.zeros(48)})
