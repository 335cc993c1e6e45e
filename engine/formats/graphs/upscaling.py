"""Factors and sizes by which a graph upscales, as a recipe's `Upscale`."""

from dataclasses import replace
from typing import Final

from engine.errors import GraphError
from engine.formats.graphs.graph import Node
from engine.formats.graphs.node_values import Draft
from engine.recipe.limits import LARGEST, LATENT_SIDE, is_int
from engine.recipe.parts import LATENT, Upscale
from engine.sentences import Sentence

DIGITS: Final = 6  # of a factor, after the point


def finished_upscale(node: Node, draft: Draft, strength: float | None = None) -> Upscale:
    """Return a draft's pending upscale, with the strength of the pass that follows it.

    A size that Marble cannot reach to the pixel is noted at the node; `OptionError` names a factor
    out of range, `GraphError` another shape.
    """
    pending = draft.pending
    assert pending is not None
    sides = draft.width, draft.height
    if pending.target and None in sides:
        raise GraphError(Sentence("graph_size_unknown"))
    upscale = Upscale(factor=pending.factor, by=pending.by, strength=strength)
    if not all(is_int(side) and 0 < side < LARGEST for side in sides):
        return upscale  # the recipe says what is wrong with them
    target = pending.target or (sides[0] * pending.factor, sides[1] * pending.factor)
    if pending.target:
        upscale = replace(upscale, factor=factor_to(*sides, target))
    size = upscale.size(*sides)
    if pending.by != LATENT and any(
        abs(side - wanted) >= 1 for side, wanted in zip(size, target, strict=True)
    ):
        wanted, made = f"{target[0]:g} × {target[1]:g}", f"{size[0]} × {size[1]}"
        node.note(Sentence("graph_whole_latents", wanted=wanted, made=made))
    return upscale


def factor_to(width: int, height: int, target: tuple[float, float]) -> float:
    """Return the shortest factor that leads from one size to another, in whole latents.

    Raises `GraphError` where there is none, or `OptionError`.
    """
    sides = (width, height)
    if not all(0 < side < LARGEST for side in target):  # products may have become infinite, or NaN
        raise GraphError(Sentence("graph_no_size"))
    wanted = tuple(max(LATENT_SIDE, round(side / LATENT_SIDE) * LATENT_SIDE) for side in target)
    # Whatever lies between these is rounded to the wanted sides, and an end of it may be, too.
    low = max((goal - LATENT_SIDE / 2) / side for goal, side in zip(wanted, sides, strict=True))
    high = min((goal + LATENT_SIDE / 2) / side for goal, side in zip(wanted, sides, strict=True))
    units = [10.0**digits for digits in range(DIGITS + 1)]
    short = [round(low * unit + after) / unit for unit in units for after in (0, 1)]
    for factor in (*short, low, high):
        if low <= factor <= high and Upscale(factor=factor).size(width, height) == wanted:
            return factor
    raise GraphError(Sentence("graph_another_shape"))
