"""Qwen3 as a text encoder: the makers' chat template around a prompt, and a hidden layer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

from engine.errors import PromptError
from engine.files.safetensors import BadFile
from engine.loading.model import Conditioning
from engine.loading.modules import IN_PLACE, Target, fill
from engine.pictures.start_image import Pixels
from engine.recipe.prompt_tags import mend_surrogates
from engine.sentences import Sentence
from engine.text_encode.conditioning import padded

PREFIX: Final = "model."
THETA: Final = 1_000_000.0
SPECIAL: Final = re.compile(r"(<\|[a-z_]+\|>|</?think>)")


def encoder_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> Any:
    """Return the encoder of a file's tensors, in their memory; raises `BadFile`.

    Without a last norm, as `engine.text_encode.stacked` leaves it out, states are not normed.
    """
    names = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    names.pop("lm_head.weight", None)  # what would choose the next word
    config = Qwen3Config(**config_of(names))
    with torch.device("meta"):
        encoder = Qwen3Model(config)
    if "norm.weight" not in names:
        encoder.norm = torch.nn.Identity()
    encoder = fill(encoder, names, target)
    # Not a weight: a table that follows from the configuration, and was not computed on `meta`.
    encoder.rotary_emb = type(encoder.rotary_emb)(config).to(device=target.device)
    return encoder


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the encoder's configuration by the shapes of its tensors, in transformers' names."""
    try:
        vocabulary, width = tensors["embed_tokens.weight"].shape
        side = tensors["layers.0.self_attn.q_norm.weight"].shape[0]
        queries = tensors["layers.0.self_attn.q_proj.weight"].shape[0]
        keys = tensors["layers.0.self_attn.k_proj.weight"].shape[0]
        inner = tensors["layers.0.mlp.gate_proj.weight"].shape[0]
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of Qwen3") from None
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len({n.split(".")[1] for n in tensors if n.startswith("layers.")}),
        "num_attention_heads": queries // side,
        "num_key_value_heads": keys // side,
        "head_dim": side,
        "max_position_embeddings": 40_960,
        "rope_parameters": {"rope_type": "default", "rope_theta": THETA},
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    }


def hidden_state(encoder: Any, ids: Tensor, layer: int) -> Tensor:
    """Return a layer's output for token ids [1, tokens], [tokens, width] fp32.

    layer: as in transformers' `hidden_states`: 0 are the embeddings, −1 the last, normed one.
    """
    output = encoder(ids, output_hidden_states=True, use_cache=False)
    found: Tensor = output.hidden_states[layer][0].float()
    return found


class Prompts:
    """Encode prompts by a hidden layer; layer: as in `hidden_state`.

    multiple: embeddings are padded with zeros to as many tokens, and masked; most: tokens that the
    network takes.
    """

    size = 0  # it loads nothing

    def __init__(
        self,
        encoder: Any,
        tokenizer: Any,
        device: torch.device,
        *,
        template: str,
        layer: int,
        multiple: int,
        most: int,
    ) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._device = device
        self._template = template
        self._layer = layer
        self._multiple = multiple
        self._most = most

    def encode(
        self, prompt: str, clip_skip: int | None, pictures: Sequence[Pixels] = ()
    ) -> Conditioning:
        """Return a prompt's conditioning, one row, its mask on the CPU; raises `PromptError`."""
        ids = template_ids(self._tokenizer, self._template, prompt)
        if len(ids) > self._most:
            raise PromptError(Sentence("many_tokens", tokens=len(ids), most=self._most))
        found = hidden_state(self._encoder, torch.tensor([ids], device=self._device), self._layer)
        return padded(found[None], self._multiple)


def template_ids(
    tokenizer: Any, template: str, prompt: str, special: re.Pattern[str] = SPECIAL
) -> list[int]:
    """Return the token ids of a chat template around a prompt.

    The template's special tokens are such; what a person types like one stays text. There are no
    weights, but escaped parentheses are parentheses, as for encoders that have them.
    """
    prompt = mend_surrogates(prompt).replace(r"\(", "(").replace(r"\)", ")")
    ids: list[int] = []
    for piece in special.split(template):
        if special.fullmatch(piece):
            ids.append(tokenizer.convert_tokens_to_ids(piece))
        elif piece:
            text = piece.replace("{}", prompt)
            ids += tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    return ids
