"""Classifier-free guidance on denoised latents: extrapolate from the negative prompt's prediction
beyond the prompt's. Ho & Salimans (2022), arXiv:2207.12598.

Models distilled with guidance take its scale as an input instead.
"""

from __future__ import annotations

import math

from torch import Tensor


def needs_negative(scale: float) -> bool:
    """Return whether the negative prompt has any effect: at scale 1 it has none."""
    return not math.isclose(scale, 1.0)


def guide(denoised: Tensor, scale: float) -> Tensor:
    """Return uncond + (cond − uncond)·scale, [B, C, h, w].

    denoised: [2·B, C, h, w] fp32, the negative prompt's rows before the prompt's, or at scale 1
    the prompt's alone, [B, C, h, w].
    """
    if not needs_negative(scale):
        return denoised
    uncond, cond = denoised.chunk(2)
    return uncond + (cond - uncond) * scale


def rescale(guided: Tensor, cond: Tensor, x: Tensor, sigma: float, factor: float) -> Tensor:
    """Rescale the guided prediction's contrast towards the prompt's own, by factor in 0 … 1.

    guided, cond: denoised latents; x: the noised one at σ; all [B, C, h, w] fp32. Standard
    deviations are compared in v, whatever the model predicts (as ComfyUI's RescaleCFG does):
    Lin et al. (2023), arXiv:2305.08891, section 3.4.
    """
    skip = x / (sigma**2 + 1)
    v_guided, v_cond = skip - guided, skip - cond  # up to a factor of σ, which cancels out
    deviations = [v.std(dim=(1, 2, 3), keepdim=True) for v in (v_cond, v_guided)]
    ratio = deviations[0] / deviations[1]
    return skip - v_guided * (factor * ratio + (1 - factor))
