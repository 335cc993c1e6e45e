"""Measure how each sampler's error falls with its steps: `python -m tests.bench.orders`.

The denoiser is analytic (two bumps) and everything is float64, so that what is left is the
sampler's own error, beside a solution to thirteen digits. Steps grow from nothing and shrink to
nothing (smoothstep in log σ), since the first steps of a multistep sampler are of first order; a
sampler for even steps (ipndm) gets steps that are even in σ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from engine.denoise.samplers import SAMPLERS, drive
from engine.denoise.samplers.ancestral import dpm_2_ancestral, dpmpp_2s_ancestral, euler_ancestral
from engine.denoise.samplers.base import Sampling
from engine.denoise.samplers.sa_solver import sa_solver
from engine.denoise.samplers.sde import HEUN, dpmpp_2m_sde, dpmpp_3m_sde, dpmpp_sde
from engine.denoise.samplers.seeds import seeds_2, seeds_3

Run = Callable[..., Sampling]
Grid = Callable[[int], list[float]]

START = 10.0
QUIET = [False] * 10_000  # for each step whether noise is added


def denoise(x: Tensor, sigma: float) -> Tensor:
    """Return the mean of the latents that x may come from, when they are two bumps; fp64 inside."""
    wide, variance, (high, low) = x.double(), 0.09, (0.8, -0.5)
    total = variance + sigma**2
    weight = torch.sigmoid((-((wide - high) ** 2) + (wide - low) ** 2) / (2 * total))
    posts = [(mean * sigma**2 + wide * variance) / total for mean in (high, low)]
    return (weight * posts[0] + (1 - weight) * posts[1]).to(x.dtype)


def smooth(steps: int) -> list[float]:
    """Return sigmas from 10 to .1, in steps of log σ that grow from nothing and shrink again."""
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    log: Tensor = math.log(START) + math.log(0.1 / START) * u**2 * (3 - 2 * u)
    return log.exp().tolist()


def even(steps: int) -> list[float]:
    """Return sigmas from 10 to .3, evenly spaced."""
    return torch.linspace(START, 0.3, steps + 1, dtype=torch.float64).tolist()


@dataclass(frozen=True)
class Case:
    """Hold a sampler, the order that its paper gives it, and the sigmas that show it."""

    run: Run
    order: int
    grid: Grid = smooth
    steps: int = 320  # from which on the error falls with the order


CASES: dict[str, Case] = {
    "euler": Case(SAMPLERS["euler"].run, 1),
    "ddim": Case(SAMPLERS["ddim"].run, 1),
    "heun": Case(SAMPLERS["heun"].run, 2),
    "dpm_2": Case(SAMPLERS["dpm_2"].run, 2),
    "dpmpp_2m": Case(SAMPLERS["dpmpp_2m"].run, 2),
    "res_multistep": Case(SAMPLERS["res_multistep"].run, 2),
    "deis": Case(SAMPLERS["deis"].run, 3),  # three slopes
    "lms": Case(SAMPLERS["lms"].run, 4),  # four slopes
    "ipndm": Case(SAMPLERS["ipndm"].run, 4, even, 1280),  # four slopes
    "uni_pc": Case(SAMPLERS["uni_pc"].run, 4),  # its corrector adds one to its predictor's 3
    "uni_pc_bh2": Case(SAMPLERS["uni_pc_bh2"].run, 4),
    "heunpp2": Case(SAMPLERS["heunpp2"].run, 1),  # see its description
    "gradient_estimation": Case(SAMPLERS["gradient_estimation"].run, 1),
    "ipndm_v": Case(SAMPLERS["ipndm_v"].run, 2),  # see its description
    "exp_heun_2_x0": Case(SAMPLERS["exp_heun_2_x0"].run, 2),
    # Samplers with noise, without it:
    "euler_ancestral, η 0": Case(partial(euler_ancestral, eta=0.0), 1),
    "dpm_2_ancestral, η 0": Case(partial(dpm_2_ancestral, eta=0.0), 2),
    "dpmpp_2s_ancestral, η 0": Case(partial(dpmpp_2s_ancestral, eta=0.0), 2),
    "dpmpp_2m_sde, η 0": Case(partial(dpmpp_2m_sde, eta=0.0), 2),
    "dpmpp_sde, η 0": Case(partial(dpmpp_sde, eta=0.0), 2),
    "dpmpp_3m_sde, η 0": Case(partial(dpmpp_3m_sde, eta=0.0), 2),  # see its description
    "dpmpp_2m_sde_heun, η 0": Case(partial(dpmpp_2m_sde, form=HEUN, eta=0.0), 2),
    "seeds_2, η 0": Case(partial(seeds_2, eta=0.0), 2),
    "seeds_3, η 0": Case(partial(seeds_3, eta=0.0), 3),
    "sa_solver, τ 0": Case(partial(sa_solver, noisy=QUIET), 4),  # its corrector's four predictions
    "sa_solver_pece, τ 0": Case(partial(sa_solver, noisy=QUIET, again=True), 4),
}


def begin() -> Tensor:
    """Return where all of them begin, [64] fp64."""
    return torch.randn(64, generator=torch.Generator().manual_seed(7)).double() * START


@cache
def truth(end: float) -> Tensor:
    """Return where the flow dx/d log σ = x − denoised takes the beginning by σ = end."""

    def flow(log: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = x - denoise(torch.from_numpy(x), math.exp(log)).numpy()
        return result

    span = math.log(START), math.log(end)
    solved = solve_ivp(flow, span, begin().numpy(), method="DOP853", rtol=1e-13, atol=1e-14)
    return torch.from_numpy(solved.y[:, -1])


def error(case: Case, steps: int) -> float:
    """Return the largest error after so many steps."""
    sigmas = case.grid(steps)
    end = drive(case.run(begin(), sigmas, torch.zeros_like), denoise)
    return (end - truth(round(sigmas[-1], 6))).abs().max().item()


def order(case: Case, steps: int) -> float:
    """Return by how many powers of two the error falls as the steps double."""
    return math.log2(error(case, steps) / error(case, 2 * steps))


def main() -> None:
    """Print errors and the order that they fall with, a sampler a line."""
    counts = (20, 40, 80, 160, 320, 640)
    heads = " ".join(f"{count:>8}" for count in counts)
    print(f"{'sampler':24} {heads}  order, and its paper's")  # noqa: T201
    for name, case in CASES.items():
        errors = " ".join(f"{error(case, count):8.1e}" for count in counts)
        print(f"{name:24} {errors}  {order(case, case.steps):.2f}  {case.order}")  # noqa: T201


if __name__ == "__main__":
    main()
