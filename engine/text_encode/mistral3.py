"""Mistral Small 3 as a text encoder, Mistral AI (2025): the language model alone, of one that also
sees. FLUX.2 dev reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from safetensors import safe_open
from torch import Tensor
from transformers.integrations.mistral.tokenizer import MistralConverter
from transformers.models.mistral.configuration_mistral import MistralConfig
from transformers.models.mistral.modeling_mistral import MistralModel
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

from engine.loading.modules import IN_PLACE, Target
from engine.loading.tokenizer import reading_tokenizer
from engine.loading.tokenizer import tokenizer_of as folder_tokenizer_of
from engine.text_encode.language_model import made, rotary, shapes_of

# How its names begin: in ComfyUI's files, and in folders of several versions of transformers.
PREFIX: Final = re.compile(r"^(language_model\.model\.|model\.language_model\.|model\.)")
TOKENIZER: Final = "tekken_model"  # ComfyUI's copy of it, in the encoder's file
# What sees, what would choose the next word, and that copy.
UNUSED: Final = re.compile(
    rf"(model\.)?(vision_tower|multi_modal_projector)\.|(language_model\.)?lm_head\.|{TOKENIZER}$"
)
SIDE: Final = 128  # of a head, which no shape tells
THETA: Final = 1_000_000_000.0


def encoder_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> MistralModel:
    """Return the encoder of a file's tensors, in their memory; raises `BadFile`."""
    names = {
        PREFIX.sub("", name): tensor for name, tensor in tensors.items() if not UNUSED.match(name)
    }
    config = MistralConfig(
        **shapes_of(names, "Mistral", SIDE),
        **rotary(THETA),
        max_position_embeddings=131_072,
        rms_norm_eps=1e-5,
        sliding_window=None,
    )
    return made(MistralModel, config, names, target, cut=True)


def tokenizer_of(path: Path) -> Any:
    """Read a tokenizer's folder, or the copy in an encoder's file: the text of a `tekken.json`."""
    if path.is_dir():
        return folder_tokenizer_of(path)
    with safe_open(path, "pt") as file:
        name = next(name for name in file.keys() if name.endswith(TOKENIZER))  # noqa: SIM118
        copy = file.get_tensor(name).numpy().tobytes()
    with TemporaryDirectory() as folder, reading_tokenizer():
        read = Path(folder) / "tekken.json"
        read.write_bytes(copy)
        return PreTrainedTokenizerFast(tokenizer_object=MistralConverter(str(read)).converted())
