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

from engine.loading.modules import IN_PLACE, Target
from engine.text_encode.language_model import made, rotary, shapes_of
from engine.text_encode.prompts import Token, check_length, flat
from engine.text_encode.t5 import weigh

PAD: Final = 0
START: Final = 2
SIDE: Final = 256  # of a head, which no shape tells
THETA: Final = 10_000.0
PREFIX: Final = "model."
# What would choose the next word, and ComfyUI's copy of the tokenizer.
UNUSED: Final = re.compile(r"lm_head\.|spiece_model$")
MOST: Final = 1024  # tokens of a prompt; the makers' pipeline takes 256


class Gemma2Encoder:
    """Gemma 2 with its tokenizer."""

    def __init__(self, tokenizer: Any, encoder: Any, *, device: torch.device) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._device = device

    def encode(self, prompt: str) -> Tensor:
        """Return a prompt's embeddings, [1, tokens, width] fp32; raises `PromptError`.

        Weights scale the difference to the empty prompt of the same length, as in ComfyUI.
        """
        tokens = self.tokens(prompt)
        check_length(len(tokens), MOST)
        rows = self._states([token for token, _ in tokens])
        weights = torch.tensor([weight for _, weight in tokens], device=rows.device)
        if bool((weights == 1).all()):
            return rows
        return weigh(rows, self._states([START, *[PAD] * (len(tokens) - 1)]), weights)

    def tokens(self, prompt: str) -> list[Token]:
        """Return the start and a prompt's weighted tokens, each span of a weight by itself."""
        return [Token(START, 1.0), *flat(prompt, self._ids)]

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
    config = Gemma2Config(
        **shapes_of(names, "Gemma 2", SIDE),
        **rotary(THETA),
        query_pre_attn_scalar=SIDE,
        attn_logit_softcapping=None,
    )
    encoder: Gemma2Model = made(Gemma2Model, config, names, target)
    # Not a weight, either, and without a value on `meta`.
    table = encoder.embed_tokens
    table.embed_scale = torch.tensor(table.scalar_embed_scale, device=target.device)
    return encoder
