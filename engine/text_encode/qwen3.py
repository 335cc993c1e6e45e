"""Qwen3 as a text encoder, Yang et al. (2025), arXiv:2505.09388, and Qwen3-VL, Bai et al. (2025),
arXiv:2511.21631, which reads words alike: of what sees nothing is needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

from engine.loading.modules import IN_PLACE, Target
from engine.text_encode.language_model import made, rotary, shapes_of

PREFIX: Final = re.compile(r"^(model\.)?(language_model\.)?")
UNUSED: Final = re.compile(r"(model\.)?visual\.|lm_head\.")  # what sees, and chooses the next word
THETA: Final = 1_000_000.0
VL_THETA: Final = 5_000_000.0  # of Qwen3-VL


def encoder_of(
    tensors: Mapping[str, Tensor],
    target: Target = IN_PLACE,
    *,
    theta: float = THETA,
    cut: bool = True,
) -> Any:
    """Return the encoder of a file's tensors, in their memory; raises `BadFile`.

    cut: as in `made`.
    """
    names = {PREFIX.sub("", name): each for name, each in tensors.items() if not UNUSED.match(name)}
    config = Qwen3Config(
        **shapes_of(names, "Qwen3"),
        **rotary(theta),
        max_position_embeddings=40_960,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
    )
    return made(Qwen3Model, config, names, target, cut=cut)
