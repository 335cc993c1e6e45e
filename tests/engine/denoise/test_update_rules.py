"""Samplers with noise against the update rules of their papers, in the papers' own variables, fp64.

Marble's samplers run on x = latent + σ·noise. The papers run on y = α·latent + s·noise with
α² + s² = 1, so σ = s/α and y = α·x; λ = log(α/s) = −log σ. Each rule below is written as its paper
has it, and given the very noise that the sampler drew.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from engine.denoise.samplers import SAMPLERS, drive
from engine.denoise.schedules import SCHEDULES
from engine.loading.noise_schedule import NoiseSchedule
from tests.bench.orders import denoise

Draw = Callable[[], Tensor]
# y at one σ → y at the next, by what is between; `past` holds (λ, denoised), newest first.
Past = list[tuple[float, Tensor]]
Rule = Callable[[Tensor, float, float, Draw, Past], Tensor]

STEPS = 8


def alpha(sigma: float) -> float:
    return 1 / math.sqrt(1 + sigma**2)


def s(sigma: float) -> float:
    return sigma * alpha(sigma)


def seen(y: Tensor, sigma: float) -> Tensor:
    """Return the denoised latent, x_θ(y, t) of DPM-Solver++."""
    return denoise(y / alpha(sigma), sigma)


def noise_in(y: Tensor, sigma: float) -> Tensor:
    """Return the noise that is seen, ε_θ(y, t)."""
    return (y - alpha(sigma) * seen(y, sigma)) / s(sigma)


def ddim(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Song et al. (2021), arXiv:2010.02502, equations 12 and 16 with η = 1."""
    bar, bar_end = alpha(sigma) ** 2, alpha(end) ** 2
    spread = math.sqrt((1 - bar_end) / (1 - bar)) * math.sqrt(1 - bar / bar_end)
    direction = math.sqrt(1 - bar_end - spread**2) * noise_in(y, sigma)
    return math.sqrt(bar_end) * seen(y, sigma) + direction + spread * draw()


