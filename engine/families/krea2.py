"""Krea 2: a transformer that attends to text and picture in one sequence, Krea (2026).

It predicts velocities (`engine.denoise.flow`) and is told σ. Its text encoder is Qwen3-VL, 4B, of
which it reads twelve layers; its VAE is Qwen-Image's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from diffusers.models.transformers.transformer_krea2 import Krea2RMSNorm, Krea2Transformer2DModel
from torch import Tensor

from engine.decode import qwen_vae
from engine.device.stored_weights import real_values
from engine.families.flow_model import Parts
from engine.families.flux import tokens_of, unpack
from engine.families.qwen_image import QwenVaeModel
from engine.files.safetensors import BadFile
from engine.loading.makers_names import Names, count, in_blocks, respelled, same
from engine.loading.model import Conditioning, Prompts
from engine.loading.modules import IN_PLACE, Target, build
from engine.models.families import LAYERS
from engine.models.model_files import ModelFiles
from engine.text_encode import language_model, qwen3, qwen_vl

PATCH: Final = 2  # latents on each side of a token
SIXTEENTHS: Final = 6  # of a head for the row, and for the column
READING: Final = language_model.Reading(
    layers=LAYERS["krea2"]["qwen3"], template=qwen_vl.TEMPLATE, drops=True
)
# The modules of a block by the makers' names, and diffusers'.
IN_BLOCK: Final[Names] = same(
    {
        "prenorm": "norm1",
        "postnorm": "norm2",
        "attn.wq": "attn.to_q",
        "attn.wk": "attn.to_k",
        "attn.wv": "attn.to_v",
        "attn.gate": "attn.to_gate",
        "attn.wo": "attn.to_out.0",
        "attn.qknorm.qnorm": "attn.norm_q",
        "attn.qknorm.knorm": "attn.norm_k",
        "mlp.gate": "ff.gate",
        "mlp.up": "ff.up",
        "mlp.down": "ff.down",
    }
)
FUSION: Final = ("layerwise_blocks", "refiner_blocks")
NAMES: Final[Names] = {
    **in_blocks("blocks", "transformer_blocks", IN_BLOCK),
    **in_blocks(f"txtfusion.{FUSION[0]}", f"text_fusion.{FUSION[0]}", IN_BLOCK),
    **in_blocks(f"txtfusion.{FUSION[1]}", f"text_fusion.{FUSION[1]}", IN_BLOCK),
    **same(
        {
            "first": "img_in",
            "tmlp.0": "time_embed.linear_1",
            "tmlp.2": "time_embed.linear_2",
            "tproj.1": "time_mod_proj",
            "txtfusion.projector": "text_fusion.projector",
            "txtmlp.0": "txt_in.norm",
            "txtmlp.1": "txt_in.linear_1",
            "txtmlp.3": "txt_in.linear_2",
            "last.norm": "final_layer.norm",
            "last.linear": "final_layer.linear",
        }
    ),
}
# What modulates a block, which the makers keep in one row, and the last layer.
TABLE: Final = re.compile(r"^(?:blocks(\.\d+)\.mod|last\.modulation)\.lin$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Krea2(QwenVaeModel):
    """A loaded model of this family."""

    names: ClassVar[Names] = NAMES

    @classmethod
    def read(cls, parts: Parts) -> dict[str, Any]:
        """Return its network, VAE, text encoders and tokenizers, by the names of its fields."""
        return {
            "network": parts.network(network_of),
            "vae": parts.vae(qwen_vae.read_vae),
            "text_encoders": parts.text_encoders(text_encoder=text_encoder_of),
            "tokenizers": {"tokenizer": parts.tokenizer("tokenizer")},
        }

    def prompts(self, embeddings: ModelFiles) -> Prompts:
        """Return what encodes prompts; Qwen knows no embeddings."""
        encoder, tokenizer = self.encoders["text_encoder"], self.tokenizers["tokenizer"]
        return language_model.Prompts(encoder, tokenizer, self.device, READING)

    @property
    def special_tokens(self) -> frozenset[str]:
        """Return the special tokens around prompts."""
        return READING.tokens

    @property
    def text_width(self) -> int:
        """Return the width of the embeddings that the network attends to: of all layers."""
        return int(self.network.config.text_hidden_dim) * len(READING.layers)

    def velocity(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, references: Sequence[Tensor]
    ) -> Tensor:
        """Return the velocities of rows x, [n, 16, h, w], in x's dtype; sigma: [n] fp32."""
        assert conditioning.mask is not None
        texts, mask = conditioning.embeds.to(x.dtype), conditioning.mask.to(x.device)
        return predict(self.network, x, sigma, texts, mask)


