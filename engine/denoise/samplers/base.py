"""What samplers share: their requests, common steps, and how they are run.

A sampler is a generator over x and sigmas. It yields a `Request` for the denoised latents of x at
σ, is sent `denoised`, and returns the last x. It does not call the model, so that one loop can
answer the requests of many jobs in one call of the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.denoise.flow import FlowSchedule
from engine.loading.noise_schedule import NoiseSchedule, SigmaTable


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A request for the denoised latents of x, [pictures, C, h, w] fp32, at σ; step: from 0.

    call: which request of a sampler it is, from 0; corner: of a tile in the latents: top, left;
    unguided: the answer holds the prediction for the negative prompt, too, behind the guided one:
    [2·pictures, C, h, w].
    """

    x: Tensor
    sigma: float
    step: int
    call: int = 0
    corner: tuple[int, int] = (0, 0)
    unguided: bool = False


Sampling = Generator[Request, Tensor, Tensor]
DrawNoise = Callable[[Tensor], Tensor]  # unit noise in the shape and on the device of a tensor


# Of x, [pictures, C, h, w], sigmas and a source of noise; some take more by name.
Run = Callable[..., Sampling]


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampler, and what schedules and estimates depend on.

    on_flow: what runs instead on a flow model's noise; evaluations: model calls a step (a step to
    σ = 0 takes one, and with fewer steps ahead there may be fewer); uses_noise: adds noise between
    steps; brownian: that of a path in σ, and with two evaluations first as far as to a step's
    middle, then to its end; drops_penultimate: the schedule leaves out its last σ above 0; flows:
    it makes sense for flow models; finite: on these it needs a first σ below 1; noisy_between:
    shares of the model's time, 0 at its first σ to 1 at σ = 0; it adds noise in steps that end
    between these, and takes for each step whether it does so (`noisy`); unguided: it requests the
    prediction for the negative prompt, too.
    """

    run: Run
    on_flow: Run | None = None
    evaluations: int = 1
    uses_noise: bool = False
    brownian: bool = False
    drops_penultimate: bool = False
    flows: bool = True
    finite: bool = False
    noisy_between: tuple[float, float] | None = None
    unguided: bool = False

    def __call__(
        self, x: Tensor, sigmas: Tensor, noise: DrawNoise, table: SigmaTable | None = None
    ) -> Sampling:
        """Start sampling from x, [pictures, C, h, w] fp32, over sigmas, descending to 0.

        table: of the model's noise, by default Stable Diffusion's. Sigmas are passed on as Python
        floats, so that the loop does not wait for a device.
        """
        table = table or NoiseSchedule()
        flow = table if isinstance(table, FlowSchedule) else None
        run = self.run if flow is None else self.on_flow or self.run
        levels = self.levels(sigmas, flow)
        if self.noisy_between:
            high, low = map(table.sigma_after, self.noisy_between)
            run = partial(run, noisy=[high >= sigma >= low for sigma in levels[1:]])
        return run(x, levels, noise)

    def levels(self, sigmas: Tensor, flow: FlowSchedule | None = None) -> list[float]:
        """Return the σ that it visits: on a flow its first one may have to be below 1."""
        levels: list[float] = sigmas.tolist()
        if flow is not None and self.finite and levels[0] >= 1:
            levels[0] = flow.sigma_finite
        return levels


def advance(sampling: Sampling, denoised: Tensor | None = None) -> Request | Tensor:
    """Send the last request's denoised latents (None: start); return the next request or x."""
    try:
        return next(sampling) if denoised is None else sampling.send(denoised)
    except StopIteration as end:
        x: Tensor = end.value
        return x


def numbered(sampling: Sampling) -> Sampling:
    """Count a sampler's requests; it wraps it and is itself one."""
    state, call = advance(sampling), 0
    while isinstance(state, Request):
        denoised = yield replace(state, call=call)
        state, call = advance(sampling, denoised), call + 1
    return state


