"""The third stage: reveal. Latents become pixels; and, on the way there, a guess at them."""

from io import BytesIO
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.loading import Model
from engine.tiled_vae import decode_large

PREVIEW_SIDE: Final = 256  # pixels, the longer side at most

Pixels = NDArray[np.uint8]


def decode(model: Model, latents: Tensor) -> Pixels:
    """Decode latents [1, C, h, w] to pixels [8h, 8w, 3], uint8."""
    return _to_pixels(model.vae.decode(_unscaled(model, latents), return_dict=False)[0])


def decode_tiled(model: Model, latents: Tensor) -> Pixels:
    """Decode as `decode` does, but in overlapping tiles, which need less memory at once."""
    return _to_pixels(decode_large(model.vae, _unscaled(model, latents)))


def _unscaled(model: Model, latents: Tensor) -> Tensor:
    config = model.vae.config
    shift = getattr(config, "shift_factor", None) or 0.0
    # Not `vae.dtype`: diffusers walks the whole model for it, 1 ms a picture.
    dtype = next(model.vae.parameters()).dtype
    unscaled: Tensor = latents.to(dtype) / config.scaling_factor + shift
    return unscaled


class Previewer:
    """Guess pixels from latents by a linear map, which costs next to nothing.

    The map is [C + 1, 3], latents and a constant to RGB in −1…1. It comes from the model's
    `marble.json` where that has one; otherwise it is fitted to the VAE's own answers.
    """

    def __init__(self, model: Model) -> None:
        given = model.checkpoint.preview
        self._map = (
            torch.tensor([*given["weights"], given["bias"]], device=model.device)
            if given
            else fit_preview(model)
        )

    def __call__(self, denoised: Tensor) -> bytes:
        """Return a small JPEG of latents [1, C, h, w]."""
        pixels = _to_pixels(
            torch.einsum("nchw,cr->nrhw", denoised, self._map[:-1]) + self._map[-1, :, None, None]
        )
        image = Image.fromarray(pixels)
        scale = min(8.0, PREVIEW_SIDE / max(image.size))
        size = (round(image.width * scale), round(image.height * scale))
        buffer = BytesIO()
        image.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=80)
        return buffer.getvalue()


def fit_preview(model: Model, samples: int = 32, side: int = 8) -> Tensor:
    """Fit the preview map [C + 1, 3] by least squares to what the VAE makes of smooth latents."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((samples, model.latent_channels, 2, 2), generator=generator)
    latents = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    latents = latents / latents.std()
    scaled = latents.to(model.device) / model.vae.config.scaling_factor
    pixels = torch.cat(
        [model.vae.decode(row[None], return_dict=False)[0] for row in scaled.to(model.vae.dtype)]
    )
    colours = torch.nn.functional.avg_pool2d(pixels.float(), model.latent_scale).cpu()
    inputs = latents.permute(0, 2, 3, 1).reshape(-1, model.latent_channels)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    targets = colours.permute(0, 2, 3, 1).reshape(-1, 3)
    solution: Tensor = torch.linalg.lstsq(inputs, targets).solution
    return solution.to(model.device)


def _to_pixels(images: Tensor) -> Pixels:
    """Map [1, 3, H, W] in −1…1 to uint8 [H, W, 3], rounding down as ComfyUI does."""
    scaled = ((images[0].float() + 1) / 2).clamp(0, 1) * 255
    return scaled.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
