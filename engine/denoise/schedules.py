"""Schedules: which sigmas a sampler visits.

σ (sigma) is the standard deviation of the noise on a latent of unit scale, in the
variance-exploding form of Karras et al. (2022): x = latent + σ·noise. t is the index of σ in the
table of noise levels that the model was trained with. All tensors here are small and lie on the
CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from engine.denoise.samplers import SAMPLERS
from engine.errors import OptionError
from engine.loading.noise_schedule import SigmaTable
from engine.recipe.limits import Range, one_of
from engine.sentences import Sentence

STRENGTHS: Final = Range(0.01, 1)


def normal(noise: SigmaTable, steps: int) -> Tensor:
    """Space timesteps evenly, both ends of the table included."""
    return _end(noise.sigma(torch.linspace(*noise.timesteps, steps)))


def sgm_uniform(noise: SigmaTable, steps: int) -> Tensor:
    """Space timesteps evenly, without the table's low end (Stability's generative-models)."""
    return _end(noise.sigma(torch.linspace(*noise.timesteps, steps + 1)[:-1]))


def karras(noise: SigmaTable, steps: int, rho: float = 7.0) -> Tensor:
    """Space σ^(1/ρ) evenly: Karras et al. (2022), arXiv:2206.00364, equation 5."""
    high, low = noise.sigma_max ** (1 / rho), noise.sigma_min ** (1 / rho)
    return _end((high + torch.linspace(0, 1, steps) * (low - high)) ** rho)


def exponential(noise: SigmaTable, steps: int) -> Tensor:
    """Space log σ evenly."""
    return _end(torch.linspace(math.log(noise.sigma_max), math.log(noise.sigma_min), steps).exp())


def simple(noise: SigmaTable, steps: int) -> Tensor:
    """Take every (table/steps)-th entry of the table, from the top."""
    stride = len(noise.sigmas) / steps
    return _end(noise.sigmas.flip(0)[[int(i * stride) for i in range(steps)]])


def ddim_uniform(noise: SigmaTable, steps: int) -> Tensor:
    """Take every (table//steps)-th entry from the second on, up: Song et al. (2021), DDIM.

    The whole stride means other numbers of steps than asked for (30 gives 31), and a start below
    the table's top.
    """
    stride = max(len(noise.sigmas) // steps, 1)
    return _end(noise.sigmas[1::stride].flip(0))


def beta(noise: SigmaTable, steps: int, shape: float = 0.6) -> Tensor:
    """Take timesteps at quantiles of Beta(.6, .6): dense at both ends. Lee et al. (2024),
    arXiv:2407.12173. Timesteps that round to the same one are taken once.
    """
    last = len(noise.sigmas) - 1
    # Timestep k is where quantile·last rounds to k, so the bounds between timesteps give it
    # from the distribution function alone, without inverting it.
    bounds = _beta_cdf((torch.arange(last, dtype=torch.float64) + 0.5) / last, shape)
    probabilities = 1 - torch.arange(steps, dtype=torch.float64) * (1 / steps)
    timesteps = torch.searchsorted(bounds, probabilities, right=True)
    return _end(noise.sigmas[_without_repeats(timesteps)])


def _beta_cdf(x: Tensor, a: float, terms: int = 64) -> Tensor:
    """Return the regularised incomplete beta function I_x(a, a) of x in [0, 1], float64.

    x^a·Σ (1−a)_n x^n / (n!·(a+n)) (Abramowitz & Stegun 6.6.8 with 15.1.1) converges like 2^−n up
    to ½; I_{1−x} = 1 − I_x gives the upper half, and I_½ = ½ the constant.
    """
    lower = torch.minimum(x, 1 - x)
    half = torch.tensor(0.5, dtype=x.dtype)
    total, total_half, factor = torch.zeros_like(x), torch.zeros_like(half), 1.0
    for n in range(terms):
        total += factor / (a + n) * lower ** (a + n)
        total_half += factor / (a + n) * half ** (a + n)
        factor *= (n + 1 - a) / (n + 1)
    cdf = 0.5 * total / total_half
    return torch.where(x <= 0.5, cdf, 1 - cdf)


def _without_repeats(values: Tensor) -> Tensor:
    """Drop each value that equals the one before it."""
    return values[torch.cat([torch.ones(1, dtype=torch.bool), values.diff() != 0])]


def _end(sigmas: Tensor) -> Tensor:
    """Append the σ = 0 of the finished picture."""
    return torch.cat([sigmas, sigmas.new_zeros(1)])


SCHEDULES: Final[Mapping[str, Callable[[SigmaTable, int], Tensor]]] = {
    "normal": normal,
    "karras": karras,
    "exponential": exponential,
    "simple": simple,
    "sgm_uniform": sgm_uniform,
    "ddim_uniform": ddim_uniform,
    "beta": beta,
}


def sigmas_for(
    sampler: str,
    schedule: str,
    steps: int,
    strength: float = 1.0,
    *,
    noise_schedule: SigmaTable,
) -> Tensor:
    """Return the sigmas that a sampler walks down: [actual steps + 1] fp32, descending to 0.

    Strength below 1 starts later, on a noised latent: of int(steps/strength) steps the last
    `steps` are taken. A σ that comes twice in a row (a schedule asked for more steps than its
    table has) is taken once: such a step does nothing, and multistep samplers divide by its length.
    Raises `OptionError`.
    """
    for option, name, known in (("sampler", sampler, SAMPLERS), ("schedule", schedule, SCHEDULES)):
        if name not in known:
            raise OptionError(option, name, one_of(known, name))
    if noise_schedule.is_flow and not SAMPLERS[sampler].flows:
        fitting = one_of((name for name, each in SAMPLERS.items() if each.flows), sampler)
        raise OptionError("sampler", sampler, Sentence("allowed_for_model", allowed=fitting))
    if steps < 1:
        raise OptionError("steps", steps, Sentence("whole_above_zero"))
    if strength not in STRENGTHS:
        raise OptionError("strength", strength, STRENGTHS.said())
    drop = SAMPLERS[sampler].drops_penultimate
    sigmas = SCHEDULES[schedule](noise_schedule, int(steps / strength) + drop)
    if drop:
        sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
    if strength < 1:
        sigmas = sigmas[-(steps + 1) :]
    return _without_repeats(sigmas)
