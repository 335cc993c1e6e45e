"""Stable Diffusion 3 and 3.5: a transformer that attends to text and picture together, Esser et al.
(2024), arXiv:2403.03206. It predicts velocities (`engine.denoise.flow`) and is told 1000·σ.

Three text encoders: CLIP-L, CLIP-G and T5-XXL; its VAE has 16 channels and a shift. Nothing masks
the text, so that rows of a call have texts of one length, and never see each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import isqrt
from typing import Any, Final

import torch
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from torch import Tensor
from torch.nn.functional import pad

from engine.files.safetensors import BadFile
from engine.loading.makers_names import (
    PREFIX,
    SWAPPED,
    Names,
    count,
    in_blocks,
    respelled,
    same,
    thirds,
)
from engine.loading.modules import IN_PLACE, Target, fill

HEAD: Final = 64  # width of a head, of all sizes
PATCH: Final = 2  # latents on each side of a token
CLIP_L: Final = 768  # width of CLIP-L's embeddings
WIDTH: Final = 4096  # of the joined text: T5's
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
    with torch.device("meta"):
        network = SD3Transformer2DModel(**config_of(names))
    return fill(network, names, target)


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


def join_texts(clip_l: Tensor | None, clip_g: Tensor | None, t5: Tensor | None) -> Tensor:
    """Return what the network attends to, [n, tokens, 4096], of what its text encoders give.

    CLIP's two, [n, 77·windows, 768 and 1280], stand beside each other, cut to the shorter; T5's
    tokens, [n, tokens, 4096], follow theirs. In place of an encoder that is not there stand zeros
    beside CLIP's other one, and no tokens else, as in ComfyUI.
    """
    joined = [] if t5 is None else [t5]
    both = [each for each in (clip_l, clip_g) if each is not None]
    if both:
        tokens = min(each.shape[1] for each in both)
        before = CLIP_L if clip_l is None else 0
        clip = torch.cat([each[:, :tokens] for each in both], dim=2)
        joined.insert(0, pad(clip, (before, WIDTH - before - clip.shape[2])))
    return torch.cat(joined, dim=1)
