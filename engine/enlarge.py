"""Make finished pictures larger: by a filter, or, as latents, before a second pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from engine.errors import OptionError
from engine.images import LANCZOS as FILTER
from engine.sources import LANCZOS

Pixels = npt.NDArray[np.uint8]


def enlarge(pixels: Pixels, width: int, height: int, by: str) -> Pixels:
    """Bring pixels [H, W, 3], uint8, to another size by Lanczos' filter."""
    if by != LANCZOS:
        raise OptionError("upscaler", by, f"{LANCZOS} for pictures without a second pass")
    return np.asarray(Image.fromarray(pixels).resize((width, height), FILTER))


def stretch(latents: Tensor, height: int, width: int) -> Tensor:
    """Bring latents [1, C, h, w] to another size, taking the nearest (as ComfyUI's default does).

    Means of neighbouring latents decode to blurs which low strengths do not mend.
    """
    return torch.nn.functional.interpolate(latents, size=(height, width), mode="nearest-exact")
