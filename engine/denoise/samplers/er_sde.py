"""ER-SDE: a reverse SDE with more noise than the usual one while σ is high."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.denoise.samplers.base import DrawNoise, Request, Sampling, approach, steps

Array = NDArray[np.floating]

POINTS: Final = 200  # at which the integrals of a step are summed up, as in every published code


def er_sde(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Extrapolate `denoised` as a parabola in σ, with the noise of an extended reverse-time SDE:
    ER-SDE-Solver-3, Cui et al. (2023), arXiv:2309.06169, algorithm 3, with the noise scale
    φ(σ) = σ·(exp(σ^0.3) + 10).
    """
    old_denoised = old_slope = x
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        if sigma_next == 0:
            return denoised
        end = float(_scale(sigma_next))
        ratio = end / float(_scale(sigma))
        x, way = approach(x, denoised, ratio), sigma_next - sigma
        # ∫ 1/φ and ∫ (σ' − σ)/φ over the step.
        places = sigma_next - way / POINTS * np.arange(POINTS)
        shares = -way / POINTS / _scale(places)
        if i > 0:
            slope = (denoised - old_denoised) / (sigma - sigmas[i - 1])
            x = x + slope * float(way + end * shares.sum())
            if i > 1:
                bend = (slope - old_slope) / ((sigma - sigmas[i - 2]) / 2)
                x = x + bend * float(way**2 / 2 + end * (shares * (places - sigma)).sum())
            old_slope = slope
        old_denoised = denoised
        x = x + noise(x) * math.sqrt(max(sigma_next**2 - (sigma * ratio) ** 2, 0.0))
    return x


def _scale(sigma: Array | float) -> Array:
    """Return φ of σ."""
    return np.asarray(sigma * (np.exp(np.power(sigma, 0.3)) + 10))
