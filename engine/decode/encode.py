"""Encode the pixels of start images into latents, with a VAE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.loading.model import Model

GREY: Final = 0.0  # of the masked area in an inpainting model's input, in −1 … 1

Pixels = npt.NDArray[np.uint8]


def encode_whole(vae: Any, images: Tensor) -> Tensor:
    """Encode pixels [1, 3, H, W] in −1 … 1 to the mean of the latents [1, C, h, w], unscaled."""
    mean: Tensor = vae.encode(images, return_dict=False)[0].mode()
    return mean


def encode(
    model: Model, images: Tensor, mean_of: Callable[[Any, Tensor], Tensor] = encode_whole
) -> Tensor:
    """Encode images [1, 3, H, W] in −1 … 1 to latents [1, C, h, w], fp32, on the device.

    Latents are the mean of the VAE's distribution, not a sample, so that a start image always
    gives the same. mean_of: computes that mean, at once or in tiles.
    """
    dtype = next(model.vae.parameters()).dtype
    return model.from_vae(mean_of(model.vae, images.to(model.device, dtype)).float())


def to_images(pixels: Pixels) -> Tensor:
    """Map pixels [H, W, 3], uint8, to [1, 3, H, W] fp32 in −1 … 1."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def to_mask(mask: Pixels) -> Tensor:
    """Map a mask [H, W], uint8, to [1, 1, H, W] fp32 in 0 … 1."""
    return torch.from_numpy(mask.copy())[None, None].float() / 255


def without_painted(images: Tensor | None, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a network that inpaints sees of images, and 1 where they are painted, else 0.

    images: [1, 3, H, W] in −1 … 1, or None; mask: [1, 1, H, W] in 0 … 1. The painted area is grey,
    as in RunwayML's pipeline and diffusers.
    """
    painted = mask >= 0.5
    seen = torch.full_like(mask, GREY).expand(-1, 3, -1, -1) if images is None else images
    return torch.where(painted, GREY, seen), painted.float()
