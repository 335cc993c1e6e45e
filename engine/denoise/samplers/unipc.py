"""UniPC: a predictor whose steps are corrected by the next prediction."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.denoise.samplers.base import DrawNoise, Request, Sampling, approach, combine, steps

Array = NDArray[np.float64]

END: Final = 0.001  # σ, instead of 0, where λ = −log σ is infinite
FLOW_END: Final = 0.0009765629656612873  # what ComfyUI's fp32 makes of 0.001


def uni_pc(
    x: Tensor,
    sigmas: Sequence[float],
    noise: DrawNoise,
    *,
    variant: str = "bh1",
    flow: bool = False,
) -> Sampling:
    """Predict x at σ_next from up to three steps, and correct it by the prediction there: UniPC
    of order 3 on `denoised`, Zhao et al. (2023), arXiv:2302.04867, with B(h) = h (bh1) or
    e^h − 1 (bh2). Towards the end orders fall to 1.

    As in ComfyUI the end is σ = .001 instead of 0, which leaves a thousandth of noise; on a flow x
    is scaled for the latents lacking a thousandth.
    """
    ends = [max(sigma, FLOW_END if flow else END) for sigma in sigmas]
    logs = [math.log(sigma) for sigma in ends]
    seen: deque[Tensor] = deque(maxlen=3)
    arrival, changes, corrector = x, list[Tensor](), np.zeros(0)
    for i, sigma, sigma_next in steps(ends):
        denoised = yield Request(x, sigma, i)
        if i > 0:
            x = arrival + combine(corrector, [*changes, denoised - seen[0]])
        seen.appendleft(denoised)
        order = min(3, i + 1, len(ends) - 1 - i)
        h = logs[i] - logs[i + 1]
        ratios = [(logs[i] - logs[i - k]) / h for k in range(1, order)]
        changes = [(seen[k + 1] - denoised) / ratio for k, ratio in enumerate(ratios)]
        predictor, corrector = _weights(h, ratios, variant)
        arrival = approach(x, denoised, sigma_next / sigma)
        x = arrival + combine(predictor, changes) if changes else arrival
    return x / (1 - END) if flow and sigmas[-1] == 0 else x


def _weights(h: float, ratios: Sequence[float], variant: str) -> tuple[Array, Array]:
    """Return the weights of UniPC's predictor and corrector for a step of h in log σ.

    ratios: (λ_k − λ_0)/h of the steps before, λ = −log σ. The predictor weighs the k divided
    differences of the past, the corrector also that to the next prediction, which is last.
    """
    order = len(ratios) + 1
    b_h = -h if variant == "bh1" else math.expm1(-h)
    phi = math.expm1(-h) / -h  # φ_1(−h); φ_{k+1}(z) = (φ_k(z) − 1/k!)/z
    right = []
    for k in range(1, order + 1):
        phi = (phi - 1 / math.factorial(k)) / -h
        right.append(phi * math.factorial(k) * -h / b_h)
    powers = np.vander([*ratios, 1.0], order, increasing=True).T
    # The paper's simplifications: ½ solves the smallest systems up to their order.
    corrector = np.linalg.solve(powers, right) if order > 1 else [0.5]
    predictor = np.linalg.solve(powers[:-1, :-1], right[:-1]) if order > 2 else [0.5]
    return -b_h * np.array(predictor[: order - 1]), -b_h * np.array(corrector)
