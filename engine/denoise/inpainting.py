"""Inpainting: outside a mask the latents of the start image are kept, at every model call.

It wraps a sampler and is itself a sampler, so that samplers, batches and the pipeline need no code
for masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from engine.denoise.samplers import Request, Sampling, advance

AddNoise = Callable[[Tensor, Tensor, float], Tensor]  # latents, noise, σ → noised latents


def keep_unmasked(
    sampling: Sampling, latents: Tensor, noise: Tensor, mask: Tensor, add_noise: AddNoise
) -> Sampling:
    """Paint where the mask is 1; elsewhere keep to the latents. As ComfyUI's KSamplerX0Inpaint.

    latents, noise: [1, C, h, w] fp32; mask: [1, 1, h, w] in 0 … 1; add_noise: noises latents to a
    σ. The model gets the kept part noised to the same σ; in its prediction that part is replaced by
    the latents; the unguided prediction stays as it is.
    """
    kept = 1 - mask
    state = advance(sampling)
    while isinstance(state, Request):
        x = state.x * mask + add_noise(latents, noise, state.sigma) * kept
        denoised, *unguided = torch.split((yield replace(state, x=x)), len(x))
        painted = denoised * mask + latents * kept
        state = advance(sampling, torch.cat([painted, *unguided]) if unguided else painted)
    return state


def latent_mask(mask: Tensor, scale: int) -> Tensor:
    """Return the latents that a mask of pixels touches: 1 or 0, [1, 1, h, w] fp32.

    mask: [1, 1, H, W] in 0 … 1. A latent that is touched at all is painted as a whole; laying the
    picture over it afterwards gives back those of its pixels that the mask leaves.
    """
    touched = (mask > 0).float()
    return torch.nn.functional.max_pool2d(touched, scale, ceil_mode=True)
