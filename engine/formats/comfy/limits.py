"""Recipes that no ComfyUI graph can express: they get none, rather than one for another picture."""

import re
from typing import Final

from engine.formats.graphs.pictures import factor_in_name
from engine.recipe.parts import LANCZOS, LATENT
from engine.recipe.recipe import Recipe
from engine.text_encode.prompts import BREAK

LEAST_FACTOR: Final = 2  # of every upscale model


def no_graph_reasons(recipe: Recipe) -> tuple[str, ...]:
    """Return why a recipe has no graph; nothing, where it has one."""
    upscale, controls = recipe.upscale, recipe.controls
    reasons = {
        "it edits pictures by words": recipe.references,
        "its noise is turned towards another seed's": recipe.variations,
        "the scene is continued beyond its start image": recipe.margins,
        "its start image is only enlarged": (
            recipe.image and recipe.strength is None and not recipe.second_pass_steps
        ),
        "its start image is fitted by drawing the edges on": (
            recipe.fit == "pad" and recipe.inputs
        ),
        "its detail is drawn in tiles": upscale and upscale.tile,
        "its upscale model may have to run twice": (
            upscale
            and upscale.by not in (LANCZOS, LATENT)
            and upscale.factor > (factor_in_name(upscale.by) or LEAST_FACTOR)
        ),
        # ComfyUI's latents keep their mask, Marble's second pass is drawn everywhere.
        "its second pass on stretched latents is drawn outside its mask, too": (
            recipe.mask and upscale and upscale.by == LATENT
        ),
        "the edges that steer it are found by Marble": any(
            control.preprocessor != "none" for control in controls
        ),
        "a control has its say in some steps only, which ComfyUI counts otherwise": any(
            (control.start, control.end) != (0, 1) for control in controls
        ),
        "BREAK stands within parentheses": any(
            BREAK.search(text) and not all(map(_is_whole, BREAK.split(text)))
            for text in (recipe.prompt, recipe.negative_prompt)
        ),
    }
    return tuple(why for why, applies in reasons.items() if applies)


def graph_differences(recipe: Recipe) -> tuple[str, ...]:
    """Return why a recipe's graph makes a slightly different picture."""
    return ("the mask's edge fades otherwise there",) if recipe.mask else ()


def _is_whole(part: str) -> bool:
    """Return whether all of a part's parentheses are closed in it."""
    bare = re.sub(r"\\[()]", "", part)
    return bare.count("(") == bare.count(")")
