"""SA-Solver: a stochastic Adams method, whose steps are corrected by the next prediction."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

import numpy as np
from torch import Tensor

from engine.denoise.samplers.base import DrawNoise, Request, Sampling, combine, steps
from engine.denoise.samplers.multistep import GAUSS_POINTS, GAUSS_WEIGHTS, lagrange

PREDICTED: Final = 3  # predictions at most that a step takes
CORRECTED: Final = 4  # and its correction


def sa_solver(
    x: Tensor,
    sigmas: Sequence[float],
    noise: DrawNoise,
    *,
    noisy: Sequence[bool],
    again: bool = False,
) -> Sampling:
    """Predict x at σ_next from up to three predictions, and correct it by the one there: Xue et
    al. (2023), arXiv:2309.05019, algorithm 1, on `denoised`, with τ = 1 in noisy steps, else 0.
    Towards σ = 0 orders fall to 1.

    noisy: for each step whether it adds noise; again: predict anew from the corrected x (PECE).
    """
    logs = [-math.log(sigma) if sigma > 0 else math.inf for sigma in sigmas]
    seen: deque[Tensor] = deque(maxlen=CORRECTED)
    ahead, added, rate = x, x * 0, 1
    for i, sigma, sigma_next in steps(sigmas):
        denoised = yield Request(ahead, sigma, i)
        seen.appendleft(denoised)
        left = len(sigmas) - 1 - i if sigmas[-1] == 0 else len(sigmas)  # steps to σ = 0
        if i > 0 and (again or sigma_next > 0):
            order = min(CORRECTED, len(seen), left)
            past = logs[i - order + 1 : i + 1]
            x = _moved(x, seen, past, (logs[i - 1], logs[i]), rate) + added
            if again:
                seen[0] = denoised = yield Request(x, sigma, i)
        else:
            x = ahead
        if sigma_next == 0:
            return denoised
        order = min(PREDICTED, len(seen), left - 1)
        past, rate = logs[i - order + 1 : i + 1], 2 if noisy[i] else 1  # 1 + τ²
        ahead = _moved(x, seen, past, (logs[i], logs[i + 1]), rate)
        added = x * 0
        if noisy[i]:
            added = noise(x) * math.sqrt(sigma_next**2 - sigma_next**4 / sigma**2)
            ahead = ahead + added
    return ahead


def _moved(
    x: Tensor,
    seen: Sequence[Tensor],
    past: Sequence[float],
    span: tuple[float, float],
    rate: float,
) -> Tensor:
    """Move x over a span of λ = −log σ, along the polynomial through the predictions at `past`.

    past: λ, newest last; seen: predictions, newest first. A prediction at λ weighs
    rate·e^(−rate·(end − λ)).
    """
    start, end = span
    half = (end - start) / 2
    places = start + half * (1 + GAUSS_POINTS)
    shares = half * rate * GAUSS_WEIGHTS * np.exp(-rate * (end - places))
    weights = [float(shares @ each) for each in lagrange(np.array(past[::-1]), places)]
    newest = islice(seen, len(past))
    return x * math.exp(-rate * (end - start)) + combine(weights, newest)
