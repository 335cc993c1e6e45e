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
from scipy.integrate import quad
from torch import Tensor

from engine.denoise.samplers import SAMPLERS, drive
from engine.denoise.samplers.sa_solver import sa_solver
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


def dpm_solver_pp_2s_cfg_pp(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """The same, whose second stage begins as far off as the guided and the unguided prediction
    are from each other, the one at the start and the other in the middle.
    """
    down, up = down_and_up(sigma, end)
    middle, h = middle_of(sigma, down)
    now = seen(y, sigma)
    u = s(middle) / s(sigma) * y - alpha(middle) * math.expm1(-h / 2) * now
    later = seen(u, middle)
    y = s(down) / s(sigma) * (y + alpha(sigma) * (now - later))
    return noised(y - alpha(down) * math.expm1(-h) * later, down, up, end, draw)


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


def sde_2m_heun(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """SDE-DPM-Solver++(2M) with the integral of its line, as diffusers' `solver_type="heun"`."""
    h, now = math.log(sigma / end), past[0][1]
    result = sde_first(y, now, sigma, end, draw())
    if len(past) > 1:
        slope = (now - past[1][1]) / (past[0][0] - past[1][0])
        result = result + alpha(end) * slope * (h - (1 - math.exp(-2 * h)) / 2)
    return result


def refined(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Zhang et al. (2023), arXiv:2308.02157: two-step exponential solver, and ancestral noise.

    The step before counts as far as it went down, as in ComfyUI.
    """
    down, up = down_and_up(sigma, end)
    h, now = math.log(sigma / down), past[0][1]
    result = s(down) / s(sigma) * y + alpha(down) * (1 - math.exp(-h)) * now
    if len(past) > 1:
        before = math.exp(-past[1][0])
        slope = (now - past[1][1]) / math.log(before / down_and_up(before, sigma)[0])
        result = result + alpha(down) * slope * (h - 1 + math.exp(-h))
    return noised(result, down, up, end, draw)


def er_sde_3(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Cui et al. (2023), arXiv:2309.06169, algorithm 3; integrals summed up at 200 points."""

    def phi(level: float) -> float:
        return level * (math.exp(level**0.3) + 10)

    def integral(power: int) -> float:
        wide = (sigma - end) / 200
        levels = [end + k * wide for k in range(200)]
        return sum((level - sigma) ** power / phi(level) * wide for level in levels)

    ratio = phi(end) / phi(sigma)
    now = past[0][1]
    result = alpha(end) / alpha(sigma) * ratio * y + alpha(end) * (1 - ratio) * now
    levels = [math.exp(-each[0]) for each in past[:3]]
    slopes = [
        (past[k][1] - past[k + 1][1]) / (levels[k] - levels[k + 1]) for k in range(len(levels) - 1)
    ]
    if slopes:
        result = result + alpha(end) * (end - sigma + phi(end) * integral(0)) * slopes[0]
    if len(slopes) > 1:
        bend = 2 * (slopes[0] - slopes[1]) / (levels[0] - levels[2])
        result = result + alpha(end) * ((end - sigma) ** 2 / 2 + phi(end) * integral(1)) * bend
    return result + alpha(end) * math.sqrt(end**2 - sigma**2 * ratio**2) * draw()


class Path:
    """The noise of SEEDS: stretches of h in λ, each e^h less at the end of the next."""

    def __init__(self, draw: Draw) -> None:
        self.draw, self.noise = draw, torch.zeros(())

    def on(self, h: float) -> Tensor:
        fresh = math.sqrt(1 - math.exp(-2 * h)) * self.draw()
        self.noise = self.noise * math.exp(-h) + fresh
        return self.noise


def stage(y: Tensor, target: Tensor, sigma: float, end: float, noise: Tensor) -> Tensor:
    """Keep to a target from one σ to another."""
    h = math.log(sigma / end)
    keep = s(end) / s(sigma) * math.exp(-h)
    return keep * y + alpha(end) * (1 - math.exp(-2 * h)) * target + s(end) * noise


def ramp(h: float) -> float:
    """Return what a target that grows by 1 over a length of h in 2λ adds: φ₂(−h)·h."""
    return 1 - (1 - math.exp(-h)) / h


def seeds_of_2(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Gonzalez et al. (2023), arXiv:2305.14267, SEEDS-2 on data, c₂ = ½."""
    (middle, h), path = middle_of(sigma, end), Path(draw)
    u = stage(y, seen(y, sigma), sigma, middle, path.on(h / 2))
    return stage(y, seen(u, middle), sigma, end, path.on(h / 2))


def seeds_of_3(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Gonzalez et al. (2023), arXiv:2305.14267, SEEDS-3 on data, c₂ = ⅓ and c₃ = ⅔."""
    h, path = math.log(sigma / end), Path(draw)
    first, second = (sigma * math.exp(-h * place) for place in (1 / 3, 2 / 3))
    now = seen(y, sigma)
    u = stage(y, now, sigma, first, path.on(h / 3))
    u = stage(y, now, sigma, second, path.on(h / 3)) + 2 * alpha(second) * ramp(4 / 3 * h) * (
        seen(u, first) - now
    )
    later = seen(u, second) - now
    return stage(y, now, sigma, end, path.on(h / 3)) + 1.5 * alpha(end) * ramp(2 * h) * later


def exponential_heun(y: Tensor, sigma: float, end: float, draw: Draw, past: Past) -> Tensor:
    """Hochbruck & Ostermann (2010), the scheme of order 2 with c₂ = 1, in 2λ, and the SDE's noise.

    ComfyUI draws once more than it uses.
    """
    h, path, now = math.log(sigma / end), Path(draw), seen(y, sigma)
    noise = path.on(h)
    draw()
    later = seen(stage(y, now, sigma, end, noise), end)
    return stage(y, now, sigma, end, noise) + alpha(end) * ramp(2 * h) * (later - now)


RULES: dict[str, Rule] = {
    "euler_ancestral": ddim,
    "ddpm": ddpm,
    "dpm_2_ancestral": dpm_solver_2,
    "dpmpp_2s_ancestral": dpm_solver_pp_2s,
    "dpmpp_2m_sde": sde_2m,
    "dpmpp_sde": sde_2s,
    "dpmpp_3m_sde": sde_3m,
    "lcm": consistency,
    "dpmpp_2m_sde_heun": sde_2m_heun,
    "res_multistep_ancestral": refined,
    "er_sde": er_sde_3,
    "seeds_2": seeds_of_2,
    "seeds_3": seeds_of_3,
    "exp_heun_2_x0_sde": exponential_heun,
    # Where the guided prediction is the unguided one:
    "euler_ancestral_cfg_pp": ddim,
    "dpmpp_2s_ancestral_cfg_pp": dpm_solver_pp_2s_cfg_pp,
    "res_multistep_ancestral_cfg_pp": refined,
}


def test_every_sampler_with_noise_has_its_rule() -> None:
    noisy = {name for name, sampler in SAMPLERS.items() if sampler.uses_noise}
    assert noisy == {*RULES, "sa_solver", "sa_solver_pece"}  # whose steps are corrected


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
    x, *noise = torch.randn((1 + 3 * STEPS, 32), generator=generator).double()
    x = x * sigmas[0]
    ours, theirs = iter(noise), iter(noise)
    end = drive(SAMPLERS[name](x, sigmas, lambda _: next(ours)), denoise)
    wanted = by_paper(RULES[name], x, sigmas.tolist(), theirs)
    assert end.dtype == torch.float64
    assert torch.allclose(end, wanted, rtol=0, atol=1e-12)


def adams(
    levels: list[float], values: list[Tensor], start: float, end: float, tau: float
) -> Tensor:
    """Return Xue et al. (2023), arXiv:2309.05019, equation 13, without α: the integral of values,
    as a polynomial through λ, with the kernel of a constant τ.
    """
    rate = 1 + tau**2
    total = torch.zeros(())
    for j, value in enumerate(values):

        def kernel(level: float, j: int = j) -> float:
            others = [each for k, each in enumerate(levels) if k != j]
            basis = math.prod((level - each) / (levels[j] - each) for each in others)
            return rate * math.exp(-rate * (end - level)) * basis

        total = total + quad(kernel, start, end, epsabs=1e-11, epsrel=1e-11)[0] * value
    return total


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("noisy", [[True] * STEPS, [False, True, True, False] * 2])
def test_sa_solver_is_its_papers(noisy: list[bool], again: bool) -> None:
    """Predict by up to three, correct by up to four; towards the end by as many as steps are left,
    as in ComfyUI. In λ, and in the paper's variables.
    """
    sigmas = SCHEDULES["karras"](NoiseSchedule(), STEPS).double().tolist()
    generator = torch.Generator().manual_seed(0)
    x, *noise = torch.randn((1 + STEPS, 32), generator=generator).double()
    ours, theirs = iter(noise), iter(noise)
    run = sa_solver(x * sigmas[0], sigmas, lambda _: next(ours), noisy=noisy, again=again)
    end = drive(run, denoise)
    levels = [-math.log(sigma) for sigma in sigmas[:-1]]
    corrected = predicted = x * s(sigmas[0])
    values: list[Tensor] = []

    def moved(y: Tensor, i: int, first: int, last: int, tau: float) -> Tensor:
        """Go from level i to i + 1 by the values at levels first … last."""
        h = levels[i + 1] - levels[i]
        kept = s(sigmas[i + 1]) / s(sigmas[i]) * math.exp(-(tau**2) * h) * y
        past = levels[first : last + 1], values[first : last + 1]
        return kept + alpha(sigmas[i + 1]) * adams(*past, levels[i], levels[i + 1], tau)

    added, tau = torch.zeros(32).double(), 0.0
    for i in range(STEPS):
        values.append(seen(predicted, sigmas[i]))
        left, to_zero = STEPS - i, i == STEPS - 1
        if i > 0 and (again or not to_zero):
            corrected = moved(corrected, i - 1, max(0, i - 3, i + 1 - left), i, tau) + added
            if again:
                values[i] = seen(corrected, sigmas[i])
        else:
            corrected = predicted
        if not to_zero:
            tau = float(noisy[i])
            h = levels[i + 1] - levels[i]
            spread = s(sigmas[i + 1]) * math.sqrt(1 - math.exp(-2 * tau**2 * h))
            added = next(theirs) * spread if tau else added * 0
            predicted = moved(corrected, i, max(0, i - 2, i + 2 - left), i, tau) + added
    assert torch.allclose(end, values[-1], rtol=0, atol=1e-9)
