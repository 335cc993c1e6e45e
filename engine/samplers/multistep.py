"""Deterministic samplers that learn from the steps before."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from engine.samplers.base import NoiseSource, Request, Sampling, steps


def dpmpp_2m(x: Tensor, sigmas: Sequence[float], noise: NoiseSource) -> Sampling:
    """Extrapolate `denoised` linearly in log σ: DPM-Solver++(2M), Lu et al. (2022),
    arXiv:2211.01095, algorithm 2. The first and the last step are of first order.
    """
    old_denoised, old_h = x, 0.0
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(x, sigma, i)
        target, h = denoised, math.inf
        if sigma_next > 0:
            h = math.log(sigma / sigma_next)
            if i > 0:
                target = denoised + (denoised - old_denoised) * (h / (2 * old_h))
        x = x * (sigma_next / sigma) + target * (1 - sigma_next / sigma)
        old_denoised, old_h = denoised, h
    return x
