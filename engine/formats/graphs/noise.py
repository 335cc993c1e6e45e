"""Where ComfyUI draws the noise of one picture of a batch as Marble does.

Marble draws the noise of all `count` pictures at once and slices it. ComfyUI does the same for a
whole batch, but once LatentFromBatch stands *before* KSampler it draws picture after picture
instead. The two agree only where one picture's noise holds a multiple of 16 values.
"""

from __future__ import annotations

from typing import Final

LATENT_CHANNELS: Final = 4  # what EmptyLatentImage makes: SD1.x, SD2.x and SDXL
LATENT_SCALE: Final = 8
NOISE_ALIGNMENT: Final = 16  # values torch draws at a time on the CPU


def slices_like_marble(width: int, height: int) -> bool:
    """Say whether noise drawn picture by picture equals slices of one draw; sizes in pixels."""
    values = LATENT_CHANNELS * (width // LATENT_SCALE) * (height // LATENT_SCALE)
    return values % NOISE_ALIGNMENT == 0