def drive(sampling: Sampling, denoise: Callable[[Tensor, float], Tensor]) -> Tensor:
    """Answer every request with denoise(x, σ), and return the last x.

    One answer for each picture stands for the guided and the unguided prediction.
    """
    state = advance(sampling)
    while isinstance(state, Request):
        denoised = denoise(state.x, state.sigma)
        if state.unguided and len(denoised) == len(state.x):
            denoised = torch.cat([denoised, denoised])
        state = advance(sampling, denoised)
    return state


def steps(sigmas: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    """Yield each step's number from 0, σ and σ_next."""
    return ((i, sigma, sigma_next) for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)))


def slope(x: Tensor, sigma: float, denoised: Tensor) -> Tensor:
    """Return dx/dσ of the probability-flow ODE: Karras et al. (2022), arXiv:2206.00364, eq. 1."""
    return (x - denoised) / sigma


def approach(x: Tensor, target: Tensor, ratio: float) -> Tensor:
    """Return x moved towards the target, with `ratio` of the distance left.

    With ratio σ_next/σ it is the exact solution of the ODE while `denoised` stays the same: in
    log σ (exponential integrators) as along the slope.
    """
    return x * ratio + target * (1 - ratio)


def mean_place(length: float) -> float:
    """Return where on a step, 0 at its start to 1 at its end, a target that moves evenly counts
    as if it stayed there: φ₂(−length)/φ₁(−length). `length` of the target's weight e^length.

    Hochbruck & Ostermann (2010), "Exponential integrators", section 2.
    """
    return (math.expm1(-length) + length) / (length * -math.expm1(-length))


def combine(weights: Iterable[float], terms: Iterable[Tensor]) -> Tensor:
    """Return the weighted sum of tensors of one shape."""
    first, *rest = (term * weight for weight, term in zip(weights, terms, strict=True))
    return sum(rest, start=first)


class AncestralStep(NamedTuple):
    """Step to σ `down`, then take x·scale + noise·up, which is at σ_next."""

    down: float
    up: float
    scale: float = 1.0

    def add_noise(self, x: Tensor, noise: DrawNoise) -> Tensor:
        """Return x at σ_next, from x at σ `down`; nothing is drawn where no noise is added."""
        if self.scale != 1:
            x = x * self.scale
        return x + noise(x) * self.up if self.up > 0 else x


def ancestral_step(
    sigma: float, sigma_next: float, eta: float = 1.0, *, flow: bool = False
) -> AncestralStep:
    """Return the parts of an ancestral step; eta: 1 gives DDPM's variance, 0 adds no noise.

    σ_down² + σ_up² = σ_next²: Song et al. (2021), arXiv:2010.02502, equation 16. On a flow x is
    scaled so that its part of the latent is 1 − σ_next, as in ComfyUI.
    """
    if flow:
        down = sigma_next * (1 + (sigma_next / sigma - 1) * eta)
        scale = (1 - sigma_next) / (1 - down)
        return AncestralStep(down, max(sigma_next**2 - (down * scale) ** 2, 0) ** 0.5, scale)
    up = min(sigma_next, eta * sigma_next * (1 - (sigma_next / sigma) ** 2) ** 0.5)
    return AncestralStep((sigma_next**2 - up**2) ** 0.5, up)


def by_noise_ratio(run: Run) -> Run:
    """Return a sampler of variance-exploding noise for flows: it works on x/(1 − σ), whose noise
    has the deviation σ/(1 − σ). The first σ must be below 1.
    """

    def sampling(x: Tensor, sigmas: Sequence[float], noise: DrawNoise, **more: Any) -> Sampling:
        ratios = [sigma / (1 - sigma) for sigma in sigmas]
        inner = run(x / (1 - sigmas[0]), ratios, noise, **more)
        state = advance(inner)
        while isinstance(state, Request):
            sigma = state.sigma / (1 + state.sigma)
            denoised = yield Request(state.x * (1 - sigma), sigma, state.step)
            state = advance(inner, denoised)
        return state * (1 - sigmas[-1])

    return sampling
