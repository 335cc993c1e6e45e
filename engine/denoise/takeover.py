"""When a second model takes over, and how sampling goes on with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from engine.denoise.samplers.base import Request, Sampling, advance
from engine.loading.noise_schedule import SigmaTable
from engine.recipe.limits import BY_NOISE
from engine.recipe.recipe import Recipe


def takeover_step(recipe: Recipe, sigmas: Tensor, table: SigmaTable) -> int | None:
    """Return the step from which a recipe's second model draws; None where there is none.

    It is the first one whose share of all steps or, by noise, of the levels in the table is reached
    (as A1111 counts it), and each model draws one step at least: of a single step the first alone.
    By noise none takes over where its share is not reached, as in A1111, whose way of counting it
    is.
    """
    steps = len(sigmas) - 1
    if recipe.refiner is None or steps < 2:
        return None
    if recipe.refiner_by == BY_NOISE:
        last = len(table.sigmas) - 1
        nearest = (sigmas[:-1, None] - table.sigmas).abs().argmin(-1).tolist()
        done = [(last - index) / len(table.sigmas) for index in nearest]
    else:
        done = [step / steps for step in range(steps)]
    first = next((step for step in range(steps) if done[step] >= recipe.refiner_at), steps)
    if first == steps and recipe.refiner_by == BY_NOISE:
        return None
    return min(max(first, 1), steps - 1)


def begun_anew(first: Sampling, rest: Callable[[Tensor], Sampling], at: int) -> Sampling:
    """Sample by one run up to step `at`, then by another one that begins with the first's x."""
    inner = rest((yield from first))
    state = advance(inner)
    while isinstance(state, Request):
        state = advance(inner, (yield replace(state, step=state.step + at)))
    return state
