"""Noise for what tests compare with Marble's pictures, and for samplers that they run by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.denoise.flow import FlowSchedule
from engine.denoise.noise import CpuNumbers, JobNoise, Shape
from engine.denoise.samplers import SAMPLERS, DrawNoise
from engine.recipe.recipe import Recipe


def initial_noise(
    seed: int, count: int, shape: Sequence[int], pictures: Sequence[int] | None = None
) -> Tensor:
    """Return the start noise of a job's pictures (None: all), [pictures, C, h, w]."""
    channels, height, width = shape
    chosen = range(count) if pictures is None else pictures
    return CpuNumbers(seed, count, (channels, height, width), chosen)(0)


def draws(seed: int = 0) -> DrawNoise:
    """Return a source of independent noise as ancestral samplers have it, for all pictures of x."""
    generator = torch.Generator().manual_seed((seed + 1) % 2**64)
    return lambda x: torch.randn(x.shape, generator=generator)


def added(
    recipe: Recipe,
    sigmas: Tensor,
    shape: Shape = (4, 8, 8),
    flow: FlowSchedule | None = None,
    noise: JobNoise | None = None,
) -> DrawNoise:
    """Return the source of the noise that a recipe's sampler adds to its first picture."""
    sampler = SAMPLERS[recipe.sampler]
    job_noise = noise or JobNoise(recipe)
    return job_noise.between_steps(recipe.pictures[0], shape, sampler, sigmas, flow)
