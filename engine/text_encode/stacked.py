"""Several layers of a language model's states beside each other, as FLUX.2 reads words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from engine.errors import PromptError
from engine.loading.model import Conditioning
from engine.pictures.start_image import Pixels
from engine.sentences import Sentence
from engine.text_encode.qwen3 import template_ids

LAYER: Final = re.compile(r"(?:^|\.)layers\.(\d+)\.")
LAST: Final = re.compile(r"(?:^|\.)(?:norm|lm_head)\.weight$")  # behind the layers

LEAST: Final = 512  # tokens, to which shorter prompts are padded
MOST: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Say how a language model reads prompts.

    layers: as for `stacked_states`; template: its makers' chat template, `special` its special
    tokens; pad: the token that fills up prompts, on the left or the right.
    """

    layers: tuple[int, ...]
    template: str
    special: re.Pattern[str]
    pad: str
    left: bool


class Prompts:
    """Encode prompts by several layers' states, with padding and without a mask."""

    size = 0  # it loads nothing

    def __init__(
        self, encoder: Any, tokenizer: Any, device: torch.device, reading: Reading
    ) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._device = device
        self._reading = reading

    def encode(
        self, prompt: str, clip_skip: int | None, pictures: Sequence[Pixels] = ()
    ) -> Conditioning:
        """Return a prompt's conditioning, one row; raises `PromptError`."""
        how, tokenizer = self._reading, self._tokenizer
        ids = template_ids(tokenizer, how.template, prompt, how.special)
        if len(ids) > MOST:
            raise PromptError(Sentence("many_tokens", tokens=len(ids), most=MOST))
        return Conditioning(
            stacked_states(
                self._encoder,
                ids,
                how.layers,
                length=max(LEAST, len(ids)),
                pad=tokenizer.convert_tokens_to_ids(how.pad),
                left=how.left,
                device=self._device,
            )
        )


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
