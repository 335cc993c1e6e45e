"""Ancestral samplers: they step below σ_next and add fresh noise, or noise the prediction anew."""

from __future__ import annotations

import math
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
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0, *, flow: bool = False
) -> Sampling:
    """Step down by Euler below σ_next, then add noise: DDIM with η, Song et al. (2021),
    arXiv:2010.02502, equation 16. With η = 1 it is the posterior of DDPM, Ho et al. (2020),
    arXiv:2006.11239, equation 7, in these variables.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        step = ancestral_step(sigma, sigma_next, eta, flow=flow)
        x = x + slope(x, sigma, denoised) * (step.down - sigma) if step.down > 0 else denoised
        x = step.add_noise(x, noise)
    return x


def dpm_2_ancestral(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0, *, flow: bool = False
) -> Sampling:
    """Step down by DPM-Solver-2 below σ_next, then add noise: Lu et al. (2022),
    arXiv:2206.00927, algorithm 1, with the noise of `euler_ancestral`.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        step = ancestral_step(sigma, sigma_next, eta, flow=flow)
        d = slope(x, sigma, denoised)
        if step.down > 0:
            middle = (sigma * step.down) ** 0.5
            halfway = x + d * (middle - sigma)
            denoised = yield Request(halfway, middle, i)
            d = slope(halfway, middle, denoised)
        x = step.add_noise(x + d * (step.down - sigma), noise)
    return x


def dpmpp_2s_ancestral(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0, *, flow: bool = False
) -> Sampling:
    """Step towards the prediction from the step's geometric middle, then add noise:
    DPM-Solver++(2S), Lu et al. (2022), arXiv:2211.01095, algorithm 1, with the noise of
    `euler_ancestral`.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        step = ancestral_step(sigma, sigma_next, eta, flow=flow)
        if step.down > 0:
            middle = _middle(sigma, step.down, flow=flow)
            halfway = approach(x, denoised, middle / sigma)
            denoised = yield Request(halfway, middle, i)
        x = step.add_noise(approach(x, denoised, step.down / sigma), noise)
    return x


def _middle(sigma: float, down: float, *, flow: bool) -> float:
    """Return the σ half-way in log(σ/α), where α is 1, or 1 − σ on a flow."""
    if not flow:
        return float((sigma * down) ** 0.5)
    if sigma >= 1:  # where σ/α is infinite; ComfyUI's value
        return 0.9999
    ratio = math.sqrt(sigma / (1 - sigma) * down / (1 - down))
    return ratio / (1 + ratio)


def lcm(x: Tensor, sigmas: Sequence[float], noise: DrawNoise, *, flow: bool = False) -> Sampling:
    """Take the prediction and noise it anew: multistep consistency sampling, Song et al.
    (2023), arXiv:2303.01469, algorithm 1; for latents Luo et al. (2023), arXiv:2310.04378.
    """
    for i, sigma, sigma_next in steps(sigmas):
        x = yield Request(x, sigma, i)
        if sigma_next > 0:
            x = (x * (1 - sigma_next) if flow else x) + noise(x) * sigma_next
    return x
