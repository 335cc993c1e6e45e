"""Samplers that put fresh noise back in each step."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from engine.samplers.base import NoiseSource, Request, Sampling, ancestral_step, slope, steps


def euler_ancestral(
    x: Tensor, sigmas: Sequence[float], noise: NoiseSource, eta: float = 1.0
) -> Sampling:
    """Step down by Euler below σ_next, then put noise back: DDPM's posterior in σ-space for eta 1
    (Ho et al. 2020, arXiv:2006.11239; eta of Song et al. 2021, arXiv:2010.02502), Euler for eta 0.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        down, up = ancestral_step(sigma, sigma_next, eta)
        x = x + slope(x, sigma, denoised) * (down - sigma) if down > 0 else denoised
        if up > 0:
            x = x + noise(x) * up
    return x


def lcm(x: Tensor, sigmas: Sequence[float], noise: NoiseSource) -> Sampling:
    """Jump to the denoised latent and noise it anew: multistep consistency sampling, Song et al.
    (2023), arXiv:2303.01469, algorithm 1; for latents Luo et al. (2023), arXiv:2310.04378.
    """
    for i, sigma, sigma_next in steps(sigmas):
        x = yield Request(x, sigma, i)
        if sigma_next > 0:
            x = x + noise(x) * sigma_next
    return x
