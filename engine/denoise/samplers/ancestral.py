"""Ancestral samplers: they step below σ_next and add fresh noise, or noise the prediction anew."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from engine.denoise.samplers.base import (
    DrawNoise,
    Request,
    Sampling,
    ancestral_step,
    approach,
    slope,
    steps,
)


def euler_ancestral(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0
) -> Sampling:
    """Step down by Euler below σ_next, then add noise: DDIM with η, Song et al. (2021),
    arXiv:2010.02502, equation 16. With η = 1 it is the posterior of DDPM, Ho et al. (2020),
    arXiv:2006.11239, equation 7, in these variables.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        down, up = ancestral_step(sigma, sigma_next, eta)
        x = x + slope(x, sigma, denoised) * (down - sigma) if down > 0 else denoised
        if up > 0:
            x = x + noise(x) * up
    return x


def dpm_2_ancestral(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0
) -> Sampling:
    """Step down by DPM-Solver-2 below σ_next, then add noise: Lu et al. (2022),
    arXiv:2206.00927, algorithm 1, with the noise of `euler_ancestral`.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        down, up = ancestral_step(sigma, sigma_next, eta)
        d = slope(x, sigma, denoised)
        if down > 0:
            middle = (sigma * down) ** 0.5
            halfway = x + d * (middle - sigma)
            denoised = yield Request(halfway, middle, i)
            d = slope(halfway, middle, denoised)
        x = x + d * (down - sigma)
        if up > 0:
            x = x + noise(x) * up
    return x


def dpmpp_2s_ancestral(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0
) -> Sampling:
    """Step towards the prediction from the step's geometric middle, then add noise:
    DPM-Solver++(2S), Lu et al. (2022), arXiv:2211.01095, algorithm 1, with the noise of
    `euler_ancestral`.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        down, up = ancestral_step(sigma, sigma_next, eta)
        if down > 0:
            middle = (sigma * down) ** 0.5
            halfway = approach(x, denoised, middle / sigma)
            denoised = yield Request(halfway, middle, i)
        x = approach(x, denoised, down / sigma)
        if up > 0:
            x = x + noise(x) * up
    return x


def lcm(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Take the prediction and noise it anew: multistep consistency sampling, Song et al.
    (2023), arXiv:2303.01469, algorithm 1; for latents Luo et al. (2023), arXiv:2310.04378.
    """
    for i, sigma, sigma_next in steps(sigmas):
        x = yield Request(x, sigma, i)
        if sigma_next > 0:
            x = x + noise(x) * sigma_next
    return x
