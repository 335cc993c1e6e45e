"""Z-Image: a transformer that attends to text and picture together, Alibaba's Tongyi Lab (2025),
arXiv:2511.22699. It predicts velocities (`engine.denoise.flow`) and is told t = 1 − σ.

Its text encoder is Qwen3-4B, whose second last layer is read; its VAE is FLUX.1's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel
from torch import Tensor

from engine.denoise.flow import FlowSchedule
from engine.families.flow_model import FlowModel, Parts
from engine.files.safetensors import BadFile
from engine.loading.makers_names import Names, count, in_blocks, respelled, same, thirds
from engine.loading.model import Conditioning, Prompts
from engine.loading.modules import IN_PLACE, Target, build
from engine.models.model_files import ModelFiles
from engine.text_encode import language_model, qwen3

SHIFT: Final = 3.0
PATCH: Final = 2  # latents on each side of a token
LONGEST: Final = 1024  # tokens on a side of a picture: those of 16,384 pixels, the longest enlarged
# The makers' pipeline takes 512 tokens; the network knows 1,536 places.
READING: Final = language_model.Reading(
    layers=(-2,), template="<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
# The modules of a block by the makers' names, and diffusers'.
_IN_BLOCK: Final[Names] = {
    "attention.qkv": thirds("attention.to_q", "attention.to_k", "attention.to_v"),
    **same(
        {
            "attention.out": "attention.to_out.0",
            "attention.q_norm": "attention.norm_q",
            "attention.k_norm": "attention.norm_k",
        }
    ),
}
NAMES: Final[Names] = {
    **in_blocks("layers", "layers", _IN_BLOCK),
    **in_blocks("noise_refiner", "noise_refiner", _IN_BLOCK),
    **in_blocks("context_refiner", "context_refiner", _IN_BLOCK),
    **same(
        {
            "x_embedder": f"all_x_embedder.{PATCH}-1",
            "final_layer.linear": f"all_final_layer.{PATCH}-1.linear",
            "final_layer.adaLN_modulation.1": f"all_final_layer.{PATCH}-1.adaLN_modulation.1",
        }
    ),
}
UNUSED: Final = ("norm_final.weight",)  # left in some files


@dataclass(frozen=True, slots=True, kw_only=True)
class ZImage(FlowModel):
    """A loaded model of this family."""

    names: ClassVar[Names] = NAMES

    @classmethod
    def read(cls, parts: Parts) -> dict[str, Any]:
        """Return its network, VAE, text encoders and tokenizers, by the names of its fields."""
        return {
            "network": parts.network(network_of),
            "vae": parts.vae(),
            "text_encoders": parts.text_encoders(text_encoder=qwen3.encoder_of),
            "tokenizers": {"tokenizer": parts.tokenizer("tokenizer")},
        }

    def noise(self, width: int, height: int, steps: int) -> FlowSchedule:
        """Return its noise levels, the same for all sizes."""
        return FlowSchedule(shift=SHIFT)

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
        """Return the width of the embeddings that the network attends to."""
        return int(self.network.config.cap_feat_dim)

    def velocity(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, references: Sequence[Tensor]
    ) -> Tensor:
        """Return the velocities of rows x, [n, 16, h, w], in x's dtype; sigma: [n] fp32."""
        assert conditioning.mask is not None
        lengths = conditioning.mask.sum(1).tolist()
        texts = [
            row[:length].to(x.dtype)
            for row, length in zip(conditioning.embeds, lengths, strict=True)
        ]
        return predict(self.network, x, sigma, texts)


load = ZImage.load


class Network(ZImageTransformer2DModel):  # type: ignore[misc]
    """The network, with an attention mask in every call.

    diffusers leaves it out where all rows are equally long, which takes another kernel with other
    last bits.
    """

    def _prepare_sequence(self, *arguments: Any, **options: Any) -> Any:
        feats, freqs, mask, *rest = super()._prepare_sequence(*arguments, **options)
        return feats, freqs, _mask(feats, mask), *rest

    def _build_unified_sequence(self, *arguments: Any, **options: Any) -> Any:
        unified, freqs, mask, *rest = super()._build_unified_sequence(*arguments, **options)
        return unified, freqs, _mask(unified, mask), *rest


def _mask(rows: Tensor, mask: Tensor | None) -> Tensor:
    return (
        torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device) if mask is None else mask
    )


def predict(network: Any, x: Tensor, sigma: Tensor, texts: Sequence[Tensor]) -> Tensor:
    """Return the velocities of rows x, [n, 16, h, w], in x's dtype.

    sigma: of each row, [n] fp32; texts: each row's embeddings, [tokens, width], of any length.
    """
    answers = network(list(x.unsqueeze(2)), 1 - sigma, list(texts), return_dict=False)[0]
    return -torch.stack(list(answers)).squeeze(2)


def network_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> Network:
    """Return the network of a file's tensors, by the makers' names or diffusers'.

    Raises `BadFile` where tensors are missing or unknown.
    """
    names = respelled(tensors, NAMES, UNUSED)
    return build(Network, config_of(names), names, target)


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the network's configuration by the shapes of its tensors, in diffusers' names."""
    try:
        side = tensors["layers.0.attention.norm_q.weight"].shape[0]
        queries, dim = tensors["layers.0.attention.to_q.weight"].shape
        keys = tensors["layers.0.attention.to_k.weight"].shape[0]
        patch = tensors[f"all_x_embedder.{PATCH}-1.weight"].shape[1]
        width = tensors["cap_embedder.0.weight"].shape[0]
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of Z-Image") from None
    quarter = side // 4  # of the head for the position in the sequence, the rest for both sides
    return {
        "in_channels": patch // PATCH**2,
        "dim": dim,
        "n_layers": count(tensors, "layers"),
        "n_refiner_layers": count(tensors, "noise_refiner"),
        "n_heads": queries // side,
        "n_kv_heads": keys // side,
        "cap_feat_dim": width,
        "axes_dims": [quarter, (side - quarter) // 2, (side - quarter) // 2],
        "axes_lens": [1536, LONGEST, LONGEST],
    }
