"""Exponential Runge–Kutta solvers of the reverse SDE, on `denoised` and in log σ, single-step.

SEEDS: Gonzalez et al. (2023), arXiv:2305.14267. Heun's form: Hochbruck & Ostermann (2010),
"Exponential integrators", section 2. η = 1 is the reverse SDE, η = 0 the probability-flow ODE. The
noise to a step's end holds that to the places on the way, since one path leads to all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from engine.denoise.samplers.base import (
    DrawNoise,
    Request,
    Sampling,
    approach,
    mean_place,
    steps,
)


def seeds_2(x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0) -> Sampling:
    """Step towards the prediction from the step's middle: SEEDS-2, of second order."""
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        if sigma_next == 0:
            return denoised
        step = _Step(x, sigma, sigma_next, noise, eta)
        middle, halfway = step.to(1 / 2, denoised)
        denoised = yield Request(halfway, middle, i)
        _, x = step.to(1, denoised)
    return x


def seeds_3(x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0) -> Sampling:
    """Step towards predictions from a third and two thirds of the step: SEEDS-3, of third order."""
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        if sigma_next == 0:
            return denoised
        step = _Step(x, sigma, sigma_next, noise, eta)
        level, place = step.to(1 / 3, denoised)
        later = yield Request(place, level, i)
        level, place = step.to(2 / 3, denoised, (1 / 3, later))
        later = yield Request(place, level, i)
        _, x = step.to(1, denoised, (2 / 3, later))
    return x


def exp_heun_2_x0(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 0.0
) -> Sampling:
    """Step towards the predictions from the step's start and end: the exponential form of Heun's
    method, of second order.
    """
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        if sigma_next == 0:
            return denoised
        step = _Step(x, sigma, sigma_next, noise, eta)
        level, ahead = step.to(1, denoised)
        later = yield Request(ahead, level, i)
        _, x = step.to(1, denoised, (1, later))
    return x


class _Step:
    """One step, and the noise of its path as far as it was walked."""

    def __init__(
        self, x: Tensor, sigma: float, sigma_next: float, noise: DrawNoise, eta: float
    ) -> None:
        self._x, self._sigma, self._sigma_next = x, sigma, sigma_next
        self._noise, self._eta = noise, eta
        self._length = math.log(sigma / sigma_next)
        self._done = 0.0
        self._walked: Tensor | float = 0.0

    def to(
        self, share: float, denoised: Tensor, later: tuple[float, Tensor] | None = None
    ) -> tuple[float, Tensor]:
        """Return σ and x after a share of the step in log σ, with the noise of the way there.

        denoised: of the step's start; later: another share of the step, and the prediction there;
        between and beyond them predictions are taken to move evenly.
        """
        length = share * self._length * (1 + self._eta)
        level = self._sigma * math.exp(-share * self._length) if share < 1 else self._sigma_next
        if later is not None:
            place, moved = later
            denoised = denoised + (moved - denoised) * (share / place * mean_place(length))
        x = approach(self._x, denoised, math.exp(-length))
        return level, x + self._walk(share) * level if self._eta else x

    def _walk(self, share: float) -> Tensor:
        """Walk on to a share of the step; return the path's noise there, for σ = 1."""
        length = (share - self._done) * self._length * self._eta
        fresh = self._noise(self._x) * math.sqrt(-math.expm1(-2 * length))
        walked = self._walked * math.exp(-length) + fresh
        self._done, self._walked = share, walked
        return walked
