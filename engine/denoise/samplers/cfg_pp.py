"""CFG++: steps that noise the guided prediction along the slope of the unguided one.

Chung et al. (2024), "CFG++: Manifold-constrained classifier free guidance for diffusion models",
arXiv:2406.08070, algorithm 2, for Euler's step; the others carry that over to multistep and
two-stage solvers, as ComfyUI has them. "Unguided" is what the network says of the negative prompt.
Guidance is told as for other samplers; about 1 to 2 is usual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from engine.denoise.samplers.base import (
    AncestralStep,
    DrawNoise,
    Request,
    Sampling,
    ancestral_step,
    approach,
    slope,
    steps,
)


def euler_ancestral_cfg_pp(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0, *, flow: bool = False
) -> Sampling:
    """Noise the guided prediction along the unguided slope, down to below σ_next, then add noise:
    with η = 0 it adds none. On a flow steps go by the ratio of noise to latents.
    """
    for i, sigma, sigma_next in steps(sigmas):
        guided, unguided = (yield Request(x, sigma, i, unguided=True)).chunk(2)
        if sigma_next == 0:
            return guided
        share, share_next = (1 - sigma, 1 - sigma_next) if flow else (1.0, 1.0)
        ratio = sigma / share if share > 0 else math.inf
        step = ancestral_step(ratio, sigma_next / share_next, eta)
        d = slope(x, sigma, unguided * share)
        x = guided * share_next + d * (step.down * share_next)
        if eta:
            x = x + noise(x) * (step.up * share_next)
    return x


def dpmpp_2s_ancestral_cfg_pp(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 1.0
) -> Sampling:
    """Step as `dpmpp_2s_ancestral` from x moved by guided − unguided, towards the guided
    prediction from the step's middle. There unguided is the middle's, and guided the start's.
    """
    for i, sigma, sigma_next in steps(sigmas):
        guided, unguided = (yield Request(x, sigma, i, unguided=True)).chunk(2)
        step = ancestral_step(sigma, sigma_next, eta)
        if step.down > 0:
            middle = (sigma * step.down) ** 0.5
            halfway = approach(x + (guided - unguided), guided, middle / sigma)
            target, unguided = (yield Request(halfway, middle, i, unguided=True)).chunk(2)
            x = approach(x + (guided - unguided), target, step.down / sigma)
        else:
            x = guided
        x = step.add_noise(x, noise)
    return x


def dpmpp_2m_cfg_pp(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Step as `dpmpp_2m`, whose bend is from the unguided prediction before to the guided one."""
    before, old_h = x, math.inf
    for i, sigma, sigma_next in steps(sigmas):
        guided, unguided = (yield Request(x, sigma, i, unguided=True)).chunk(2)
        if sigma_next == 0:
            return guided
        ratio, h = sigma_next / sigma, math.log(sigma / sigma_next)
        ahead = guided + (x - unguided) * ratio
        if i > 0:
            ahead = ahead + (guided - before) * ((1 - ratio) * h / (2 * old_h))
        x, before, old_h = ahead, unguided, h
    return x


def res_multistep_cfg_pp(
    x: Tensor, sigmas: Sequence[float], noise: DrawNoise, eta: float = 0.0
) -> Sampling:
    """Step as `res_multistep` along unguided predictions, from x moved by guided − unguided."""
    before, old_h = x, math.inf
    for i, sigma, sigma_next in steps(sigmas):
        guided, unguided = (yield Request(x, sigma, i, unguided=True)).chunk(2)
        step = ancestral_step(sigma, sigma_next, eta) if eta else AncestralStep(sigma_next, 0)
        ratio = step.down / sigma
        if i > 0 and step.down > 0:
            h = math.log(sigma / step.down)
            ahead = approach(x + (guided - unguided), unguided, ratio)
            ahead = ahead + (unguided - before) * ((ratio - 1 + h) / old_h)
        else:
            ahead = guided + (x - unguided) * ratio
        x, before = step.add_noise(ahead, noise), unguided
        old_h = math.log(sigma / step.down) if step.down > 0 else math.inf
    return x


def gradient_estimation_cfg_pp(x: Tensor, sigmas: Sequence[float], noise: DrawNoise) -> Sampling:
    """Noise the guided prediction along the unguided slope, bent as in `gradient_estimation`."""
    before = x
    for i, sigma, sigma_next in steps(sigmas):
        guided, unguided = (yield Request(x, sigma, i, unguided=True)).chunk(2)
        if sigma_next == 0:
            return guided
        d = slope(x, sigma, unguided)
        x = guided + d * sigma_next
        if i > 0:
            x = x + (d - before) * (sigma_next - sigma)
        before = d
    return x
