"""Measure what the noise of a step costs: `make bench-noise`.

Sixteen pictures of 1024², latents of four channels. Times are of one thread's own, so that other
programs do not matter. Beside the job's own way, in which each draw is made once for all its
pictures, stands that in which each picture draws for itself; both give the same numbers.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

import torch

from engine.denoise.noise import JobNoise
from engine.denoise.samplers import SAMPLERS, DrawNoise
from engine.denoise.schedules import sigmas_for
from engine.loading.noise_schedule import NoiseSchedule
from engine.recipe.recipe import Recipe
from tests.factories import make_recipe

COUNT, SHAPE = 16, (4, 128, 128)
STEPS = 20
CASES = {
    "ancestral, a processor's": ("euler_ancestral", "cpu"),
    "ancestral, CUDA's": ("euler_ancestral", "gpu"),
    "path, a processor's": ("dpmpp_2m_sde", "cpu"),
    "path, CUDA's": ("dpmpp_2m_sde", "gpu"),
    "path and its halves, a processor's": ("dpmpp_sde", "cpu"),
}


def main() -> None:
    """Print a line for each kind of noise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4, help="of 20, that are measured")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    print(f"{COUNT} pictures, latents {SHAPE}, ms a step (ratio to each for itself)")  # noqa: T201
    print(f"{'':36} {'one alone':>10} {'each for itself':>16} {'once for all':>16}")  # noqa: T201
    for what, (sampler, noise) in CASES.items():
        recipe = make_recipe(seed=1, sampler=sampler, noise=noise)
        alone = a_step([JobNoise(recipe)], recipe, steps)
        grid = replace(recipe, count=COUNT)
        apart = a_step([JobNoise(grid) for _ in range(COUNT)], grid, steps)
        together = a_step([JobNoise(grid)] * COUNT, grid, steps)
        ratio = f"({apart / together:.1f}×)"
        print(f"{what:36} {alone:10.1f} {apart:16.1f} {together:8.1f} {ratio:>7}")  # noqa: T201


def a_step(noises: Sequence[JobNoise], recipe: Recipe, steps: int) -> float:
    """Return the median milliseconds of a step for all pictures; noises: of each."""
    sampler, x = SAMPLERS[recipe.sampler], torch.zeros(1, *SHAPE)
    sigmas = sigmas_for(recipe.sampler, "karras", STEPS, noise_schedule=NoiseSchedule())
    sources = [
        noise.between_steps(picture, SHAPE, sampler, sigmas) for picture, noise in enumerate(noises)
    ]
    draws = sampler.evaluations if sampler.brownian else 1
    return median(_times(sources, x, draws, steps))


def _times(
    sources: Sequence[DrawNoise], x: torch.Tensor, draws: int, steps: int
) -> Iterator[float]:
    for _ in range(steps):
        start = time.thread_time()
        for _ in range(draws):
            for source in sources:
                source(x)
        yield 1000 * (time.thread_time() - start)


if __name__ == "__main__":
    main()
