"""FLUX.2: a transformer that attends to text and picture together, Black Forest Labs (2025).

It predicts velocities (`engine.denoise.flow`) and is told σ, three layers of a language model's
states and, dev alone, the guidance scale. Pictures to edit are further tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
from torch import Tensor

from engine.families.flux import DOUBLE, SINGLE, count
from engine.files.safetensors import BadFile
from engine.loading.makers_names import SWAPPED, Names, respelled, same, thirds
from engine.loading.modules import fill

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
    """Return the positions of latents: picture, row, column and 0, [h·w, 4], on their device."""
    sides = (torch.arange(side) for side in latents.shape[2:])
    one = torch.tensor([0])
    return torch.cartesian_prod(torch.tensor([picture]), *sides, one).to(latents.device)


def network_of(tensors: Mapping[str, Tensor]) -> Flux2Transformer2DModel:
    """Return the network of a file's tensors, by the makers' names or diffusers'; in their memory.

    Raises `BadFile` where tensors are missing or unknown.
    """
    names = respell(tensors)
    with torch.device("meta"):
        network = Flux2Transformer2DModel(**config_of(names))
    return fill(network, names)


def respell(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by diffusers' names; fused projections are split into views."""
    return respelled(tensors, NAMES)


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
        "num_layers": count(tensors, "transformer_blocks."),
        "num_single_layers": count(tensors, "single_transformer_blocks."),
        "attention_head_dim": side,
        "num_attention_heads": width // side,
        "joint_attention_dim": words,
        "timestep_guidance_channels": times,
        "mlp_ratio": inner / width,
        "axes_dims_rope": (side // 4,) * 4,
        "rope_theta": THETA,
        "guidance_embeds": "time_guidance_embed.guidance_embedder.linear_1.weight" in tensors,
    }
