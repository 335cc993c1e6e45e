"""Deterministic samplers that remember nothing between steps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from engine.denoise.samplers.base import DrawNoise, Request, Sampling, slope, steps


def euler(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Follow the slope at each step's start: Karras et al. (2022), arXiv:2206.00364, algorithm 2
    without churn and correction. In these variables DDIM (Song et al. 2021, arXiv:2010.02502,
    equation 13) is the same step.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        x = x + slope(x, sigma, denoised) * (sigma_next - sigma)
    return x


def heun(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Average the slopes at a step's start and end: Karras et al. (2022), arXiv:2206.00364,
    algorithm 2 without churn.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        d = slope(x, sigma, denoised)
        if sigma_next > 0:
            ahead = x + d * (sigma_next - sigma)
            denoised = yield Request(ahead, sigma_next, i)
            d = (d + slope(ahead, sigma_next, denoised)) / 2
        x = x + d * (sigma_next - sigma)
    return x


def dpm_2(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Follow the slope at each step's geometric middle: DPM-Solver-2, Lu et al. (2022),
    arXiv:2206.00927, algorithm 1, with Karras' Euler steps.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        d = slope(x, sigma, denoised)
        if sigma_next > 0:
            middle = (sigma * sigma_next) ** 0.5
            halfway = x + d * (middle - sigma)
            denoised = yield Request(halfway, middle, i)
            d = slope(halfway, middle, denoised)
        x = x + d * (sigma_next - sigma)
    return x


def heunpp2(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Average the slopes at a step's start, its end and the next step's end, weighed by their σ:
    Heun++ of Cheng Liao's sd-webui-samplers-scheduler, as ComfyUI has it. Near the end, where
    there is no next step, two slopes count, and last one.

    As there, the shares are of the first σ, which makes a step of first order.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        d = slope(x, sigma, denoised)
        mean, place, at = d, x, sigma
        ahead = [level for level in sigmas[i + 1 : i + 3] if level > sigmas[-1]]
        for level in ahead:
            place = place + slope(place, at, denoised) * (level - at)
            denoised = yield Request(place, level, i)
            share = level / ((len(ahead) + 1) * sigmas[0])
            mean, at = mean + (slope(place, level, denoised) - d) * share, level
        x = x + mean * (sigma_next - sigma)
    return x
