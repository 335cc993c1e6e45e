"""Z-Image: a transformer that attends to text and picture together, Alibaba's Tongyi Lab (2025),
arXiv:2511.22699. It predicts velocities (`engine.denoise.flow`) and is told t = 1 − σ.

Its text encoder is Qwen3-4B, whose second last layer is read; its VAE is FLUX.1's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel
from torch import Tensor

from engine.files.safetensors import BadFile
from engine.loading.modules import IN_PLACE, Target, fill

PREFIX: Final = "model.diffusion_model."  # of some files, where all names have it
PATCH: Final = 2  # latents on each side of a token
TEMPLATE: Final = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
# How names of the makers' files begin or what they hold, and what diffusers calls it.
NAMES: Final = (
    ("x_embedder.", f"all_x_embedder.{PATCH}-1."),
    ("final_layer.", f"all_final_layer.{PATCH}-1."),
    (".attention.out.", ".attention.to_out.0."),
    (".attention.q_norm.", ".attention.norm_q."),
    (".attention.k_norm.", ".attention.norm_k."),
)
FUSED: Final = ".attention.qkv."
UNUSED: Final = ("norm_final.weight",)  # left in some files


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
    names = respell(tensors)
    with torch.device("meta"):
        network = Network(**config_of(names))
    return fill(network, names, target)


def respell(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by diffusers' names; fused projections are split into views."""
    found = {}
    for name, tensor in tensors.items():
        name = name.removeprefix(PREFIX)
        if name in UNUSED:
            continue
        for old, new in NAMES:
            name = name.replace(old, new) if old.startswith(".") else _begin(name, old, new)
        if FUSED in name:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                found[name.replace(FUSED, f".attention.to_{part}.")] = piece
        else:
            found[name] = tensor
    return found


def _begin(name: str, old: str, new: str) -> str:
    return new + name.removeprefix(old) if name.startswith(old) else name


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
        "n_layers": _count(tensors, "layers."),
        "n_refiner_layers": _count(tensors, "noise_refiner."),
        "n_heads": queries // side,
        "n_kv_heads": keys // side,
        "cap_feat_dim": width,
        "axes_dims": [quarter, (side - quarter) // 2, (side - quarter) // 2],
        "axes_lens": [1536, 512, 512],
    }


def _count(tensors: Mapping[str, Tensor], start: str) -> int:
    numbers = {name.split(".")[1] for name in tensors if name.startswith(start)}
    return len(numbers)
