"""Recipes that no ComfyUI graph can express: they get none, rather than one for another picture."""

import re
from typing import Final

from engine.formats.graphs.cut_runs import FORGETTING
from engine.formats.graphs.flow_families import FLOW_FAMILIES
from engine.formats.graphs.nodes import EDITED
from engine.formats.graphs.pictures import factor_in_name
from engine.formats.graphs.sampling import DROPPING
from engine.formats.graphs.sigmas import MOST, OWN_SCHEDULE
from engine.models.catalogue import Checkpoint
from engine.models.families import SD, SDXL
from engine.recipe.conditions import changes
from engine.recipe.limits import ANCESTRAL, BY_NOISE, BY_STEPS, CPU, INDEPENDENT
from engine.recipe.parts import LANCZOS, LATENT
from engine.recipe.recipe import Recipe
from engine.text_encode.prompts import BREAK

UNCERTAIN: Final = ("ddim_uniform", "beta")  # schedules that round to fewer or more steps
EDITORS: Final = ("flux", "flux2", "qwen")  # families of models that edit by words
LEAST_FACTOR: Final = 2  # of every upscale model


def no_graph_reasons(
    recipe: Recipe, checkpoint: Checkpoint | None = None, second: Checkpoint | None = None
) -> tuple[str, ...]:
    """Return why a recipe has no graph; nothing, where it has one.

    checkpoint: the model that it names; without it, it is taken for a Stable Diffusion; second: its
    second one.
    """
    upscale, controls = recipe.upscale, recipe.controls
    family = checkpoint.family.key if checkpoint else None
    flow = FLOW_FAMILIES.get(family or "")
    own_levels = family == "flux2" and recipe.shift is None
    reasons = {
        "ComfyUI's nodes for its model are not known to Marble": (
            checkpoint and flow is None and checkpoint.family.pipeline not in (SD, SDXL)
        ),
        **_reasons_of_second(recipe, checkpoint, second),
        "it edits pictures by words": recipe.references and family not in EDITORS,
        "it edits more pictures by words than ComfyUI's nodes take": (
            family == "qwen" and len(recipe.references) > len(EDITED)
        ),
        "FLUX.2's noise levels are shifted by their number, which ComfyUI does on one schedule": (
            own_levels and recipe.schedule != OWN_SCHEDULE
        ),
        "it takes the last of more steps than ComfyUI counts on FLUX.2's schedule": (
            own_levels and max(_of_steps(recipe)) > MOST
        ),
        "its sampler leaves out a noise level, which ComfyUI does on other schedules": (
            own_levels and recipe.sampler in DROPPING
        ),
        "its prompts change between steps, or guide apart, as A1111's": changes(recipe),
        "it has texts for parts of the picture beside pictures, ControlNets or a second model": (
            recipe.areas and (recipe.references or recipe.controls or recipe.refiner)
        ),
        "its noise is turned towards another seed's": recipe.variations,
        "its noise is drawn as A1111 does it": recipe.ensd is not None,
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
            flow is None and BREAK.search(text) and not all(map(_is_whole, BREAK.split(text)))
            for text in (recipe.prompt, recipe.negative_prompt)
        ),
    }
    return tuple(why for why, applies in reasons.items() if applies)


def _reasons_of_second(
    recipe: Recipe, checkpoint: Checkpoint | None, second: Checkpoint | None
) -> dict[str, object]:
    """Return what a second model cannot do in a graph, and whether a recipe needs it."""
    if recipe.refiner is None:
        return {}
    forgets = recipe.sampler in FORGETTING
    by_noise = recipe.refiner_by == BY_NOISE
    alike = not (checkpoint and second) or checkpoint.family is second.family
    return {
        "its second model takes over within a sampler's run, which ComfyUI begins anew": (
            by_noise or (recipe.refiner_by == BY_STEPS and not forgets)
        ),
        "its second model is left no step": recipe.steps < 2,
        "its schedule may have other steps than are asked for": recipe.schedule in UNCERTAIN,
        "its second model draws under its mask": recipe.mask,
        "its second model is a flow model": (
            checkpoint and FLOW_FAMILIES.get(checkpoint.family.key)
        ),
        "what is made for its first model may be for the second one, too": (
            alike and (recipe.loras or recipe.controls or recipe.patches or recipe.clip_skip)
        ),
    }


def _of_steps(recipe: Recipe) -> tuple[int, int]:
    """Return how many steps the noise levels of each pass have, of which it takes the last."""
    second = recipe.upscale.strength if recipe.upscale else None
    return int(recipe.steps / (recipe.strength or 1)), int(recipe.second_pass_steps / (second or 1))


def graph_differences(recipe: Recipe, checkpoint: Checkpoint | None = None) -> tuple[str, ...]:
    """Return why a recipe's graph makes a slightly different picture."""
    flow = FLOW_FAMILIES.get(checkpoint.family.key) if checkpoint else None
    differences = {
        "noise between steps is a GPU's there, unless ComfyUI runs with --cpu": (
            recipe.noise == CPU and recipe.sampler in ANCESTRAL
        ),
        "noise between steps follows a path there": recipe.noise == INDEPENDENT,
        "the mask's edge fades otherwise there": recipe.mask,
        "small pictures that it edits are enlarged there": (
            recipe.references and flow is FLOW_FAMILIES["flux2"]
        ),
        "short prompts are padded otherwise there": flow is FLOW_FAMILIES["flux2"],
        "the blank before 'embedding:' is lost there": (
            checkpoint
            and not checkpoint.weighs
            and any("embedding:" in text for text in (recipe.prompt, recipe.negative_prompt))
        ),
    }
    return tuple(why for why, applies in differences.items() if applies)


def _is_whole(part: str) -> bool:
    """Return whether all of a part's parentheses are closed in it."""
    bare = re.sub(r"\\[()]", "", part)
    return bare.count("(") == bare.count(")")
