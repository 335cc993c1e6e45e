"""Stable Diffusion 3 and 3.5: a transformer that attends to text and picture together, Esser et al.
(2024), arXiv:2403.03206. It predicts velocities (`engine.denoise.flow`) and is told 1000·σ.

Three text encoders: CLIP-L, CLIP-G and T5-XXL; its VAE has 16 channels and a shift. Nothing masks
the text, so that rows of a call have texts of one length, and never see each other. T5's are padded
to 77 tokens, as in ComfyUI, wherever the model lies; diffusers pads them to 256, and its pictures
of the same words are others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from torch import Tensor
from torch.nn.functional import pad

from engine.decode.external_vae import read_vae
from engine.denoise.flow import FlowSchedule
from engine.families.flow_model import FlowModel, Parts, joint_attention
from engine.files.safetensors import BadFile
from engine.loading.makers_names import (
    PREFIX,
    SWAPPED,
    Names,
    count,
    in_blocks,
    lora_names,
    respelled,
    same,
    thirds,
)
from engine.loading.model import Conditioning, LoraName, Prompts
from engine.loading.modules import IN_PLACE, Target, build
from engine.models.families import CONFIGS
from engine.models.model_files import ModelFiles
from engine.models.parts import NETWORK
from engine.pictures.start_image import Pixels
from engine.recipe.context_length import WINDOW, ContextRule, Joining
from engine.text_encode import clip, t5

SHIFT: Final = 3.0
HEAD: Final = 64  # width of a head, of all sizes
PATCH: Final = 2  # latents on each side of a token
LEAST: Final = 77  # tokens of T5's
EXCLAMATION: Final = 0  # the token that fills CLIP-G's windows: "!"
# Latents → red, green and blue, and the constant: ComfyUI's numbers.
PREVIEW: Final = (
    (-0.0922, -0.0175, 0.0749), (0.0311, 0.0633, 0.0954), (0.1994, 0.0927, 0.0458),
    (0.0856, 0.0339, 0.0902), (0.0587, 0.0272, -0.0496), (-0.0006, 0.1104, 0.0309),
    (0.0978, 0.0306, 0.0427), (-0.0042, 0.1038, 0.1358), (-0.0194, 0.0020, 0.0669),
    (-0.0488, 0.0130, -0.0268), (0.0922, 0.0988, 0.0951), (-0.0278, 0.0524, -0.0542),
    (0.0332, 0.0456, 0.0895), (-0.0069, -0.0030, -0.0810), (-0.0596, -0.0465, -0.0293),
    (-0.1448, -0.1463, -0.1189), (0.2394, 0.2135, 0.1925),
)  # fmt: skip
BLOCK: Final = re.compile(rf"(?:{re.escape(PREFIX)})?(?:joint|transformer)_blocks\.(\d+)\.")

# The modules of a block by the makers' names, and diffusers'.
IN_BLOCK: Final[Names] = {
    "x_block.attn.qkv": thirds("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block.attn2.qkv": thirds("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    "context_block.attn.qkv": thirds("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    **same(
        {
            "x_block.attn.ln_q": "attn.norm_q",
            "x_block.attn.ln_k": "attn.norm_k",
            "x_block.attn.proj": "attn.to_out.0",
            "x_block.attn2.ln_q": "attn2.norm_q",
            "x_block.attn2.ln_k": "attn2.norm_k",
            "x_block.attn2.proj": "attn2.to_out.0",
            "x_block.mlp.fc1": "ff.net.0.proj",
            "x_block.mlp.fc2": "ff.net.2",
            "x_block.adaLN_modulation.1": "norm1.linear",
            "context_block.attn.ln_q": "attn.norm_added_q",
            "context_block.attn.ln_k": "attn.norm_added_k",
            "context_block.attn.proj": "attn.to_add_out",
            "context_block.mlp.fc1": "ff_context.net.0.proj",
            "context_block.mlp.fc2": "ff_context.net.2",
            "context_block.adaLN_modulation.1": "norm1_context.linear",
        }
    ),
}
NAMES: Final[Names] = {
    **in_blocks("joint_blocks", "transformer_blocks", IN_BLOCK),
    **same(
        {
            "x_embedder.proj": "pos_embed.proj",
            "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
            "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
            "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
            "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
            "final_layer.linear": "proj_out",
        }
    ),
    "final_layer.adaLN_modulation.1": {"norm_out.linear": SWAPPED},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sd3(FlowModel):
    """A loaded model of this family.

    Conditioning's further tensors: pooled, both CLIPs', [rows, 2048].
    """

    names: ClassVar[Names] = NAMES

    @classmethod
    def read(cls, parts: Parts) -> dict[str, Any]:
        """Return its network, VAE, text encoders and tokenizers, by the names of its fields."""
        # CLIP-L's files hold a matrix for its pooled embedding that these models do not use; in
        # folders, which diffusers multiplies by it, it is the identity.
        its = parts.checkpoint
        place = its.parts.get("text_encoder") or its.file or its.folder
        clip_l = partial(clip.pooling_encoder_of, activation="quick_gelu", projects=place.is_dir())
        clip_g = partial(clip.pooling_encoder_of, activation="gelu")
        return {
            "network": parts.network(network_of),
            "vae": parts.vae(read_sd3_vae),
            "text_encoders": parts.text_encoders(
                text_encoder=clip_l, text_encoder_2=clip_g, text_encoder_3=t5.encoder_of
            ),
            "tokenizers": {
                "tokenizer": parts.clip_tokenizer("tokenizer"),
                "tokenizer_2": parts.clip_tokenizer("tokenizer_2", EXCLAMATION),
                "tokenizer_3": parts.tokenizer("tokenizer_3"),
            },
        }

    def lora_names(self, part: str, modules: Sequence[str]) -> Iterator[LoraName]:
        """Yield each name by which LoRA files mean a module of a part, its own name, and its rows.

        The last block's modulation is written otherwise, so that the table depends on their number.
        """
        if part == NETWORK:
            return lora_names(modules, names_of(modules))
        return FlowModel.lora_names(self, part, modules)

    @property
    def longest(self) -> int:
        """Return how many latents of a side its table of positions has."""
        return int(self.network.config.pos_embed_max_size) * PATCH

    @property
    def preview_map(self) -> Tensor | None:
        """Return a linear map from latents and a constant to RGB in −1…1, [17, 3]."""
        return torch.tensor(PREVIEW)

    def read_vae(self, name: str, path: Path) -> Any:
        """Read another VAE of its form, fp32 on the CPU, or raise `BrokenModel`."""
        return read_sd3_vae(name, path)

    def noise(self, width: int, height: int, steps: int) -> FlowSchedule:
        """Return its noise levels, the same for all sizes."""
        return FlowSchedule(shift=SHIFT)

    def prompts(self, embeddings: ModelFiles) -> Prompts:
        """Return what encodes prompts; embeddings: those that both CLIPs know."""
        return _Prompts(self, embeddings)

    def blank(self, rows: int) -> Conditioning:
        """Return zeros in the form of its conditioning, of the least length."""
        config = self.network.config
        texts = torch.zeros((rows, WINDOW + LEAST, config.joint_attention_dim), device=self.device)
        pooled = torch.zeros((rows, config.pooled_projection_dim), device=self.device)
        return Conditioning(texts, None, {"pooled": pooled})

    def context_rule(self, width: int, height: int) -> ContextRule:
        """Return the rule of texts that are padded and not masked."""
        return joint_attention(Joining.EQUAL, width, height, WINDOW + LEAST)

    def velocity(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, references: Sequence[Tensor]
    ) -> Tensor:
        """Return the velocities of rows x, [n, 16, h, w], in x's dtype; sigma: [n] fp32."""
        texts, pooled = (
            each.to(x.dtype) for each in (conditioning.embeds, conditioning.others["pooled"])
        )
        return predict(self.network, x, sigma, texts, pooled)


