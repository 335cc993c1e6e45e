"""Names of text encoders' tensors in GGUF files, which llama.cpp spells, as transformers has them.

    by_transformers({"blk.0.attn_q.weight": tensor})
    # {"model.layers.0.self_attn.q_proj.weight": tensor}

Standard library only.
"""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

T = TypeVar("T")

# Language models (Qwen, Gemma, Mistral), and the modules of their layers.
WHOLE: Final = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
LAYER: Final = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# T5's encoder, and the modules of its blocks.
T5: Final = {"token_embd": "shared", "enc.output_norm": "encoder.final_layer_norm"}
T5_LAYER: Final = {
    "attn_norm": "layer.0.layer_norm",
    "attn_q": "layer.0.SelfAttention.q",
    "attn_k": "layer.0.SelfAttention.k",
    "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o",
    "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
    "ffn_norm": "layer.1.layer_norm",
    "ffn_gate": "layer.1.DenseReluDense.wi_0",
    "ffn_up": "layer.1.DenseReluDense.wi_1",
    "ffn_down": "layer.1.DenseReluDense.wo",
}
# Architectures whose queries and keys have their rows in another order than transformers'.
REORDERED: Final = ("llama", "mistral3")
_BLOCK: Final = re.compile(r"(?:enc\.)?blk\.(\d+)\.(\w+)")


def by_transformers(tensors: Mapping[str, T]) -> dict[str, T]:
    """Return tensors, or facts about them, by transformers' names; other names stay as they are."""
    t5 = any(name.startswith("enc.blk.") for name in tensors)
    if not t5 and not any(name.startswith("blk.") for name in tensors):
        return dict(tensors)
    whole, layer = (T5, T5_LAYER) if t5 else (WHOLE, LAYER)
    start = "encoder.block" if t5 else "model.layers"
    found = {}
    for name, tensor in tensors.items():
        module, dot, leaf = name.rpartition(".")
        block = _BLOCK.fullmatch(module)
        if block and block[2] in layer:
            name = f"{start}.{block[1]}.{layer[block[2]]}{dot}{leaf}"
        elif module in whole:
            name = f"{whole[module]}{dot}{leaf}"
        found[name] = tensor
    return found
