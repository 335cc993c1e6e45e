"""Multistep samplers: they use previous predictions, with one evaluation a step.

The first step, which has no previous one, is of first order, and so is the last one, to σ = 0.
Histories are ordered newest first.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.denoise.samplers.base import (
    AncestralStep,
    DrawNoise,
    Request,
    Sampling,
    ancestral_step,
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


def res_multistep(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 0.0
) -> Sampling:
    """Extrapolate `denoised` linearly in log σ along the whole step: refined exponential solver,
    multistep, Zhang et al. (2023), arXiv:2308.02157. With η = 1 it steps below σ_next and adds the
    noise of `euler_ancestral`.
    """
    old_denoised, old_h = x, math.inf
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        step = ancestral_step(sigma, sigma_next, eta) if eta else AncestralStep(sigma_next, 0)
        ratio, h = step.down / sigma, _length(sigma, step.down)
        ahead = approach(x, denoised, ratio)
        if i > 0 and step.down > 0:
            phi_2 = (ratio - 1 + h) / h**2
            ahead = ahead + (denoised - old_denoised) * (h * h * phi_2 / old_h)
        x, old_denoised, old_h = step.add_noise(ahead, noise), denoised, h
    return x


def gradient_estimation(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Follow twice the slope less the one before: Permenter & Yuan (2024), "Interpreting and
    improving diffusion models from an optimization perspective", arXiv:2306.04848, algorithm 2
    with γ = 2.
    """
    gamma = 2.0

    def coefficients(past: Sequence[float], end: float) -> Sequence[float]:
        shares = (gamma, 1 - gamma) if len(past) == 2 else (1.0,)
        return [(end - past[0]) * share for share in shares]

    return _extrapolate_slopes(x, sigmas, 2, coefficients)


def ipndm_v(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Extrapolate the slope of up to four steps of their own lengths: `ipndm` with variable steps,
    in Zhang & Chen (2023), arXiv:2204.13902.

    Weights beyond the second slope are those of its authors' code, which ComfyUI has too: they are
    not quite those of Adams–Bashforth, so that the order stays 2.
    """
    return _extrapolate_slopes(x, sigmas, 4, _variable_weights)


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
    polynomials = lagrange(clock(np.asarray(past)), times)
    return [float(half * GAUSS_WEIGHTS @ each) for each in polynomials]


def lagrange(nodes: Array, places: Array) -> Iterator[Array]:
    """Yield the values at places of each node's polynomial, 1 there and 0 at the other nodes."""
    for j, node in enumerate(nodes):
        others = np.delete(nodes, j)
        yield np.prod((places[:, None] - others) / (node - others), axis=1)


def _vp_time(sigma: Array) -> Array:
    """Return the time t of σ in the VP process with σ(.001) = .002 and σ(1) = 80, linear in β:
    log(σ² + 1) = β_d·t²/2 + β_min·t. Karras et al. (2022), arXiv:2206.00364, appendix C.1.
    """
    early, low, high = 1e-3, math.log1p(0.002**2), math.log1p(80.0**2)
    beta_d = 2 * (low / early - high) / (early - 1)
    beta_min = high - beta_d / 2
    return (np.sqrt(beta_min**2 + 2 * beta_d * np.log1p(sigma**2)) - beta_min) / beta_d


def _variable_weights(past: Sequence[float], end: float) -> list[float]:
    """Return the weights of the slopes at the sigmas `past` in `ipndm_v`'s step to `end`."""
    h, *before = (late - early for late, early in pairwise((end, *past)))
    weights = np.zeros(4)
    weights[0] = 1
    if before:
        first = before[0]
        weights[:2] += np.array([1, -1]) * h / first / 2
    if len(before) > 1:
        second = before[1]
        bend = np.array([1, -1 - first / second, first / second])
        share = (1 - h / (3 * (h + first)) * _spread(h, first) / _spread(first, second)) / 2
        weights[:3] += bend * share
    if len(before) > 2:
        third = before[2]
        older = _spread(first, second) / _spread(second, third)
        share = (1 - h / (3 * (h + first))) / 2
        share += (1 - h / (2 * (h + first))) * h / (6 * (h + first + second))
        share *= _spread(h, first) * (h + first + second)
        share /= _spread(first, second) * (first + second + third)
        weights[:3] += bend * share
        weights[1:] += np.array([-1, 1 + second / third, -first / second]) * older * share
    return [h * weight for weight in weights[: len(past)]]


def _spread(first: float, second: float) -> float:
    return first * (first + second)
