"""Chroma: FLUX.1 schnell trained on without CLIP, its modulation by one small network; Lodestone
Rock (2025), https://huggingface.co/lodestones/Chroma1-HD.

It predicts velocities (`engine.denoise.flow`) and is told σ and T5's embeddings of the words; it is
guided by a second row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.models.transformers import transformer_chroma
from diffusers.models.transformers.transformer_chroma import ChromaTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor, FluxPosEmbed
from torch import Tensor

from engine.denoise.flow import FlowSchedule
from engine.families.flow_model import FlowModel, Parts
from engine.families.flux import (
    BLOCKS,
    ENTRIES,
    IN_LORAS,
    MUS,
    PATCH,
    blocks_of,
    tokens_of,
    told_exactly,
    unpack,
)
from engine.files.safetensors import BadFile
from engine.loading.makers_names import Names, count, respelled, same
from engine.loading.model import Conditioning, Prompts
from engine.loading.modules import IN_PLACE, Target, build
from engine.models.model_files import ModelFiles
from engine.text_encode import t5
from engine.text_encode.conditioning import PaddedPrompts

# Its module takes another class of that name, and warns at each use that this one is to replace it.
transformer_chroma.FluxPosEmbed = FluxPosEmbed

ROWS: Final = 344  # of modulation, whatever the number of blocks
EPSILON: Final = 1e-6  # of the small network's norms
LAYER: Final = "distilled_guidance_layer.layers.#"
NAMES: Final[Names] = {
    **BLOCKS,
    **same(
        {
            f"{LAYER}.in_layer": f"{LAYER}.linear_1",
            f"{LAYER}.out_layer": f"{LAYER}.linear_2",
            "distilled_guidance_layer.norms.#": "distilled_guidance_layer.norms.#",
        }
    ),
}
LORA_NAMES: Final[Names] = {**NAMES, **IN_LORAS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chroma(FlowModel):
    """A loaded model of this family."""

    names: ClassVar[Names] = LORA_NAMES

    @classmethod
    def read(cls, parts: Parts) -> dict[str, Any]:
        """Return its network, VAE, text encoders and tokenizers, by the names of its fields."""
        return {
            "network": parts.network(network_of),
            "vae": parts.vae(),
            "text_encoders": parts.text_encoders(text_encoder=t5.encoder_of),
            "tokenizers": {"tokenizer": parts.tokenizer("tokenizer")},
        }

    def noise(self, width: int, height: int, steps: int) -> FlowSchedule:
        """Return its noise levels, the same for all sizes: ComfyUI's."""
        return FlowSchedule(shift=math.exp(MUS[1][1]), entries=ENTRIES)

    def prompts(self, embeddings: ModelFiles) -> Prompts:
        """Return what encodes prompts: T5 with a token of padding, and without embeddings."""
        encoder, tokenizer = self.encoders["text_encoder"], self.tokenizers["tokenizer"]
        words = t5.T5Encoder(tokenizer, encoder, device=self.device, ends=False, masked=True)
        return PaddedPrompts(words.encode)

    def velocity(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, references: Sequence[Tensor]
    ) -> Tensor:
        """Return the velocities of rows x, [n, 16, h, w], in x's dtype; sigma: [n] fp32."""
        assert conditioning.mask is not None
        texts, mask = conditioning.embeds.to(x.dtype), conditioning.mask.to(x.device)
        return predict(self.network, x, sigma, texts, mask)


load = Chroma.load


class _Processor(FluxAttnProcessor):  # type: ignore[misc]
    """Attention that masks keys alone.

    diffusers masks queries as well, and then has rows of which nothing is left to attend to.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        keys = None if attention_mask is None else attention_mask.any(dim=2, keepdim=True)
        return super().__call__(attn, hidden_states, encoder_hidden_states, keys, image_rotary_emb)


def predict(network: Any, x: Tensor, sigma: Tensor, texts: Tensor, mask: Tensor) -> Tensor:
    """Return the velocities of rows x, [n, 16, h, w] with even sides, in x's dtype.

    sigma: of each row, [n] fp32; texts: T5's embeddings, [n, tokens, width]; mask: which of these
    tokens there are, [n, tokens] bool.
    """
    height, width = x.shape[2] // PATCH, x.shape[3] // PATCH
    tokens, positions = tokens_of(x)
    with told_exactly(network.time_text_embed, sigma):
        velocities = network(
            hidden_states=tokens,
            encoder_hidden_states=texts,
            timestep=sigma,
            img_ids=positions,
            txt_ids=positions.new_zeros(texts.shape[1], 3),
            attention_mask=torch.cat([mask, mask.new_ones(tokens.shape[:2])], 1),
            return_dict=False,
        )[0]
    return unpack(velocities, height, width)


def network_of(
    tensors: Mapping[str, Tensor], target: Target = IN_PLACE
) -> ChromaTransformer2DModel:
    """Return the network of a file's tensors, by the makers' names or diffusers'; in their memory.

    Raises `BadFile` where tensors are missing or unknown.
    """
    names = respelled(tensors, NAMES)
    network = build(ChromaTransformer2DModel, config_of(names), names, target)
    network.set_attn_processor(_Processor())
    # Not weights: the table of the rows' numbers, and what the makers' norms add to variances.
    embedder = network.time_text_embed
    width = embedder.mod_proj.shape[1]
    numbers = torch.arange(ROWS) * 1000
    embedder.mod_proj = get_timestep_embedding(
        numbers, width, flip_sin_to_cos=True, downscale_freq_shift=0
    ).to(device=target.device)
    for norm in network.distilled_guidance_layer.norms:
        norm.eps = EPSILON
    return network


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the network's configuration by the shapes of its tensors, in diffusers' names."""
    try:
        inner, channels = tensors["distilled_guidance_layer.in_proj.weight"].shape
        config = blocks_of(tensors)
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of Chroma") from None
    return {
        **config,
        "approximator_num_channels": channels,
        "approximator_hidden_dim": inner,
        "approximator_layers": count(tensors, "distilled_guidance_layer.layers"),
    }
