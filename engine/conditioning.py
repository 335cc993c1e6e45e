"""The first stage: read the brief. Words become embeddings that the U-Net attends to."""

from collections import OrderedDict
from math import lcm
from typing import Final

import torch
from torch import Tensor

from engine.loading import Model
from engine.prompts import Token, tokenize

CACHED_PROMPTS: Final = 256  # about 60 KB each for SD1.x


class TextEncoder:
    """Encode prompts with a model's CLIP, remembering the latest (the empty one above all)."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._cache: OrderedDict[str, Tensor] = OrderedDict()

    def encode(self, prompt: str) -> Tensor:
        """Return the prompt's embeddings, fp32 [1, 77·chunks, width].

        Weighted tokens move away from the empty prompt: (z − z_empty)·w + z_empty, without
        renormalisation, chunks side by side along the token axis (ComfyUI's rule).
        """
        if prompt in self._cache:
            self._cache.move_to_end(prompt)
            return self._cache[prompt]
        embeds = self._encode(prompt)
        self._cache[prompt] = embeds
        if len(self._cache) > CACHED_PROMPTS:
            self._cache.popitem(last=False)
        return embeds

    def _encode(self, prompt: str) -> Tensor:
        chunks = self._chunks(prompt)
        ids = torch.tensor([[token for token, _ in row] for row in chunks])
        weights = torch.tensor([[weight for _, weight in row] for row in chunks])
        embeds = self._forward(ids)
        if bool((weights != 1).any()):
            empty = self._forward(torch.tensor([[token for token, _ in self._chunks("")[0]]]))
            embeds = (embeds - empty) * weights[:, :, None].to(embeds.device) + empty
        return embeds.reshape(1, -1, embeds.shape[-1])

    def _chunks(self, prompt: str) -> list[list[Token]]:
        tokenizer = self._model.tokenizer
        return tokenize(
            prompt,
            lambda text: tokenizer(text, add_special_tokens=False).input_ids,
            bos=tokenizer.bos_token_id,
            eos=tokenizer.eos_token_id,
            pad=tokenizer.pad_token_id,
            max_length=self._model.text_encoder.config.max_position_embeddings,
        )

    def _forward(self, ids: Tensor) -> Tensor:
        """Return the last hidden state after the final norm, [chunks, 77, width] in fp32."""
        # One chunk at a time: the number of rows in a call moves the last bits of each row, and a
        # prompt's embeddings must not depend on what stands beside it.
        encoder = self._model.text_encoder
        rows = [encoder(row[None].to(self._model.device)).last_hidden_state for row in ids]
        return torch.cat(rows).float()


def pad_alike(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat two [1, tokens, width] contexts to their least common number of tokens.

    Attention over a repeated context is attention over the context; padding with zeros would not
    be (it moves the result by 4e-2, repetition by 3e-6).
    """
    tokens = lcm(first.shape[1], second.shape[1])
    return (
        first.repeat(1, tokens // first.shape[1], 1),
        second.repeat(1, tokens // second.shape[1], 1),
    )