load = Sd3.load


class _Prompts:
    """Encode prompts by CLIP's two encoders and T5."""

    def __init__(self, model: Sd3, embeddings: ModelFiles) -> None:
        *clips, words = zip(model.tokenizers.values(), model.encoders.values(), strict=True)
        self._clips = [
            clip.ClipEncoder(
                *each,
                embeddings,
                number,
                device=model.device,
                last_layer=2,
                normed=False,
                breaks=False,
            )
            for number, each in enumerate(clips)
        ]
        self._t5 = t5.T5Encoder(*words, device=model.device, least=LEAST)

    @property
    def size(self) -> int:
        """Return the bytes of loaded embeddings."""
        return sum(each.embeddings.size for each in self._clips)

    def encode(
        self, prompt: str, clip_skip: int | None, pictures: Sequence[Pixels] = ()
    ) -> Conditioning:
        """Return a prompt's conditioning, one row; raises `PromptError`."""
        both = [each.encode(prompt, clip_skip) for each in self._clips]
        texts = join_texts([each.embeds for each in both], self._t5.encode(prompt))
        pooled = [each.pooled for each in both if each.pooled is not None]
        return Conditioning(texts, None, {"pooled": torch.cat(pooled, dim=1)})


def read_sd3_vae(name: str, path: Path, prefix: str = "") -> Any:
    """Read a VAE in the form of its own, fp32 on the CPU, or raise `BrokenModel`."""
    return read_vae(name, path, CONFIGS / "sd3", prefix)


