"""Qwen3 as a text encoder: the makers' chat template around a prompt, and a hidden layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

from engine.files.safetensors import BadFile
from engine.loading.modules import IN_PLACE, Target, fill

PREFIX: Final = "model."
THETA: Final = 1_000_000.0


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
