"""Perturbed attention: a prediction in whose middle each place sees itself alone.

Ahn et al. (2024), "Self-rectifying diffusion sampling with perturbed-attention guidance",
arXiv:2403.17377, section 4: guidance leads away from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


@contextmanager
def attention_perturbed(unet: Any) -> Iterator[None]:
    """Let self-attention in the middle block of diffusers' U-Net return its values."""
    blocks = [block for each in unet.mid_block.attentions for block in each.transformer_blocks]
    before = [block.attn1.processor for block in blocks]
    for block in blocks:
        block.attn1.set_processor(_own_values)
    try:
        yield
    finally:
        for block, processor in zip(blocks, before, strict=True):
            block.attn1.set_processor(processor)


def _own_values(attention: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    """Return what attention makes of values where each place attends to itself alone."""
    values: Tensor = attention.to_v(hidden_states)
    for layer in attention.to_out:
        values = layer(values)
    return values
