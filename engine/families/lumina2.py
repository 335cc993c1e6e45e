"""Lumina-Image 2.0: a transformer that attends to text and picture together, Shanghai AI Lab
(2025), arXiv:2503.21758. It predicts velocities (`engine.denoise.flow`) and is told t = 1 − σ.

Its text encoder is Gemma 2, 2B, whose second last layer is read; its VAE is FLUX.1's. Where prompts
of unequal length share a call, padding is masked in all layers, as diffusers does; ComfyUI masks it
in the text's own layers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from diffusers.models.transformers.transformer_lumina2 import (
    Lumina2AttnProcessor2_0,
    Lumina2RotaryPosEmbed,
    Lumina2Transformer2DModel,
)
from torch import Tensor
from torch.nn.functional import pad

from engine.denoise.flow import FlowSchedule
from engine.families.flow_model import FlowModel, Parts
from engine.files.safetensors import BadFile
from engine.loading.makers_names import Names, Rows, count, in_blocks, respelled, same
from engine.loading.model import Conditioning, Prompts
from engine.loading.modules import IN_PLACE, Target, build
from engine.models.model_files import ModelFiles
from engine.text_encode import gemma2
from engine.text_encode.conditioning import PaddedPrompts

SHIFT: Final = 6.0
PATCH: Final = 2  # latents on each side of a token
THETA: Final = 10_000
# Positions of text, rows and columns that there are: 1,024 tokens are 16,384 pixels, the longest
# side of an enlarged picture.
LENGTHS: Final = (4096, 1024, 1024)

# The modules of a block by the makers' names, and diffusers'; queries have three times as many
# heads as keys and values.
IN_BLOCK: Final[Names] = {
    "attention.qkv": {
        "attn.to_q": Rows(5, (0, 1, 2)),
        "attn.to_k": Rows(5, (3,)),
        "attn.to_v": Rows(5, (4,)),
    },
    **same(
        {
            "attention.out": "attn.to_out.0",
            "attention.q_norm": "attn.norm_q",
            "attention.k_norm": "attn.norm_k",
            "feed_forward.w1": "feed_forward.linear_1",
            "feed_forward.w2": "feed_forward.linear_2",
            "feed_forward.w3": "feed_forward.linear_3",
            "attention_norm1": "norm1.norm",
            "attention_norm2": "norm2",
            "adaLN_modulation.1": "norm1.linear",
        }
    ),
}
NAMES: Final[Names] = {
    **in_blocks("noise_refiner", "noise_refiner", IN_BLOCK),
    **in_blocks("context_refiner", "context_refiner", IN_BLOCK),
    **in_blocks("layers", "layers", IN_BLOCK),
    **same(
        {
            "context_refiner.#.attention_norm1": "context_refiner.#.norm1",  # not modulated
            "t_embedder.mlp.0": "time_caption_embed.timestep_embedder.linear_1",
            "t_embedder.mlp.2": "time_caption_embed.timestep_embedder.linear_2",
            "cap_embedder.0": "time_caption_embed.caption_embedder.0",
            "cap_embedder.1": "time_caption_embed.caption_embedder.1",
            "final_layer.adaLN_modulation.1": "norm_out.linear_1",
            "final_layer.linear": "norm_out.linear_2",
        }
    ),
}
UNUSED: Final = ("norm_final.weight",)  # left in some files


@dataclass(frozen=True, slots=True, kw_only=True)
class Lumina2(FlowModel):
    """A loaded model of this family."""

    names: ClassVar[Names] = NAMES

    @classmethod
    def read(cls, parts: Parts) -> dict[str, Any]:
        """Return its network, VAE, text encoders and tokenizers, by the names of its fields."""
        return {
            "network": parts.network(network_of),
            "vae": parts.vae(),
            "text_encoders": parts.text_encoders(text_encoder=gemma2.encoder_of),
            "tokenizers": {"tokenizer": parts.tokenizer("tokenizer")},
        }

    def noise(self, width: int, height: int, steps: int) -> FlowSchedule:
        """Return its noise levels, the same for all sizes."""
        return FlowSchedule(shift=SHIFT)

    def prompts(self, embeddings: ModelFiles) -> Prompts:
        """Return what encodes prompts; Gemma knows no embeddings."""
        encoder, tokenizer = self.encoders["text_encoder"], self.tokenizers["tokenizer"]
        words = gemma2.Gemma2Encoder(tokenizer, encoder, device=self.device)
        return PaddedPrompts(words.encode)

    @property
    def text_width(self) -> int:
        """Return the width of the embeddings that the network attends to."""
        return int(self.network.config.cap_feat_dim)

    def velocity(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, references: Sequence[Tensor]
    ) -> Tensor:
        """Return the velocities of rows x, [n, 16, h, w], in x's dtype; sigma: [n] fp32."""
        assert conditioning.mask is not None
        texts, mask = conditioning.embeds.to(x.dtype), conditioning.mask.to(x.device)
        return predict(self.network, x, sigma, texts, mask)