def ddpm(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Ho et al. (2020), arXiv:2006.11239, equation 7: draw from q(y_end | y, latent)."""
    bar, bar_end = alpha(sigma) ** 2, alpha(end) ** 2
    beta = 1 - bar / bar_end
    to_latent = math.sqrt(bar_end) * beta / (1 - bar)
    to_y = math.sqrt(1 - beta) * (1 - bar_end) / (1 - bar)
    mean = to_latent * seen(y, sigma) + to_y * y
    return mean + math.sqrt((1 - bar_end) / (1 - bar) * beta) * draw()


def down_and_up(sigma: float, end: float) -> tuple[float, float]:
    """Split a step as k-diffusion's ancestral samplers do: Song et al., equation 16, in σ."""
    up = math.sqrt(end**2 * (sigma**2 - end**2) / sigma**2)
    return math.sqrt(end**2 - up**2), up


def noised(y: Tensor, down: float, up: float, end: float, draw: Draw) -> Tensor:
    """Go from y at σ = down to y at σ = end by adding noise to x."""
    return alpha(end) * (y / alpha(down) + up * draw())


def middle_of(sigma: float, end: float) -> tuple[float, float]:
    """Return the σ halfway in λ, and the step's length in λ."""
    return math.sqrt(sigma * end), math.log(sigma / end)


def dpm_solver_2(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Lu et al. (2022), arXiv:2206.00927, algorithm 1 with r = ½, and ancestral noise."""
    down, up = down_and_up(sigma, end)
    middle, h = middle_of(sigma, down)
    u = alpha(middle) / alpha(sigma) * y
    u = u - s(middle) * math.expm1(h / 2) * noise_in(y, sigma)
    y = alpha(down) / alpha(sigma) * y - s(down) * math.expm1(h) * noise_in(u, middle)
    return noised(y, down, up, end, draw)


def dpm_solver_pp_2s(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Lu et al. (2022), arXiv:2211.01095, algorithm 1 with r = ½, and ancestral noise."""
    down, up = down_and_up(sigma, end)
    middle, h = middle_of(sigma, down)
    u = s(middle) / s(sigma) * y - alpha(middle) * math.expm1(-h / 2) * seen(y, sigma)
    y = s(down) / s(sigma) * y - alpha(down) * math.expm1(-h) * seen(u, middle)
    return noised(y, down, up, end, draw)


def sde_first(y: Tensor, target: Tensor, sigma: float, end: float, z: Tensor) -> Tensor:
    """SDE-DPM-Solver++1: Lu et al. (2022), arXiv:2211.01095, section 4.3, for a given target."""
    h = math.log(sigma / end)
    keep = s(end) / s(sigma) * math.exp(-h)
    return (
        keep * y
        - alpha(end) * math.expm1(-2 * h) * target
        + s(end) * math.sqrt(-math.expm1(-2 * h)) * z
    )


def sde_2s(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Two such steps with r = ½, the second by what is seen from the middle, as in k-diffusion.

    The second adds the noise of the whole step, in which that of its first half is.
    """
    middle, _ = middle_of(sigma, end)
    u = sde_first(y, seen(y, sigma), sigma, middle, draw())
    return sde_first(y, seen(u, middle), sigma, end, draw())


def sde_2m(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """SDE-DPM-Solver++(2M): Lu et al. (2022), arXiv:2211.01095, appendix, midpoint form."""
    h, now = math.log(sigma / end), past[0][1]
    result = sde_first(y, now, sigma, end, draw())
    if len(past) > 1:
        ratio = (past[0][0] - past[1][0]) / h
        slope = (now - past[1][1]) / ratio
        result = result - alpha(end) * math.expm1(-2 * h) / 2 * slope
    return result


def sde_3m(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Add to sde_first what a parabola through three latents adds, as k-diffusion's 3M weighs it:
    φ₂ for its slope, φ₃ for its bend.
    """
    h, now = math.log(sigma / end), past[0][1]
    result = sde_first(y, now, sigma, end, draw())
    phi_2 = math.expm1(-2 * h) / (2 * h) + 1
    phi_3 = phi_2 / (2 * h) - 0.5
    if len(past) > 1:
        r0 = (past[0][0] - past[1][0]) / h
        slope = (now - past[1][1]) / r0
        if len(past) > 2:
            r1 = (past[1][0] - past[2][0]) / h
            before = (past[1][1] - past[2][1]) / r1
            bend = (slope - before) / (r0 + r1)
            slope = slope + (slope - before) * r0 / (r0 + r1)
            result = result - alpha(end) * phi_3 * bend
        result = result + alpha(end) * phi_2 * slope
    return result


def consistency(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Luo et al. (2023), arXiv:2310.04378, algorithm 3: noise the consistent latent anew."""
    return alpha(end) * seen(y, sigma) + s(end) * draw()


RULES: dict[str, Rule] = {
    "euler_ancestral": ddim,
    "ddpm": ddpm,
    "dpm_2_ancestral": dpm_solver_2,
    "dpmpp_2s_ancestral": dpm_solver_pp_2s,
    "dpmpp_2m_sde": sde_2m,
    "dpmpp_sde": sde_2s,
    "dpmpp_3m_sde": sde_3m,
    "lcm": consistency,
}


def test_every_sampler_with_noise_has_its_rule() -> None:
    assert set(RULES) == {name for name, sampler in SAMPLERS.items() if sampler.uses_noise}


def by_paper(rule: Rule, x: Tensor, sigmas: list[float], draws: Iterator[Tensor]) -> Tensor:
    y, past = x * alpha(sigmas[0]), Past()
    for sigma, end in pairwise(sigmas[:-1]):
        past.insert(0, (-math.log(sigma), seen(y, sigma)))
        y = rule(y, sigma, end, lambda: next(draws), past)
    return seen(y, sigmas[-2])  # the last step, to σ = 0


@pytest.mark.parametrize("schedule", ["karras", "normal"])
@pytest.mark.parametrize("name", RULES)
def test_a_trajectory_is_the_papers(name: str, schedule: str) -> None:
    sigmas = SCHEDULES[schedule](NoiseSchedule(), STEPS).double()
    generator = torch.Generator().manual_seed(0)
    x, *noise = torch.randn((1 + 2 * STEPS, 32), generator=generator).double()
    x = x * sigmas[0]
    ours, theirs = iter(noise), iter(noise)
    end = drive(SAMPLERS[name](x, sigmas, lambda _: next(ours)), denoise)
    wanted = by_paper(RULES[name], x, sigmas.tolist(), theirs)
    assert end.dtype == torch.float64
    assert torch.allclose(end, wanted, rtol=0, atol=1e-12)
