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
from engine.families.flow_model import FlowModel, Parts, flow_dtype, joint_attention
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
from engine.loading.modules import IN_PLACE, Target, fill
from engine.models.catalogue import Checkpoint
from engine.models.model_files import ModelFiles
from engine.pictures.start_image import Pixels
from engine.recipe.context_length import ContextRule, Joining
from engine.text_encode import t5
from engine.text_encode.conditioning import padded

# Its module takes another class of that name, and warns at each use that this one is to replace it.
transformer_chroma.FluxPosEmbed = FluxPosEmbed

USUAL: Final = 64  # tokens of a prompt
MULTIPLE: Final = 32  # tokens, of which texts are brought to a multiple
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

    def noise(self, width: int, height: int, steps: int) -> FlowSchedule:
        """Return its noise levels, the same for all sizes: ComfyUI's."""
        return FlowSchedule(shift=math.exp(MUS[1][1]), entries=ENTRIES)

    def prompts(self, embeddings: ModelFiles) -> Prompts:
        """Return what encodes prompts; T5 knows no embeddings."""
        encoder, tokenizer = self.encoders["text_encoder"], self.tokenizers["tokenizer"]
        return _Prompts(
            t5.T5Encoder(tokenizer, encoder, device=self.device, ends=False, masked=True)
        )

    def blank(self, rows: int) -> Conditioning:
        """Return zeros in the form of its conditioning, of a usual length."""
        width = self.network.config.joint_attention_dim
        mask = torch.ones((rows, USUAL), dtype=torch.bool)
        return Conditioning(torch.zeros((rows, USUAL, width), device=self.device), mask)

    def context_rule(self, width: int, height: int) -> ContextRule:
        """Return the rule of texts that are padded and masked."""
        return joint_attention(Joining.PAD, width, height, USUAL)

    def velocity(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, references: Sequence[Tensor]
    ) -> Tensor:
        """Return the velocities of rows x, [n, 16, h, w], in x's dtype; sigma: [n] fp32."""
        assert conditioning.mask is not None
        texts, mask = conditioning.embeds.to(x.dtype), conditioning.mask.to(x.device)
        return predict(self.network, x, sigma, texts, mask)


class _Prompts:
    """Encode prompts by T5, as its makers do: of padding one token is read."""

    size = 0  # it loads nothing

    def __init__(self, encoder: t5.T5Encoder) -> None:
        self._encoder = encoder

    def encode(
        self, prompt: str, clip_skip: int | None, pictures: Sequence[Pixels] = ()
    ) -> Conditioning:
        """Return a prompt's conditioning, one row; raises `PromptError`."""
        return padded(self._encoder.encode(prompt), MULTIPLE)


def load(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype | None = None,
    weights_device: torch.device | None = None,
    room: int | None = None,
) -> Chroma:
    """Load all modules of a checkpoint, or raise `BrokenModel` with the part and the reason."""
    dtype = flow_dtype(device, dtype)
    parts = Parts(checkpoint, device, dtype, weights_device, room)
    return Chroma(
        checkpoint=checkpoint,
        device=device,
        dtype=dtype,
        network=parts.network(network_of),
        vae=parts.vae(),
        text_encoders={"text_encoder": parts.text_encoder("text_encoder", t5.encoder_of)},
        tokenizers={"tokenizer": parts.tokenizer("tokenizer")},
    )


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
    names = respell(tensors)
    with torch.device("meta"):
        network = ChromaTransformer2DModel(**config_of(names))
    network = fill(network, names, target)
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


def respell(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by diffusers' names; fused projections are split into views."""
    return respelled(tensors, NAMES)


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