load = Lumina2.load


class Network(Lumina2Transformer2DModel):  # type: ignore[misc]
    """The network, whose calls depend on the length of the padded texts alone.

    diffusers pads rows to the longest text that there is, and masks where lengths differ. A call of
    another length, or without a mask, takes other kernels with other last bits.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        for layer in self.layers:
            layer.attn.set_processor(_MaskedAttention())


class _MaskedAttention(Lumina2AttnProcessor2_0):  # type: ignore[misc]
    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> Tensor:
        if attention_mask is None:
            attention_mask = hidden_states.new_ones(hidden_states.shape[:2])
        found: Tensor = super().__call__(
            attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb
        )
        return found


class _Positions(Lumina2RotaryPosEmbed):  # type: ignore[misc]
    """The positions of tokens; rows are as long as the padded texts and the picture together."""

    def _precompute_freqs_cis(self, *config: Any) -> list[Tensor]:
        # What it rotates is fp32; with complex numbers of fp64 it would become fp64, too.
        tables = super()._precompute_freqs_cis(*config)
        return [table.to(torch.complex64) for table in tables]

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Any:
        *found, rotation, texts, lengths = super().forward(hidden_states, attention_mask)
        length = attention_mask.shape[1] + lengths[0] - texts[0]
        rotation = pad(rotation, (0, 0, 0, length - rotation.shape[1]))
        # The network takes the greatest of these lengths, and those of its rows.
        return *found, rotation, texts, [*lengths, length]


def predict(
    network: Any, x: Tensor, sigma: Tensor, embeds: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Return the velocities of rows x, [n, 16, h, w], in x's dtype; h and w are even.

    sigma: of each row, [n] fp32; embeds: [n, tokens, width], where rows are padded at their ends;
    mask: which tokens there are, [n, tokens] bool (None: all).
    """
    if mask is None:
        mask = torch.ones(embeds.shape[:2], dtype=torch.bool, device=x.device)
    answer: Tensor = network(x, 1 - sigma, embeds, mask, return_dict=False)[0]
    return -answer


def network_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> Network:
    """Return the network of a file's tensors, by the makers' names or diffusers'; in their memory.

    Raises `BadFile` where tensors are missing or unknown.
    """
    names = respelled(tensors, NAMES, UNUSED)
    network = build(Network, config_of(names), names, target)
    # Tables that follow from the configuration: no weights, and on `meta` without values.
    network.rope_embedder = _Positions(THETA, network.config.axes_dim_rope, LENGTHS, PATCH)
    return network


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the network's configuration by the shapes of its tensors, in diffusers' names."""
    try:
        side = len(tensors["layers.0.attn.norm_q.weight"])
        queries, dim = tensors["layers.0.attn.to_q.weight"].shape
        keys = len(tensors["layers.0.attn.to_k.weight"])
        inner = len(tensors["layers.0.feed_forward.linear_1.weight"])
        patch = tensors["x_embedder.weight"].shape[1]
        width = len(tensors["time_caption_embed.caption_embedder.0.weight"])
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of Lumina 2") from None
    third = side // 6 * 2  # of the head for the position in the sequence, the rest for both sides
    return {
        "patch_size": PATCH,
        "in_channels": patch // PATCH**2,
        "hidden_size": dim,
        "num_layers": count(tensors, "layers"),
        "num_refiner_layers": count(tensors, "noise_refiner"),
        "num_attention_heads": queries // side,
        "num_kv_heads": keys // side,
        "multiple_of": inner,  # to which its feed-forward layers round 4·dim·ffn_dim_multiplier
        "ffn_dim_multiplier": inner / (4 * dim),
        "axes_dim_rope": (third, (side - third) // 2, (side - third) // 2),
        "axes_lens": LENGTHS,
        "cap_feat_dim": width,
    }
