"""A second model that finishes what the first began: which may, and how it draws a recipe."""

from dataclasses import replace

from engine.errors import UserError
from engine.models.catalogue import Checkpoint
from engine.recipe.limits import CFG_PP
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence


def is_second(first: Checkpoint, second: Checkpoint) -> bool:
    """Return whether a model can go on with the latents of another."""
    alike = first.family.latents == second.family.latents
    return alike and first.latents == second.latents


def check_second(recipe: Recipe, first: Checkpoint, second: Checkpoint) -> None:
    """Raise `UserError` where a model cannot go on with the latents of another.

    Nor where a recipe's sampler needs the prediction for a negative prompt, which models that are
    told the guidance have not.
    """
    if not is_second(first, second):
        facts = {"model": first.name, "title": first.title}
        raise UserError(
            Sentence("refiner_latents", refiner=second.name, kind=second.title, **facts)
        )
    told = "negative_prompt" in second.lacks and "guidance_scale" not in second.lacks
    if told and recipe.sampler in CFG_PP:
        raise UserError(
            Sentence("sampler_needs_negative", sampler=recipe.sampler, model=second.name)
        )


def as_second_draws(recipe: Recipe, first: Checkpoint, second: Checkpoint) -> Recipe:
    """Return a recipe as its second model draws it: without one, and with what it has of it.

    What is made for one family (LoRAs, ControlNets, patches, the layer of CLIP, references) is for
    the second model only where that is of the same.
    """
    changes: dict[str, object] = {"refiner": None}
    if first.family.key != second.family.key:
        changes |= {"loras": (), "controls": (), "clip_skip": None, "references": (), "patches": ()}
    if "guidance_scale" in second.lacks:
        changes["guidance_scale"] = second.defaults.guidance_scale
    return replace(recipe, **changes)  # type: ignore[arg-type]
