"""Solvers of the reverse diffusion SDE: DPM-Solver++ with noise.

SDE-DPM-Solver++ is in Lu et al. (2022), arXiv:2211.01095; these are its forms in Katherine
Crowson's k-diffusion. η = 1 is the reverse SDE, η = 0 the probability-flow ODE.
Their noise is that of one Brownian path in σ (`engine.denoise.noise`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from torch import Tensor

from engine.denoise.samplers.base import (
    DrawNoise,
    Request,
    Sampling,
    ancestral_step,
    approach,
    mean_place,
    steps,
)

MIDPOINT: Final = "midpoint"
HEUN: Final = "heun"


def dpmpp_sde(x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0) -> Sampling:
    """Step towards the prediction from the step's geometric middle, with the SDE's noise added to
    the middle and to the end: the single-step solver of second order. The noise to the end holds
    that to the middle, since one path leads to both.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        if sigma_next == 0:
            return denoised
        middle = (sigma * sigma_next) ** 0.5
        down, up, _ = ancestral_step(sigma, middle, eta)
        halfway = approach(x, denoised, down / sigma) + noise(x) * up
        denoised = yield Request(halfway, middle, i)
        down, up, _ = ancestral_step(sigma, sigma_next, eta)
        x = approach(x, denoised, down / sigma) + noise(x) * up
    return x


def dpmpp_2m_sde(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0, *, form: str = MIDPOINT
) -> Sampling:
    """Extrapolate `denoised` linearly in log σ, with the SDE's noise: the multistep solver of
    second order. Its midpoint form takes it in the step's middle; with η = 0 it is `dpmpp_2m`. Its
    Heun form integrates it along the step.
    """
    old_denoised, old_h = x, math.inf
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        if sigma_next == 0:
            return denoised
        h = math.log(sigma / sigma_next)
        target = denoised
        if i > 0:
            reach = h / (2 * old_h)
            if form == HEUN:
                reach = h / old_h * mean_place(h * (1 + eta))
            target = denoised + (denoised - old_denoised) * reach
        x = approach(x, target, math.exp(-h * (1 + eta))) + _noise(noise, x, sigma_next, h, eta)
        old_denoised, old_h = denoised, h
    return x


def dpmpp_3m_sde(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0
) -> Sampling:
    """Extrapolate `denoised` as a parabola in log σ, with the SDE's noise: the 3M multistep solver.

    The parabola's bend counts half of what Taylor's formula gives it, as in every published code
    of 3M, so that the order of convergence is 2; the error is still less than that of 2M.
    """
    seen: list[tuple[Tensor, float]] = []  # denoised latents and the steps from them, newest first
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        if sigma_next == 0:
            return denoised
        h = math.log(sigma / sigma_next)
        h_eta = h * (1 + eta)
        phi_2 = math.expm1(-h_eta) / h_eta + 1
        x = approach(x, denoised, math.exp(-h_eta))
        first, second = _differences(denoised, h, seen)
        if first is not None:
            x = x + first * phi_2
        if second is not None:
            x = x - second * (phi_2 / h_eta - 0.5)
        x = x + _noise(noise, x, sigma_next, h, eta)
        seen = [(denoised, h), *seen[:1]]
    return x


def _differences(
    denoised: Tensor, h: float, seen: Sequence[tuple[Tensor, float]]
) -> tuple[Tensor | None, Tensor | None]:
    """Return the first and second derivative of `denoised` in −log σ, times h and h², as known."""
    if not seen:
        return None, None
    newest, r0 = seen[0][0], seen[0][1] / h
    first = (denoised - newest) / r0
    if len(seen) < 2:
        return first, None
    older, r1 = seen[1][0], seen[1][1] / h
    bend = (first - (newest - older) / r1) / (r0 + r1)
    return first + bend * r0, bend


def _noise(noise: DrawNoise, x: Tensor, sigma_next: float, h: float, eta: float) -> Tensor:
    """Draw the SDE's noise of a step of h in log σ, as it is at the step's end."""
    return noise(x) * (sigma_next * math.sqrt(-math.expm1(-2 * h * eta)))