def predict(network: Any, x: Tensor, sigma: Tensor, embeds: Tensor, pooled: Tensor) -> Tensor:
    """Return the velocities of rows x, [n, 16, h, w], in x's dtype; h and w are even.

    sigma: of each row, [n] fp32; embeds: as `join_texts` makes them, [n, tokens, 4096]; pooled:
    [n, 2048].
    """
    velocity: Tensor = network(
        x,
        encoder_hidden_states=embeds,
        pooled_projections=pooled,
        timestep=sigma * 1000,
        return_dict=False,
    )[0]
    return velocity


def network_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> Any:
    """Return the network of a file's tensors, by the makers' names or diffusers'; in their memory.

    Raises `BadFile` where tensors are missing or unknown.
    """
    names = respell(tensors)
    return build(SD3Transformer2DModel, config_of(names), names, target)


def respell(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by diffusers' names; fused projections are split into views."""
    found = respelled(tensors, names_of(tensors))
    if "pos_embed" in found:
        found["pos_embed.pos_embed"] = found.pop("pos_embed")
    return found


def names_of(modules: Iterable[str]) -> Names:
    """Return the table of names of a network with these modules, or these tensors.

    Where it modulates by a shift and a scale alone, at its end and for the text of its last block,
    the makers' files have the shift first, diffusers the scale.
    """
    last = max((int(found[1]) for name in modules if (found := BLOCK.match(name))), default=0)
    own = f"transformer_blocks.{last}.norm1_context.linear"
    return {**NAMES, f"joint_blocks.{last}.context_block.adaLN_modulation.1": {own: SWAPPED}}


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the network's configuration by the shapes of its tensors, in diffusers' names.

    No shape tells the width of a head where queries and keys are not normed, as in SD3: it is 64.
    """
    try:
        inner, channels = tensors["pos_embed.proj.weight"].shape[:2]
        positions = tensors["pos_embed.pos_embed"].shape[1]
        text = tensors["context_embedder.weight"].shape[1]
        pooled = tensors["time_text_embed.text_embedder.linear_1.weight"].shape[1]
        out = tensors["proj_out.weight"].shape[0]
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of Stable Diffusion 3") from None
    normed = tensors.get("transformer_blocks.0.attn.norm_q.weight")
    side = HEAD if normed is None else len(normed)
    blocks = count(tensors, "transformer_blocks")
    return {
        "patch_size": PATCH,
        "in_channels": channels,
        "out_channels": out // PATCH**2,
        "num_layers": blocks,
        "attention_head_dim": side,
        "num_attention_heads": inner // side,
        "joint_attention_dim": text,
        "caption_projection_dim": inner,
        "pooled_projection_dim": pooled,
        "pos_embed_max_size": isqrt(positions),
        "dual_attention_layers": tuple(
            block
            for block in range(blocks)
            if f"transformer_blocks.{block}.attn2.to_q.weight" in tensors
        ),
        "qk_norm": None if normed is None else "rms_norm",
    }


def join_texts(clips: Sequence[Tensor], t5: Tensor) -> Tensor:
    """Return what the network attends to, [1, tokens, 4096], of what its text encoders give.

    CLIP's two, [1, 77·windows, 768 and 1280], stand beside each other, cut to the shorter; T5's
    tokens, [1, tokens, 4096], follow theirs.
    """
    tokens = min(each.shape[1] for each in clips)
    both = torch.cat([each[:, :tokens] for each in clips], dim=2)
    return torch.cat([pad(both, (0, t5.shape[2] - both.shape[2])), t5], dim=1)
