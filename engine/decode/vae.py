"""Stage 3: decode latents into pixels; and small previews of unfinished latents."""

import logging
from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from time import perf_counter
from typing import Any, Final

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.device.backends import is_out_of_memory
from engine.device.finite import are_finite
from engine.errors import NotFinite
from engine.loading.model import Model
from engine.sentences import Sentence

PREVIEW_SIDE: Final = 256  # pixels, the longer side at most
CHEAP: Final = 0.2  # seconds of a preview by a tiny VAE, at most
MOST: Final = 128 * 128  # latents of such a preview; it needs memory beside the network's
SIDES: Final = (8, 16, 32, 64)  # latents, at which its cost is measured
LONG_ENOUGH: Final = 0.01  # seconds; a shorter time is mostly launching kernels

Pixels = NDArray[np.uint8]

log = logging.getLogger(__name__)


def decode_whole(vae: Any, latents: Tensor) -> Tensor:
    """Decode latents [1, C, h, w], unscaled, to images [1, 3, 8h, 8w] in −1…1."""
    images: Tensor = vae.decode(latents, return_dict=False)[0]
    return images


def decode(
    model: Model, latents: Tensor, images_of: Callable[[Any, Tensor], Tensor] = decode_whole
) -> Pixels:
    """Decode latents [1, C, h, w] to pixels [H, W, 3], uint8.

    images_of: computes the images, at once or in tiles. Raises `NotFinite` where they would be
    black: VAEs run in fp32, so that no higher precision would help.
    """
    # Not `vae.dtype`: diffusers walks the whole model for it, 1 ms a picture.
    dtype = next(model.vae.parameters()).dtype
    images = images_of(model.vae, model.to_vae(latents.to(dtype)))
    if not all(are_finite([images])):
        drawn = all(are_finite([latents]))
        raise NotFinite(Sentence("not_finite_vae") if drawn else Sentence("not_finite_latents"))
    return _to_pixels(images)


class Previewer:
    """Makes previews of latents, by a tiny VAE where there is one and it is cheap enough.

    Otherwise by a linear map from latents and a constant to RGB in −1…1, [C + 1, 3], which costs
    very little. It is taken from the model's `marble.json`, or is its family's, or is fitted to the
    VAE's output. prepare: brings the VAE to its device, for that alone.
    """

    def __init__(
        self,
        model: Model,
        tiny: AutoencoderTiny | None = None,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self._model = model
        self._tiny = tiny
        self._prepare = prepare

    def __call__(self, denoised: Tensor) -> bytes:
        """Return a small JPEG of latents [1, C, h, w]."""
        count = denoised[0, 0].numel()
        cheap = self._tiny and count <= MOST and count * self._cost <= CHEAP
        if cheap and (pixels := self._by_tiny(denoised)) is not None:
            return _jpeg(pixels, 1.0)
        return _jpeg(_to_pixels(self._by_map(denoised)), 8.0)

    def _by_tiny(self, denoised: Tensor) -> Pixels | None:
        """Return the tiny VAE's pixels, or None if its values are not finite or memory is short."""
        if self._tiny is None:
            return None
        try:
            images = self._tiny.decode(denoised.to(self._tiny.dtype)).sample
            if all(are_finite([images])):
                return _to_pixels(images)
            log.warning("the tiny VAE produces invalid numbers; previews do not use it")
            self._tiny = None
            return None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None  # a smaller picture may fit, or the next one

    def _by_map(self, denoised: Tensor) -> Tensor:
        return (
            torch.einsum("nchw,cr->nrhw", denoised, self._map[:-1]) + self._map[-1, :, None, None]
        )

    @cached_property
    def _map(self) -> Tensor:
        given = self._model.checkpoint.preview
        if given:
            return torch.tensor([*given["weights"], given["bias"]], device=self._model.device)
        known = self._model.preview_map
        if known is not None:
            return known.to(self._model.device)
        self._prepare()
        return fit_preview(self._model)

    @cached_property
    def _cost(self) -> float:

        def decode(side: int) -> None:
            shape = (1, self._model.latent_channels, side, side)
            self._by_tiny(torch.zeros(shape, device=self._model.device))

        return cost_of(decode)


def cost_of(decode: Callable[[int], object], clock: Callable[[], float] = perf_counter) -> float:
    """Return the seconds of decode(side) a latent, at the first side that takes long enough."""
    decode(SIDES[0])  # the first call includes initialisation
    for side in SIDES:
        begun = clock()
        decode(side)
        seconds = clock() - begun
        if seconds >= LONG_ENOUGH:
            break
    return seconds / side**2


def _jpeg(pixels: Pixels, most: float) -> bytes:
    """Return pixels as a JPEG of at most PREVIEW_SIDE, upscaled `most` times at most."""
    image = Image.fromarray(pixels)
    scale = min(most, PREVIEW_SIDE / max(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    buffer = BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def fit_preview(model: Model, samples: int = 32, side: int = 8) -> Tensor:
    """Fit the preview map [C + 1, 3] by least squares to the VAE's output on smooth latents."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((samples, model.latent_channels, 2, 2), generator=generator)
    latents = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    latents = latents / latents.std()
    scaled = model.to_vae(latents.to(model.device))
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
