"""Qwen-Image and Qwen-Image-Edit: a transformer with two streams that attends to text and pictures
together, Alibaba's Qwen team (2025), arXiv:2508.02324. It predicts velocities
(`engine.denoise.flow`) and is told σ.

Its text encoder is Qwen2.5-VL, 7B, whose last layer is read (`engine.text_encode.qwen_vl`); its VAE
is Wan 2.1's (`engine.decode.qwen_vae`). A picture to edit is further tokens behind those of the
latents, by its own latents. Where diffusers, which the makers wrote the network for, and ComfyUI
differ, this is diffusers': padding of the text is masked, and grids with an odd side are centred
with the greater half before the centre.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from diffusers.models.transformers.transformer_qwenimage import (
    QwenEmbedRope,
    QwenImageTransformer2DModel,
)
from torch import Tensor

from engine.families.flux import PATCH, pack, told_exactly, unpack
from engine.files.safetensors import BadFile
from engine.loading.makers_names import PREFIX, Names, count, respelled
from engine.loading.modules import IN_PLACE, Target, fill

THETA: Final = 10_000
NAMES: Final[Names] = {}  # the makers' names are diffusers'
# An empty tensor in ComfyUI's files of Edit from 2511 on: references are told as noiseless.
CLEAN_REFERENCES: Final = "__index_timestep_zero__"


def predict(
    network: Any,
    x: Tensor,
    sigma: Tensor,
    embeds: Tensor,
    mask: Tensor | None = None,
    references: Sequence[Tensor] = (),
) -> Tensor:
    """Return the velocities of rows x, [n, 16, h, w], in x's dtype; h and w are even.

    sigma: of each row, [n] fp32; embeds: [n, tokens, width]; mask: which tokens there are,
    [n, tokens] bool (None: all); references: the pictures to edit, each [n, 16, h', w'].
    """
    if mask is None:
        mask = torch.ones(embeds.shape[:2], dtype=torch.bool, device=x.device)
    pictures = [x, *references]
    grids = [(1, *(side // PATCH for side in picture.shape[2:])) for picture in pictures]
    times = torch.cat([sigma, sigma * 0]) if network.config.zero_cond_t else sigma
    with told_exactly(network.time_text_embed, times, scale=1):
        answer = network(
            torch.cat([pack(picture) for picture in pictures], dim=1),
            embeds,
            mask,
            sigma,
            img_shapes=[grids] * len(x),
            return_dict=False,
        )[0]
    _, height, width = grids[0]
    return unpack(answer[:, : height * width], height, width)


def network_of(
    tensors: Mapping[str, Tensor], target: Target = IN_PLACE, *, clean_references: bool = False
) -> Any:
    """Return the network of a file's tensors, in their memory.

    clean_references: a folder's `zero_cond_t`, which no shape tells: references are noiseless.
    ComfyUI's files tell it by a tensor. Raises `BadFile` where tensors are missing or unknown.
    """
    marked = any(name.removeprefix(PREFIX) == CLEAN_REFERENCES for name in tensors)
    names = respell(tensors)
    with torch.device("meta"):
        config = config_of(names)
        network = QwenImageTransformer2DModel(**config, zero_cond_t=clean_references or marked)
    network = fill(network, names, target)
    # Tables that follow from the configuration: no weights, and on `meta` without values.
    network.pos_embed = QwenEmbedRope(THETA, config["axes_dims_rope"], scale_rope=True)
    return network


def respell(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by diffusers' names, which are the makers' own, without a file's prefix."""
    found = respelled(tensors, NAMES)
    found.pop(CLEAN_REFERENCES, None)
    return found


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the network's configuration by the shapes of its tensors, in diffusers' names."""
    try:
        side = len(tensors["transformer_blocks.0.attn.norm_q.weight"])
        queries = len(tensors["transformer_blocks.0.attn.to_q.weight"])
        patch = tensors["img_in.weight"].shape[1]
        out = len(tensors["proj_out.weight"])
        width = len(tensors["txt_norm.weight"])
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of Qwen-Image") from None
    eighth = side // 8  # of the head for the position among pictures, the rest for both sides
    return {
        "patch_size": PATCH,
        "in_channels": patch,
        "out_channels": out // PATCH**2,
        "num_layers": count(tensors, "transformer_blocks"),
        "attention_head_dim": side,
        "num_attention_heads": queries // side,
        "joint_attention_dim": width,
        "axes_dims_rope": [eighth, (side - eighth) // 2, (side - eighth) // 2],
    }
