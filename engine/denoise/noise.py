"""A picture's start noise: its seed's, interpolated towards those of its variations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.denoise.schedules import initial_noise
from engine.recipe.recipe import Recipe


def start_noise(recipe: Recipe, picture: int, shape: Sequence[int]) -> Tensor:
    """Draw one picture's start noise, [1, *shape] fp32 on the CPU, for a latent's (C, h, w).

    Each variation's noise is drawn as the recipe's own (for all pictures, then sliced), and the
    noise is interpolated towards it by its amount; several variations are applied in order.
    """
    noise = initial_noise(recipe.seed, recipe.count, shape, [picture])
    for variation in recipe.variations:
        other = initial_noise(variation.seed, recipe.count, shape, [picture])
        noise = slerp(noise, other, variation.amount)
    return noise


def slerp(first: Tensor, second: Tensor, amount: float) -> Tensor:
    """Interpolate between two tensors along the great circle; amount: 0 … 1.

    A straight line would leave the sphere on which noise lies: half-way the deviation is 0.7,
    which models were not trained for. Shoemake (1985), "Animating rotation with quaternion curves".
    """
    if amount in (0, 1):
        return second if amount else first
    lengths = first.norm() * second.norm()
    angle = torch.acos(((first * second).sum() / lengths).clamp(-1, 1))
    if angle.sin() < 1e-6:  # equal or opposite directions: no great circle is defined
        return first + (second - first) * amount
    shares = torch.sin((1 - amount) * angle), torch.sin(amount * angle)
    return (first * shares[0] + second * shares[1]) / torch.sin(angle)
