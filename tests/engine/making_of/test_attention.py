"""Shares of attention, held to what diffusers' own attention computes."""

import math

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor

from engine.denoise.conditions import Box
from engine.making_of.attention import MOST_SCORES, SIDE, Heat, scores_of


def attention(dtype: torch.dtype = torch.float32) -> Attention:
    torch.manual_seed(0)
    return Attention(16, cross_attention_dim=12, heads=4, dim_head=8).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_are_those_of_diffusers_mean_over_heads(dtype: torch.dtype) -> None:
    layer = attention(dtype)
    hidden, context = torch.randn(1, 6, 16).to(dtype), torch.randn(1, 5, 12).to(dtype)
    with torch.no_grad():
        query = layer.head_to_batch_dim(layer.to_q(hidden)).float()
        key = layer.head_to_batch_dim(layer.to_k(context)).float()
        wanted: Tensor = layer.get_attention_scores(query, key).mean(0).T
        found = scores_of(layer, hidden, context)
    assert found.dtype == torch.float32
    assert torch.allclose(found, wanted, atol=1e-6)
    assert torch.allclose(found.sum(0), torch.ones(6), atol=1e-6)


def test_a_box_is_added_where_it_lies_and_shares_stay_whole() -> None:
    heat = Heat.empty(3, 16, 8, torch.device("cpu"))
    scores = torch.softmax(torch.randn(3, 4, 2), 0)
    heat.add(scores, Box(8, 4, 8, 4), 16, 8)
    assert bool((heat.count[8:, 4:] == 1).all())
    assert float(heat.count.sum()) == 32
    assert torch.allclose(heat.mean.sum(0)[8:, 4:], torch.ones(8, 4), atol=1e-6)
    assert float(heat.mean[:, :8].abs().max()) == 0


@pytest.mark.parametrize(("tokens", "height", "width"), [(77, 512, 256), (77 * 256, 64, 64)])
def test_what_is_kept_of_a_text_is_bounded(tokens: int, height: int, width: int) -> None:
    heat = Heat.empty(tokens, height, width, torch.device("meta"))
    assert math.prod(heat.total.shape) <= MOST_SCORES
    assert max(heat.count.shape) <= SIDE
