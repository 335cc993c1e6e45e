"""Qwen3 as a text encoder: Yang et al. (2025), arXiv:2505.09388."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

from engine.loading.modules import IN_PLACE, Target
from engine.text_encode.language_model import made, rotary, shapes_of

PREFIX: Final = "model."
THETA: Final = 1_000_000.0


def encoder_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> Any:
    """Return the encoder of a file's tensors, in their memory; raises `BadFile`."""
    names = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    names.pop("lm_head.weight", None)  # what would choose the next word
    config = Qwen3Config(
        **shapes_of(names, "Qwen3"),
        **rotary(THETA),
        max_position_embeddings=40_960,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
    )
    return made(Qwen3Model, config, names, target, cut=True)
