"""The noise that a picture starts from: its seed's, turned towards those of its variations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.denoise.schedules import initial_noise
from engine.recipe.recipe import Recipe


def start_noise(recipe: Recipe, picture: int, shape: Sequence[int]) -> Tensor:
    """Draw one picture's start noise, [1, *shape] fp32 on the CPU, for a latent's (C, h, w).

    Each variation draws its seed's noise as the recipe draws its own (for all pictures, then
    sliced) and turns what there is that far towards it; several follow one upon the other.
    """
    noise = initial_noise(recipe.seed, recipe.count, shape, [picture])
    for variation in recipe.variations:
        other = initial_noise(variation.seed, recipe.count, shape, [picture])
        noise = slerp(noise, other, variation.amount)
    return noise


def slerp(first: Tensor, second: Tensor, amount: float) -> Tensor:
    """Go from one tensor to another along the great circle, `amount` (0 … 1) of the way.

    A straight line would leave the sphere on which noise lies: half-way its deviation is 0.7, for
    which no model was made. Shoemake (1985), "Animating rotation with quaternion curves".
    """
    if amount in (0, 1):
        return second if amount else first
    lengths = first.norm() * second.norm()
    angle = torch.acos(((first * second).sum() / lengths).clamp(-1, 1))
    if angle.sin() < 1e-6:  # one direction, or opposite ones: no circle is the shortest
        return first + (second - first) * amount
    shares = torch.sin((1 - amount) * angle), torch.sin(amount * angle)
    return (first * shares[0] + second * shares[1]) / torch.sin(angle)
