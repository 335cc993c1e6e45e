"""Recipes that no ComfyUI graph can express: they get none, rather than one for another picture."""

import re
from collections.abc import Callable
from typing import Final

from engine.formats.graphs.pictures import factor_in_name
from engine.recipe.parts import LANCZOS, LATENT
from engine.recipe.recipe import Recipe
from engine.text_encode.prompts import BREAK

LEAST_FACTOR: Final = 2  # of every upscale model

Question = Callable[[Recipe], bool]


def no_graph_reasons(recipe: Recipe) -> tuple[str, ...]:
    """Return why a recipe has no graph; nothing, where it has one."""
    return tuple(why for why, applies in IMPOSSIBLE.items() if applies(recipe))


def graph_differences(recipe: Recipe) -> tuple[str, ...]:
    """Return why a recipe's graph makes a slightly different picture."""
    return tuple(why for why, applies in OTHERWISE.items() if applies(recipe))


def _only_upscaled(recipe: Recipe) -> bool:
    again = recipe.upscale is not None and recipe.upscale.strength is not None
    return recipe.image is not None and recipe.strength is None and not again


def _in_tiles(recipe: Recipe) -> bool:
    return recipe.upscale is not None and recipe.upscale.tile is not None


def _by_a_model_more_than_once(recipe: Recipe) -> bool:
    if recipe.upscale is None or recipe.upscale.by in (LANCZOS, LATENT):
        return False
    return recipe.upscale.factor > (factor_in_name(recipe.upscale.by) or LEAST_FACTOR)


def _mask_under_a_second_pass(recipe: Recipe) -> bool:
    # ComfyUI's latents keep their mask, Marble's second pass is drawn everywhere.
    upscale = recipe.upscale
    return recipe.mask is not None and upscale is not None and upscale.by == LATENT


def _padded(recipe: Recipe) -> bool:
    return recipe.fit == "pad" and bool(recipe.inputs)


def _break_in_parentheses(recipe: Recipe) -> bool:
    texts = (recipe.prompt, recipe.negative_prompt)
    parts = [part for text in texts if BREAK.search(text) for part in windows(text)]
    return not all(map(_is_whole, parts))


def windows(text: str) -> list[str]:
    """Return the parts of a text between its `BREAK`s."""
    parts = BREAK.split(text)
    return parts if len(parts) > 1 else [text]


def _is_whole(part: str) -> bool:
    """Return whether all of a part's parentheses are closed in it."""
    bare = re.sub(r"\\[()]", "", part)
    return bare.count("(") == bare.count(")")


IMPOSSIBLE: Final[dict[str, Question]] = {
    "its noise is turned towards another seed's": lambda recipe: bool(recipe.variations),
    "the scene is continued beyond its start image": lambda recipe: recipe.margins is not None,
    "its start image is only enlarged": _only_upscaled,
    "its start image is fitted by drawing the edges on": _padded,
    "its detail is drawn in tiles": _in_tiles,
    "its upscale model may have to run twice": _by_a_model_more_than_once,
    "its second pass on stretched latents is drawn outside its mask, too": (
        _mask_under_a_second_pass
    ),
    "the edges that steer it are found by Marble": lambda recipe: any(
        control.preprocessor != "none" for control in recipe.controls
    ),
    "a control has its say in some steps only, which ComfyUI counts otherwise": lambda recipe: any(
        (control.start, control.end) != (0, 1) for control in recipe.controls
    ),
    "BREAK stands within parentheses": _break_in_parentheses,
}
OTHERWISE: Final[dict[str, Question]] = {
    "the mask's edge fades otherwise there": lambda recipe: recipe.mask is not None,
}
