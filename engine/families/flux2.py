"""FLUX.2: a transformer that attends to text and picture together, Black Forest Labs (2025).

It predicts velocities (`engine.denoise.flow`) and is told σ, three layers of a language model's
states and, dev alone, the guidance scale. Pictures to edit are further tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
from torch import Tensor

from engine.decode import flux2_vae
from engine.denoise.flow import FlowSchedule, flux2_mu
from engine.families.flow_model import FlowModel, Parts, joint_attention, whole_tokens
from engine.families.flux import DOUBLE, GRIDS, PIXELS, SINGLE, told_exactly
from engine.files.safetensors import BadFile
from engine.loading.makers_names import SWAPPED, Names, count, respelled, same, thirds
from engine.loading.model import Conditioning, Prompts
from engine.loading.modules import IN_PLACE, Target, build
from engine.models.families import LAYERS, language_form
from engine.models.model_files import ModelFiles
from engine.pictures.references import FLUX2, ReferenceSizes
from engine.recipe.context_length import ContextRule, Joining
from engine.text_encode import language_model, mistral3, qwen3

ENTRIES: Final = 10_000  # of the table of σ, about
# How its text encoders read prompts, by what transformers calls their form.
READINGS: Final = {
    "qwen3": language_model.Reading(
        layers=LAYERS["flux2"]["qwen3"],
        template="<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        pad="<|endoftext|>",
    ),
    "mistral": language_model.Reading(
        layers=LAYERS["flux2"]["mistral"],
        template="<s>[SYSTEM_PROMPT]You are an AI that reasons about image descriptions. You give "
        "structured responses focusing on object relationships, object\nattribution and actions "
        "without speculation.[/SYSTEM_PROMPT][INST]{}[/INST]",
        special=re.compile(r"(<s>|\[/?(?:SYSTEM_PROMPT|INST)\])"),
        pad="<pad>",
        left=True,
    ),
}
APART: Final = 10  # of two pictures, in positions
THETA: Final = 2000
NAMES: Final[Names] = {
    **same(
        {
            "img_in": "x_embedder",
            "txt_in": "context_embedder",
            "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
            "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2",
            "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
            "guidance_in.out_layer": "time_guidance_embed.guidance_embedder.linear_2",
            "double_stream_modulation_img.lin": "double_stream_modulation_img.linear",
            "double_stream_modulation_txt.lin": "double_stream_modulation_txt.linear",
            "single_stream_modulation.lin": "single_stream_modulation.linear",
            "double_blocks.#.img_attn.norm.query_norm": f"{DOUBLE}.attn.norm_q",
            "double_blocks.#.img_attn.norm.key_norm": f"{DOUBLE}.attn.norm_k",
            "double_blocks.#.img_attn.proj": f"{DOUBLE}.attn.to_out.0",
            "double_blocks.#.img_mlp.0": f"{DOUBLE}.ff.linear_in",
            "double_blocks.#.img_mlp.2": f"{DOUBLE}.ff.linear_out",
            "double_blocks.#.txt_attn.norm.query_norm": f"{DOUBLE}.attn.norm_added_q",
            "double_blocks.#.txt_attn.norm.key_norm": f"{DOUBLE}.attn.norm_added_k",
            "double_blocks.#.txt_attn.proj": f"{DOUBLE}.attn.to_add_out",
            "double_blocks.#.txt_mlp.0": f"{DOUBLE}.ff_context.linear_in",
            "double_blocks.#.txt_mlp.2": f"{DOUBLE}.ff_context.linear_out",
            "single_blocks.#.norm.query_norm": f"{SINGLE}.attn.norm_q",
            "single_blocks.#.norm.key_norm": f"{SINGLE}.attn.norm_k",
            "single_blocks.#.linear1": f"{SINGLE}.attn.to_qkv_mlp_proj",
            "single_blocks.#.linear2": f"{SINGLE}.attn.to_out",
            "final_layer.linear": "proj_out",
        }
    ),
    "double_blocks.#.img_attn.qkv": thirds(*(f"{DOUBLE}.attn.to_{x}" for x in "qkv")),
    "double_blocks.#.txt_attn.qkv": thirds(*(f"{DOUBLE}.attn.add_{x}_proj" for x in "qkv")),
    "final_layer.adaLN_modulation.1": {"norm_out.linear": SWAPPED},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flux2(FlowModel):
    """A loaded model of this family; Conditioning's further tensor: guidance, of dev, [rows]."""

    names: ClassVar[Names] = NAMES
    patch: ClassVar[int] = 1

    @classmethod
    def read(cls, parts: Parts) -> dict[str, Any]:
        """Return its network, VAE, text encoders and tokenizers, by the names of its fields."""
        return {
            "network": parts.network(network_of),
            "vae": parts.vae(flux2_vae.read_vae),
            "text_encoders": parts.text_encoders(text_encoder=text_encoder_of),
            "tokenizers": {"tokenizer": parts.tokenizer("tokenizer", mistral3.tokenizer_of)},
        }

    @property
    def latent_channels(self) -> int:
        """Return the number of channels of the network's latents."""
        return int(self.network.config.in_channels)

    @property
    def latent_scale(self) -> int:
        """Return how many pixels one of them spans on each side."""
        return flux2_vae.PATCH * int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def from_vae(self, mean: Tensor) -> Tensor:
        """Return latents, [1, 128, h, w] fp32, of the mean that the VAE encodes to."""
        return flux2_vae.from_vae(self.vae, whole_tokens(mean, flux2_vae.PATCH))

    def to_vae(self, latents: Tensor) -> Tensor:
        """Return what the VAE decodes of latents [1, 128, h, w]."""
        return flux2_vae.to_vae(self.vae, latents)

    def read_vae(self, name: str, path: Path) -> Any:
        """Read another VAE of its form, fp32 on the CPU, or raise `BrokenModel`."""
        return flux2_vae.read_vae(name, path)

    @property
    def preview_map(self) -> Tensor | None:
        """Return a linear map from latents and a constant to RGB in −1…1, [129, 3]."""
        return flux2_vae.preview_map()

    def noise(self, width: int, height: int, steps: int) -> FlowSchedule:
        """Return its noise levels, by size and steps: `simple` spaces them as its makers do.

        For that the table has a multiple of so many entries.
        """
        mu = flux2_mu(round(width * height / PIXELS), steps)
        return FlowSchedule(shift=math.exp(mu), entries=steps * -(-ENTRIES // steps))

    @property
    def reading(self) -> language_model.Reading:
        """Return how its text encoder reads prompts."""
        return READINGS[self.encoders["text_encoder"].config.model_type]

    @property
    def special_tokens(self) -> frozenset[str]:
        """Return the special tokens around prompts."""
        return self.reading.tokens

    def prompts(self, embeddings: ModelFiles) -> Prompts:
        """Return what encodes prompts; language models know no embeddings."""
        encoder, tokenizer = self.encoders["text_encoder"], self.tokenizers["tokenizer"]
        return language_model.Prompts(encoder, tokenizer, self.device, self.reading)

    def blank(self, rows: int) -> Conditioning:
        """Return zeros in the form of its conditioning, of the least length."""
        width = self.network.config.joint_attention_dim
        texts = torch.zeros((rows, language_model.LEAST, width), device=self.device)
        return self.conditions(Conditioning(texts), 0, 0, 1.0)

    def context_rule(self, width: int, height: int) -> ContextRule:
        """Return the rule of texts that are padded and not masked."""
        return joint_attention(Joining.EQUAL, width, height, language_model.LEAST, self.patch)

    @property
    def reference_sizes(self) -> ReferenceSizes | None:
        """Return at which sizes it takes reference pictures."""
        return FLUX2 if self.checkpoint.references else None

    def velocity(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, references: Sequence[Tensor]
    ) -> Tensor:
        """Return the velocities of rows x, [n, 128, h, w], in x's dtype; sigma: [n] fp32."""
        texts, guidance = conditioning.embeds.to(x.dtype), conditioning.others.get("guidance")
        return predict(self.network, x, sigma, texts, guidance, references)


load = Flux2.load


def text_encoder_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> Any:
    """Return klein's or dev's text encoder, without the layers that are not read."""
    form = language_form(tensors)
    make = qwen3.encoder_of if form == "qwen3" else mistral3.encoder_of
    return make(language_model.first_layers(tensors, READINGS[form].layers[-1]), target)


def predict(
    network: Any,
    x: Tensor,
    sigma: Tensor,
    texts: Tensor,
    guidance: Tensor | None = None,
    references: Sequence[Tensor] = (),
) -> Tensor:
    """Return the velocities of rows x, [n, 128, h, w], in x's dtype.

    sigma: of each row, [n] fp32; texts: embeddings, [n, tokens, width]; guidance: of each row, [n]
    fp32 (None for klein); references: the latents of pictures to edit, [n, 128, h', w'] each.
    """
    pictures = [x, *references]
    words = torch.arange(texts.shape[1], device=x.device)
    with told_exactly(network.time_guidance_embed, sigma, guidance):
        velocities: Tensor = network(
            hidden_states=torch.cat([each.flatten(2).mT for each in pictures], 1),
            encoder_hidden_states=texts,
            timestep=sigma,
            guidance=guidance,
            img_ids=torch.cat([grid(each, APART * place) for place, each in enumerate(pictures)]),
            txt_ids=torch.stack([*[torch.zeros_like(words)] * 3, words], 1),
            return_dict=False,
        )[0]
    height, width = x.shape[2:]
    return velocities[:, : height * width].mT.reshape(x.shape)


def grid(latents: Tensor, picture: int) -> Tensor:
    """Return the positions of latents: picture, row, column and 0, [h·w, 4], on their device.

    It is made once for each size, and must not be changed.
    """
    height, width = latents.shape[2:]
    return _grid(picture, height, width, latents.device)


@lru_cache(maxsize=GRIDS)
@torch.inference_mode(False)
def _grid(picture: int, height: int, width: int, device: torch.device) -> Tensor:
    sides = torch.arange(height), torch.arange(width)
    one = torch.tensor([0])
    return torch.cartesian_prod(torch.tensor([picture]), *sides, one).to(device)


def network_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> Flux2Transformer2DModel:
    """Return the network of a file's tensors, by the makers' names or diffusers'; in their memory.

    Raises `BadFile` where tensors are missing or unknown.
    """
    names = respelled(tensors, NAMES)
    return build(Flux2Transformer2DModel, config_of(names), names, target)


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the network's configuration by the shapes of its tensors, in diffusers' names."""
    try:
        side = tensors["transformer_blocks.0.attn.norm_q.weight"].shape[0]
        width, channels = tensors["x_embedder.weight"].shape
        inner = tensors["transformer_blocks.0.ff.linear_out.weight"].shape[1]
        times = tensors["time_guidance_embed.timestep_embedder.linear_1.weight"].shape[1]
        words = tensors["context_embedder.weight"].shape[1]
        out = tensors["proj_out.weight"].shape[0]
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of FLUX.2") from None
    return {
        "patch_size": 1,
        "in_channels": channels,
        "out_channels": out,
        "num_layers": count(tensors, "transformer_blocks"),
        "num_single_layers": count(tensors, "single_transformer_blocks"),
        "attention_head_dim": side,
        "num_attention_heads": width // side,
        "joint_attention_dim": words,
        "timestep_guidance_channels": times,
        "mlp_ratio": inner / width,
        "axes_dims_rope": (side // 4,) * 4,
        "rope_theta": THETA,
        "guidance_embeds": "time_guidance_embed.guidance_embedder.linear_1.weight" in tensors,
    }
