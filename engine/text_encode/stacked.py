"""Several layers of a language model's states beside each other, as FLUX.2 reads words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

LAYER: Final = re.compile(r"(?:^|\.)layers\.(\d+)\.")
LAST: Final = re.compile(r"(?:^|\.)(?:norm|lm_head)\.weight$")  # behind the layers


def first_layers(tensors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return a language model's tensors without what comes after so many layers."""
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not LAST.search(name) and not ((found := LAYER.search(name)) and int(found[1]) >= count)
    }


def stacked_states(
    encoder: Any,
    ids: Sequence[int],
    layers: Sequence[int],
    *,
    length: int,
    pad: int,
    left: bool,
    device: torch.device,
) -> Tensor:
    """Return layers' outputs for token ids, each token's joined, [1, length, layers·width] fp32.

    layers: as in transformers' `hidden_states`, 0 are the embeddings; pad: the token that fills ids
    up to the length, on the left or the right, and that words do not attend to. What is longer is
    cut.
    """
    ids = ids[:length]
    fill = [pad] * (length - len(ids))
    there, missing = [1] * len(ids), [0] * len(fill)
    row = [*fill, *ids] if left else [*ids, *fill]
    mask = [*missing, *there] if left else [*there, *missing]
    output = encoder(
        torch.tensor([row], device=device),
        attention_mask=torch.tensor([mask], device=device),
        output_hidden_states=True,
        use_cache=False,
    )
    return torch.cat([output.hidden_states[layer] for layer in layers], -1).float()
