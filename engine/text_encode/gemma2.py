"""Gemma 2 as a text encoder: Gemma Team (2024), arXiv:2408.00118. Lumina 2 reads its second last
layer.

Attention's scores are not limited (soft-capped), as in ComfyUI: transformers does so with those of
its own pipelines, which moves the small encoder of the tests by 4e-3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from transformers.models.gemma2.configuration_gemma2 import Gemma2Config
from transformers.models.gemma2.modeling_gemma2 import Gemma2Model

from engine.files.safetensors import BadFile
from engine.loading.modules import IN_PLACE, Target, fill
from engine.text_encode.prompts import Token, flat
from engine.text_encode.t5 import weigh

PAD: Final = 0
START: Final = 2
SIDE: Final = 256  # of a head, which no shape tells
THETA: Final = 10_000.0
PREFIX: Final = "model."
# What would choose the next word, and ComfyUI's copy of the tokenizer.
UNUSED: Final = re.compile(r"lm_head\.|spiece_model$")
# What the makers put before a prompt.
SYSTEM: Final = (
    "You are an assistant designed to generate superior images with the superior degree of "
    "image-text alignment based on textual prompts or user prompts. <Prompt Start> "
)


class Gemma2Encoder:
    """Gemma 2 with its tokenizer; system: what stands before each prompt."""

    def __init__(
        self, tokenizer: Any, encoder: Any, *, device: torch.device, system: str = SYSTEM
    ) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._device = device
        self._system = system

    def encode(self, prompt: str) -> Tensor:
        """Return a prompt's embeddings, [1, tokens, width] fp32.

        Weights scale the difference to the empty prompt of the same length, as in ComfyUI.
        """
        tokens = self.tokens(prompt)
        rows = self._states([token for token, _ in tokens])
        weights = torch.tensor([weight for _, weight in tokens], device=rows.device)
        if bool((weights == 1).all()):
            return rows
        return weigh(rows, self._states([START, *[PAD] * (len(tokens) - 1)]), weights)

    def tokens(self, prompt: str) -> list[Token]:
        """Return the start and a prompt's weighted tokens, each span of a weight by itself."""
        return [Token(START, 1.0), *flat(self._system + prompt, self._ids)]

    def _ids(self, text: str) -> Iterator[Sequence[int]]:
        """Yield a text's ids; names of special tokens in it stay text."""
        yield self._tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids

    def _states(self, ids: Sequence[int]) -> Tensor:
        return hidden_state(self._encoder, torch.tensor([ids], device=self._device))


def hidden_state(encoder: Any, ids: Tensor) -> Tensor:
    """Return the second last layer's output for ids [1, tokens], [1, tokens, width] fp32.

    Tokens attend to those before them, but not to padding.
    """
    output = encoder(ids, attention_mask=ids != PAD, output_hidden_states=True, use_cache=False)
    found: Tensor = output.hidden_states[-2].float()
    return found


def encoder_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> Gemma2Model:
    """Return the encoder of a file's tensors, in their memory; raises `BadFile`."""
    names = {
        name.removeprefix(PREFIX): each for name, each in tensors.items() if not UNUSED.match(name)
    }
    config = Gemma2Config(**config_of(names))
    with torch.device("meta"):
        encoder = Gemma2Model(config)
    encoder = fill(encoder, names, target)
    # No weights, but what follows from the configuration, and has no values on `meta`.
    encoder.rotary_emb = type(encoder.rotary_emb)(config).to(device=target.device)
    table = encoder.embed_tokens
    table.embed_scale = torch.tensor(table.scalar_embed_scale, device=target.device)
    return encoder


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the encoder's configuration by the shapes of its tensors, in transformers' names."""
    try:
        vocabulary, width = tensors["embed_tokens.weight"].shape
        queries = tensors["layers.0.self_attn.q_proj.weight"].shape[0]
        keys = tensors["layers.0.self_attn.k_proj.weight"].shape[0]
        inner = tensors["layers.0.mlp.gate_proj.weight"].shape[0]
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of Gemma 2") from None
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len({n.split(".")[1] for n in tensors if n.startswith("layers.")}),
        "num_attention_heads": queries // SIDE,
        "num_key_value_heads": keys // SIDE,
        "head_dim": SIDE,
        "query_pre_attn_scalar": SIDE,
        "rope_parameters": {"rope_type": "default", "rope_theta": THETA},
        "attn_logit_softcapping": None,
    }
