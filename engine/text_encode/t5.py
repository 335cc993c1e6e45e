"""T5 as a text encoder: Raffel et al. (2020), arXiv:1910.10683. FLUX.1, SD3 and Chroma read it.

In fp16 its values overflow; bf16 and fp32 hold them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from transformers.models.t5.configuration_t5 import T5Config
from transformers.models.t5.modeling_t5 import T5EncoderModel

from engine.files.safetensors import BadFile
from engine.loading.modules import IN_PLACE, Target, fill
from engine.text_encode.prompts import EMBEDDING, Token, check_length, flat

END: Final = 1
PAD: Final = 0
MOST: Final = 1024  # tokens of a prompt: it counts distances, so that nothing else limits them
# As in ComfyUI, with the blank before; the letters after it are a piece of their own.
LEFT_OUT: Final = re.compile(rf"\s?{EMBEDDING.pattern.replace('(', '(?:')}")
TABLE: Final = "encoder.embed_tokens.weight"  # of embeddings, which some files have a second time


class T5Encoder:
    """T5's encoder with its tokenizer.

    least: tokens, to which shorter prompts are padded; ends: whether the empty prompt, from which
    weights scale the difference, has a token for its end; masked: words do not attend to padding,
    of which there is a token after each prompt, as Chroma's makers have it.
    """

    def __init__(
        self,
        tokenizer: Any,
        encoder: Any,
        *,
        device: torch.device,
        least: int = 1,
        ends: bool = True,
        masked: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._device = device
        self._least = least
        self._ends = ends
        self._masked = masked

    def encode(self, prompt: str) -> Tensor:
        """Return a prompt's embeddings, [1, tokens, width] fp32; raises `PromptError`.

        Weights scale the difference to the empty prompt of the same length, as in ComfyUI.
        """
        tokens = self.tokens(prompt)
        check_length(len(tokens), MOST)
        ids = torch.tensor([[token for token, _ in tokens]], device=self._device)
        rows = hidden_state(self._encoder, ids, ids != PAD if self._masked else None)
        weights = torch.tensor([weight for _, weight in tokens], device=rows.device)
        if bool((weights == 1).all()):
            return rows
        empty = [END if self._ends else PAD, *[PAD] * (len(tokens) - 1)]
        return weigh(
            rows,
            hidden_state(self._encoder, torch.tensor([empty], device=self._device)),
            weights,
        )

    def tokens(self, prompt: str) -> list[Token]:
        """Return a prompt's weighted tokens, each span of equal weight by itself, then the end."""
        found = [*flat(prompt, self._ids), Token(END, 1.0)]
        padding = max(self._least - len(found), int(self._masked))
        return [*found, *[Token(PAD, 1.0)] * padding]

    def _ids(self, text: str) -> Iterator[Sequence[int]]:
        """Yield the ids of a text's pieces, between embeddings, which are CLIP's.

        Names of special tokens in it stay text, by a blank inside.
        """
        for name in self._tokenizer.all_special_tokens:
            text = text.replace(name, f"{name[0]} {name[1:]}")
        for piece in LEFT_OUT.split(text):
            yield self._tokenizer(piece, add_special_tokens=False).input_ids


def weigh(rows: Tensor, empty: Tensor, weights: Tensor) -> Tensor:
    """Return rows [1, tokens, width], weighted ones at empty + (row − empty)·weight.

    weights: [tokens]; a row of weight 1 stays as it is, to the bit.
    """
    scale = weights[:, None]
    return torch.where(scale == 1, rows, empty + (rows - empty) * scale)


def hidden_state(encoder: Any, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the last layer's output after its norm for ids [n, tokens], [n, tokens, width] fp32.

    mask: the tokens that all attend to, [n, tokens] bool; None: every token, padding included.
    """
    found: Tensor = encoder(ids, attention_mask=mask).last_hidden_state.float()
    return found


def encoder_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> T5EncoderModel:
    """Return the encoder of a file's tensors, in their memory; raises `BadFile`."""
    names = {name: each for name, each in tensors.items() if name != TABLE}
    if TABLE in tensors:
        names.setdefault("shared.weight", tensors[TABLE])
    config = T5Config(**config_of(names))
    names[TABLE] = names["shared.weight"]
    with torch.device("meta"):
        encoder = T5EncoderModel(config)
    return fill(encoder, names, target)


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the encoder's configuration by the shapes of its tensors, in transformers' names."""
    block = "encoder.block.0.layer"
    try:
        vocabulary, width = tensors["shared.weight"].shape
        attention = tensors[f"{block}.0.SelfAttention.q.weight"].shape[0]
        inner = tensors[f"{block}.1.DenseReluDense.wi_0.weight"].shape[0]
        bias = f"{block}.0.SelfAttention.relative_attention_bias.weight"
        buckets, heads = tensors[bias].shape
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of T5") from None
    blocks = {name.split(".")[2] for name in tensors if name.startswith("encoder.block.")}
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": attention // heads,
        "d_ff": inner,
        "num_layers": len(blocks),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu",
        "pad_token_id": PAD,
        "eos_token_id": END,
    }
