"""Chroma's network, held to ComfyUI's by a small one with random weights."""

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.families import chroma
from engine.files.safetensors import BadFile
from engine.loading.makers_names import PREFIX
from engine.loading.modules import Target
from tests.engine.families import small
from tests.engine.families.small import told

pytestmark = small.needs_networks


def predict(network: Any, told: dict[str, Tensor], mask: Tensor | None = None) -> Tensor:
    words = told["context"]
    mask = torch.ones(words.shape[:2], dtype=torch.bool) if mask is None else mask
    return chroma.predict(network, told["x"], told["timestep"], words, mask)


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize("case", ["case0", "case1", "case2"])
@torch.inference_mode()
def test_the_network_equals_comfyui(case: str, prefix: str) -> None:
    held = small.weights("chroma")
    network = chroma.network_of({f"{prefix}{key}": each for key, each in held.items()})
    found = predict(network, told("chroma", case))
    assert (found - small.answers("chroma")[f"{case}.out"]).abs().max() <= 1e-4


@torch.inference_mode()
def test_a_network_is_read_by_diffusers_names_as_well() -> None:
    network = chroma.network_of(small.weights("chroma"))
    again = chroma.network_of(network.state_dict())
    case = told("chroma", "case0")
    assert torch.equal(predict(network, case), predict(again, case))


@torch.inference_mode()
def test_masked_words_change_nothing() -> None:
    network = chroma.network_of(small.weights("chroma"))
    case = told("chroma", "case0")
    plain = predict(network, case)
    words = case["context"]
    case["context"] = torch.cat([words, torch.full((2, 9, words.shape[2]), 7.0)], 1)
    mask = torch.tensor([True] * words.shape[1] + [False] * 9).expand(2, -1)
    padded = predict(network, case, mask)
    assert (padded - plain).abs().max() <= 1e-5
    # In one call with a row whose words are longer, in bytes.
    other = mask.clone()
    other[1] = True
    assert torch.equal(predict(network, case, other)[0], padded[0])


@torch.inference_mode()
def test_rows_never_change_each_other() -> None:
    network = chroma.network_of(small.weights("chroma"))
    case = told("chroma", "case0")
    pair = predict(network, case)
    turned = predict(network, {key: each.flip(0) for key, each in case.items()})
    assert torch.equal(pair, turned.flip(0))


@torch.inference_mode()
def test_times_are_not_rounded_to_bf16() -> None:
    network = chroma.network_of(small.weights("chroma"), Target(torch.bfloat16))
    case = told("chroma", "case0")
    exact = {"timestep", "guidance"}
    rough = {key: each if key in exact else each.bfloat16() for key, each in case.items()}
    wanted = small.answers("chroma")["case0.out"]
    # σ = 0.85 as bf16 is told as 852 instead of 850, which moves the result by 0.9 or more.
    assert (predict(network, rough) - wanted).abs().max() <= 0.1


def test_a_broken_file_is_refused_with_what_is_wrong() -> None:
    held = small.weights("chroma")
    lacking = "distilled_guidance_layer.out_proj.bias"
    for what, tensors in small.refusals(held, lacking).items():
        with pytest.raises(BadFile, match=what):
            chroma.network_of(tensors)
