"""What every sampler is made of: the request it yields, the noise it draws, the way it is driven.

A sampler is a generator over x and sigmas. It yields a `Request` for the model's view of x at σ,
is sent the `denoised` latent, and returns the last x. It never sees the model, so that one loop can
answer the requests of many jobs in one call of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Ask for the denoised latent of x, [pictures, C, h, w] fp32, at σ, in step `step` from 0."""

    x: Tensor
    sigma: float
    step: int


Sampling = Generator[Request, Tensor, Tensor]
DrawNoise = Callable[[Tensor], Tensor]  # unit noise in the shape and on the device of a tensor


class NoiseSource:
    """Draw the noise that a job adds on its way, apart from its start noise.

    A CPU generator makes a GPU and a CPU agree. Every draw is for all `count` pictures of the
    recipe and is then sliced, as the start noise is: a picture gets the same noise alone, with its
    siblings, and beside the jobs that it shares a batch with. The seed is one up, since the
    generator of the seed itself would give the start noise once more.

    The numbers are those of ComfyUI with --cpu for the ancestral samplers, ddpm and lcm. On a GPU
    it draws there; its SDE samplers take theirs from a Brownian tree of torchsde.
    """

    def __init__(self, seed: int, count: int = 1, pictures: Sequence[int] | None = None) -> None:
        self._generator = torch.Generator().manual_seed((seed + 1) % 2**64)
        self._count = count
        self._pictures = list(range(count) if pictures is None else pictures)

    def __call__(self, x: Tensor) -> Tensor:
        """Draw unit noise in the shape, [pictures, C, h, w], and on the device of x, fp32."""
        noise = torch.randn((self._count, *x.shape[1:]), generator=self._generator)
        noise = noise[self._pictures]
        # From pinned memory the copy runs beside the network, and nothing waits for it.
        return (
            noise.pin_memory().to(x.device, non_blocking=True) if x.is_cuda else noise.to(x.device)
        )


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampler and what others need to know of it.

    evaluations: model calls a step (a step to σ = 0 takes one); uses_noise: fresh noise on the
    way; drops_penultimate: the schedule leaves out its last σ above 0.
    """

    run: Callable[[Tensor, Sequence[float], DrawNoise], Sampling]
    evaluations: int = 1
    uses_noise: bool = False
    drops_penultimate: bool = False

    def __call__(self, x: Tensor, sigmas: Tensor, noise: DrawNoise) -> Sampling:
        """Begin sampling from x, [pictures, C, h, w] fp32, over sigmas, descending to 0.

        Sigmas travel as Python floats: nothing in the loop waits for a device.
        """
        return self.run(x, sigmas.tolist(), noise)


def advance(sampling: Sampling, denoised: Tensor | None = None) -> Request | Tensor:
    """Send the answer to the last request (none to begin): return the next one, or the last x."""
    try:
        return next(sampling) if denoised is None else sampling.send(denoised)
    except StopIteration as end:
        x: Tensor = end.value
        return x


def drive(sampling: Sampling, denoise: Callable[[Tensor, float], Tensor]) -> Tensor:
    """Answer every request with denoise(x, σ), and return the last x."""
    state = advance(sampling)
    while isinstance(state, Request):
        state = advance(sampling, denoise(state.x, state.sigma))
    return state


def steps(sigmas: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    """Count the steps: their number from 0, σ, and the σ they lead to."""
    return ((i, sigma, sigma_next) for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)))


def slope(x: Tensor, sigma: float, denoised: Tensor) -> Tensor:
    """Return dx/dσ of the probability-flow ODE: Karras et al. (2022), arXiv:2206.00364, eq. 1."""
    return (x - denoised) / sigma


def approach(x: Tensor, target: Tensor, ratio: float) -> Tensor:
    """Go from x towards the target until `ratio` of the way is left.

    With ratio σ_next/σ it is the exact solution of the ODE while `denoised` stays the same: in
    log σ (exponential integrators) as along the slope.
    """
    return x * ratio + target * (1 - ratio)


def combine(weights: Iterable[float], terms: Iterable[Tensor]) -> Tensor:
    """Return the weighted sum of tensors of one shape."""
    first, *rest = (term * weight for weight, term in zip(weights, terms, strict=True))
    return sum(rest, start=first)


def ancestral_step(sigma: float, sigma_next: float, eta: float = 1.0) -> tuple[float, float]:
    """Split a step into a way down and noise put back: σ_down² + σ_up² = σ_next².

    eta 1 takes the variance of the DDPM posterior, 0 puts no noise back: Song et al. (2021),
    arXiv:2010.02502, equation 16.
    """
    up = min(sigma_next, eta * sigma_next * (1 - (sigma_next / sigma) ** 2) ** 0.5)
    return (sigma_next**2 - up**2) ** 0.5, up