load = Krea2.load


def text_encoder_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> Any:
    """Return its text encoder, without the layers that are not read; raises `BadFile`."""
    read = language_model.first_layers(tensors, READING.layers[-1])
    return qwen3.encoder_of(read, target, theta=qwen3.VL_THETA)


def predict(network: Any, x: Tensor, sigma: Tensor, texts: Tensor, mask: Tensor) -> Tensor:
    """Return the velocities of rows x, [n, 16, h, w], in x's dtype; h and w are even.

    sigma: of each row, [n] fp32; texts: the states of all layers, [n, tokens, layers·width]; mask:
    which of these tokens there are, [n, tokens] bool.
    """
    tokens, positions = tokens_of(x)
    layers = network.config.num_text_layers
    velocities = network(
        hidden_states=tokens,
        encoder_hidden_states=texts.reshape(*texts.shape[:2], layers, -1),
        timestep=sigma,
        position_ids=torch.cat([positions.new_zeros(texts.shape[1], 3), positions]),
        encoder_attention_mask=mask,
        return_dict=False,
    )[0]
    return unpack(velocities, x.shape[2] // PATCH, x.shape[3] // PATCH)


def network_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> Krea2Transformer2DModel:
    """Return the network of a file's tensors, by the makers' names or diffusers'; in their memory.

    Its norms stay in fp32. Raises `BadFile` where tensors are missing or unknown.
    """
    names = respell(tensors)
    network = build(Krea2Transformer2DModel, config_of(names), names, target)
    for name, module in network.named_modules():
        if isinstance(module, Krea2RMSNorm):
            exact = real_values(names[f"{name}.weight"].float()).to(target.device)
            module.weight = torch.nn.Parameter(exact, requires_grad=False)
    return network


def respell(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by diffusers' names; what modulates a block becomes a row for each use."""
    found = respelled(tensors, NAMES)
    width = len(found["img_in.bias"]) if "img_in.bias" in found else -1
    for name in [name for name in found if TABLE.match(name)]:
        block = TABLE.sub(r"\1", name)
        own = f"transformer_blocks{block}" if block else "final_layer"
        found[f"{own}.scale_shift_table"] = found.pop(name).reshape(-1, width)
    return found


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the network's configuration by the shapes of its tensors, in diffusers' names."""
    block, fusion = "transformer_blocks.0", f"text_fusion.{FUSION[0]}.0"
    try:
        channels = tensors["img_in.weight"].shape[1]
        side, fused = (len(tensors[f"{each}.attn.norm_q.weight"]) for each in (block, fusion))
        queries, keys = (len(tensors[f"{block}.attn.to_{each}.weight"]) for each in "qk")
        readers, read = (len(tensors[f"{fusion}.attn.to_{each}.weight"]) for each in "qk")
        inner, within = (len(tensors[f"{each}.ff.up.weight"]) for each in (block, fusion))
        times = tensors["time_embed.linear_1.weight"].shape[1]
        layers = tensors["text_fusion.projector.weight"].shape[1]
        width = len(tensors["txt_in.norm.weight"])
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of Krea 2") from None
    sides = side // 16 * SIXTEENTHS
    return {
        "in_channels": channels,
        "num_layers": count(tensors, "transformer_blocks"),
        "attention_head_dim": side,
        "num_attention_heads": queries // side,
        "num_key_value_heads": keys // side,
        "intermediate_size": inner,
        "timestep_embed_dim": times,
        "text_hidden_dim": width,
        "num_text_layers": layers,
        "text_num_attention_heads": readers // fused,
        "text_num_key_value_heads": read // fused,
        "text_intermediate_size": within,
        "num_layerwise_text_blocks": count(tensors, f"text_fusion.{FUSION[0]}"),
        "num_refiner_text_blocks": count(tensors, f"text_fusion.{FUSION[1]}"),
        "axes_dims_rope": (side - 2 * sides, sides, sides),
    }
