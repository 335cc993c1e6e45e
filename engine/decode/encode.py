"""The way back: pixels of a start image become latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.decode.tiled_vae import encode_large
from engine.loading.model import Model

GREY: Final = 0.0  # what a model for inpainting sees where it is to paint, in −1 … 1

Pixels = npt.NDArray[np.uint8]


def _encode_whole(vae: Any, images: Tensor) -> Tensor:
    mean: Tensor = vae.encode(images, return_dict=False)[0].mode()
    return mean


def encode(
    model: Model, images: Tensor, look: Callable[[Any, Tensor], Tensor] = _encode_whole
) -> Tensor:
    """Encode images [1, 3, H, W] in −1 … 1 to latents [1, C, H/8, W/8], fp32.

    They are on the model's device, and the mean of what the VAE says, not a draw: a start image has
    one meaning. look: how that mean is found, at once or in tiles.
    """
    config = model.vae.config
    shift = getattr(config, "shift_factor", None) or 0.0
    dtype = next(model.vae.parameters()).dtype
    mean = look(model.vae, images.to(model.device, dtype)).float()
    latents: Tensor = (mean - shift) * config.scaling_factor
    return latents


def encode_tiled(model: Model, images: Tensor) -> Tensor:
    """Encode as `encode` does, but in overlapping tiles, which need less memory at once."""
    return encode(model, images, encode_large)


def to_images(pixels: Pixels) -> Tensor:
    """Map pixels [H, W, 3], uint8, to [1, 3, H, W] fp32 in −1 … 1."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def to_mask(mask: Pixels) -> Tensor:
    """Map a mask [H, W], uint8, to [1, 1, H, W] fp32 in 0 … 1."""
    return torch.from_numpy(mask.copy())[None, None].float() / 255


def inpainting_input(
    images: Tensor | None, mask: Tensor, look: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return what a U-Net for inpainting sees beside x: the mask, and the picture without it.

    images: [1, 3, H, W] in −1 … 1, or None for none; mask: [1, 1, H, W] in 0 … 1; look: how images
    become latents, [1, C, h, w]. Returns [1, 1 + C, h, w] fp32, where the latents are. Rombach et
    al. (2022), arXiv:2112.10752, section 4.5; the hole is grey, as in RunwayML's own pipeline and
    diffusers'.
    """
    painted = mask >= 0.5
    seen = torch.full_like(mask, GREY).expand(-1, 3, -1, -1) if images is None else images
    latents = look(torch.where(painted, GREY, seen))
    small = torch.nn.functional.interpolate(painted.float(), size=latents.shape[2:])
    return torch.cat([small.to(latents.device), latents], dim=1)
