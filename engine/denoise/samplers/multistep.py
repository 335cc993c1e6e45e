"""Deterministic multistep samplers: they use previous predictions, with one evaluation a step.

The first step, which has no previous one, is of first order, and so is the last one, to σ = 0.
Histories are ordered newest first.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.denoise.samplers.base import (
    DrawNoise,
    Request,
    Sampling,
    approach,
    combine,
    slope,
    steps,
)

Array = NDArray[np.float64]

# Of the slopes of 1 to 4 equal steps, newest first: Hairer, Nørsett & Wanner, Solving Ordinary
# Differential Equations I, section III.1.
ADAMS_BASHFORTH: Final = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
GAUSS_POINTS, GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(32)


def lms(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Extrapolate the slope as a polynomial in σ, of up to four steps: the linear multistep
    (Adams–Bashforth) method with uneven steps, of Katherine Crowson's k-diffusion; Hairer, Nørsett
    & Wanner, Solving Ordinary Differential Equations I, section III.5.
    """
    return _extrapolate_slopes(x, sigmas, 4, lambda past, end: _integrals(past, end, np.asarray))


def deis(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Extrapolate the slope as a polynomial in the time of a VP process, of up to three steps:
    tAB-DEIS, Zhang & Chen (2023), arXiv:2204.13902.
    """
    return _extrapolate_slopes(x, sigmas, 3, lambda past, end: _integrals(past, end, _vp_time))


def ipndm(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Extrapolate the slope of up to four steps as if they were equally long: improved PNDM,
    in Zhang & Chen (2023), arXiv:2204.13902, after Liu et al. (2022), arXiv:2202.09778.
    """

    def coefficients(past: Sequence[float], end: float) -> Sequence[float]:
        return [(end - past[0]) * share for share in ADAMS_BASHFORTH[len(past) - 1]]

    return _extrapolate_slopes(x, sigmas, 4, coefficients)


def dpmpp_2m(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Extrapolate `denoised` linearly in log σ to the step's middle: DPM-Solver++(2M), Lu et al.
    (2022), arXiv:2211.01095, algorithm 2.
    """
    old_denoised, old_h = x, math.inf
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        target, h = denoised, _length(sigma, sigma_next)
        if i > 0 and sigma_next > 0:
            target = denoised + (denoised - old_denoised) * (h / (2 * old_h))
        x = approach(x, target, sigma_next / sigma)
        old_denoised, old_h = denoised, h
    return x


def res_multistep(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Extrapolate `denoised` linearly in log σ along the whole step: refined exponential solver,
    multistep, Zhang et al. (2023), arXiv:2308.02157.
    """
    old_denoised, old_h = x, math.inf
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        ratio, h = sigma_next / sigma, _length(sigma, sigma_next)
        ahead = approach(x, denoised, ratio)
        if i > 0 and sigma_next > 0:
            phi_2 = (ratio - 1 + h) / h**2
            ahead = ahead + (denoised - old_denoised) * (h * h * phi_2 / old_h)
        x, old_denoised, old_h = ahead, denoised, h
    return x


def _extrapolate_slopes(
    x: Tensor,
    sigmas: Sequence[float],
    order: int,
    coefficients: Callable[[Sequence[float], float], Sequence[float]],
) -> Sampling:
    """Step along a weighted sum of the latest slopes, at most `order` of them.

    coefficients(past, end) weighs the slopes at the sigmas `past` for the step to `end`.
    """
    slopes: deque[Tensor] = deque(maxlen=order)
    past: deque[float] = deque(maxlen=order)
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        slopes.appendleft(slope(x, sigma, denoised))
        past.appendleft(sigma)
        x = x + combine(coefficients(past, sigma_next), slopes) if sigma_next > 0 else denoised
    return x


def _length(sigma: float, sigma_next: float) -> float:
    """Return the length of a step in log σ, infinite down to 0."""
    return math.log(sigma / sigma_next) if sigma_next > 0 else math.inf


def _integrals(past: Sequence[float], end: float, clock: Callable[[Array], Array]) -> list[float]:
    """Integrate the Lagrange polynomials over the times clock(past), for σ from past[0] to end."""
    half = (end - past[0]) / 2
    times = clock(past[0] + half * (1 + GAUSS_POINTS))
    nodes = clock(np.asarray(past))
    integrals = []
    for j, node in enumerate(nodes):
        others = np.delete(nodes, j)
        basis = np.prod((times[:, None] - others) / (node - others), axis=1)
        integrals.append(float(half * GAUSS_WEIGHTS @ basis))
    return integrals


def _vp_time(sigma: Array) -> Array:
    """Return the time t of σ in the VP process with σ(.001) = .002 and σ(1) = 80, linear in β:
    log(σ² + 1) = β_d·t²/2 + β_min·t. Karras et al. (2022), arXiv:2206.00364, appendix C.1.
    """
    early, low, high = 1e-3, math.log1p(0.002**2), math.log1p(80.0**2)
    beta_d = 2 * (low / early - high) / (early - 1)
    beta_min = high - beta_d / 2
    return (np.sqrt(beta_min**2 + 2 * beta_d * np.log1p(sigma**2)) - beta_min) / beta_d
