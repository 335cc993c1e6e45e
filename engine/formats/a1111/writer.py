"""Write a recipe as A1111's text, or why it has none.

A1111 numbers the pictures of a batch by seeds and knows no slices of one draw, so that it remakes
the first picture of a recipe only; and its line names no pictures. Settings whose names begin with
`Marble` carry the rest.
"""

import re
from typing import Final

from engine.formats.a1111.names import RESIZE_NAMES, SAMPLER_NAMES, SCHEDULE_NAMES, UPSCALER_NAMES
from engine.formats.a1111.second_model import second_settings
from engine.formats.a1111.settings import NEGATIVE, write
from engine.formats.a1111.syntax import NETWORK, is_alike
from engine.formats.flow_model import FlowModel
from engine.formats.graphs.upscaling import factor_to
from engine.models.catalogue import Checkpoint
from engine.models.name_matching import stem
from engine.recipe.limits import A1111_OLD, ANCESTRAL, BROWNIAN, CPU, GPU, MARBLE
from engine.recipe.parts import CANNY, Control, Upscale
from engine.recipe.prompt_tags import plain, write_loras
from engine.recipe.recipe import Recipe

# A1111's mask blur is the deviation that Marble's feather has, half its width.
BLUR: Final = 128  # the shorter side has so many of it
NEGATIVE_LINE: Final = re.compile(rf"^[^\S\n]*{NEGATIVE}", re.MULTILINE)


def to_a1111(recipe: Recipe, checkpoint: Checkpoint | None = None) -> str:
    """Write a recipe as a line; `ValueError` where none can express it (`no_line_reasons`).

    checkpoint: the model that it names. Flow models are written as Forge does.
    """
    if reasons := no_line_reasons(recipe):
        raise ValueError(f"no line says this recipe: {reasons[0]}")
    flow = FlowModel.of(checkpoint)
    settings = _settings(recipe) | (_flow(recipe, flow) if flow else {})
    settings |= _derived(recipe) | second_settings(recipe) | _marble_settings(recipe)
    negative = f"{NEGATIVE} {recipe.negative_prompt}\n" if recipe.negative_prompt else ""
    return f"{write_loras(recipe.prompt, recipe.loras)}\n{negative}{write(settings)}"


def no_line_reasons(recipe: Recipe) -> tuple[str, ...]:
    """Return why a recipe has no line; nothing, where it has one."""
    upscale = recipe.upscale
    reasons = {
        "it edits pictures by words": recipe.references,
        "it has texts for parts of the picture": recipe.areas,
        f"A1111 takes '{NEGATIVE}' and tags like '<x:1>' out of its prompts": (
            NETWORK.search(recipe.prompt)
            or any(map(NEGATIVE_LINE.search, (recipe.prompt, recipe.negative_prompt)))
        ),
        "its noise is turned towards another seed's": recipe.variations,
        "the scene is continued beyond its start image": recipe.margins,
        "its network is changed as ComfyUI's nodes do": recipe.patches,
        "its detail is drawn in tiles": upscale and upscale.tile,
        "it draws on its start image and on the enlarged one, each with a strength": (
            recipe.strength and upscale and upscale.strength
        ),
        "the name of a control model holds a comma or a colon": any(
            re.search(r"[,:\n]", control.model) for control in recipe.controls
        ),
    }
    return tuple(why for why, applies in reasons.items() if applies)


def _settings(recipe: Recipe) -> dict[str, str | None]:
    return {
        # A1111 runs only the share of them that the strength leaves.
        "Steps": str(int(recipe.steps / (recipe.strength or 1))),
        "Sampler": SAMPLER_NAMES.get(recipe.sampler, recipe.sampler),
        "Schedule type": SCHEDULE_NAMES.get(recipe.schedule, recipe.schedule),
        "CFG scale": plain(recipe.guidance_scale),
        "Seed": str(recipe.seed),
        "Size": f"{recipe.width}x{recipe.height}",
        "Model": recipe.checkpoint,
        # Start noise is a processor's, but where it is drawn as A1111 does it.
        "RNG": "NV" if recipe.noise == GPU and recipe.ensd is not None else "CPU",
        "ENSD": None if recipe.ensd is None else str(recipe.ensd),
        "Clip skip": None if recipe.clip_skip is None else str(recipe.clip_skip),
        "VAE": recipe.vae,
    }


def _flow(recipe: Recipe, flow: FlowModel) -> dict[str, str | None]:
    """Return the settings of a flow model: VAE and text encoders are its modules."""
    settings: dict[str, str | None] = {}
    if flow.is_told:
        guidance = plain(recipe.guidance_scale)
        settings |= {"CFG scale": "1", "Distilled CFG Scale": guidance}
    if recipe.shift is not None:
        settings["Shift"] = plain(recipe.shift)
    if flow.is_apart:
        files = (recipe.vae or flow.vae or "", *flow.encoders)
        named = {f"Module {number}": stem(file) for number, file in enumerate(files, 1)}
        settings |= {"VAE": None, **named}
    return settings


def _derived(recipe: Recipe) -> dict[str, str | None]:
    """Return the settings of start image, ControlNets and upscaling."""
    settings: dict[str, str | None] = {}
    if recipe.strength is not None:
        settings["Denoising strength"] = plain(recipe.strength)
    if recipe.mask is not None:
        settings["Mask blur"] = str(max(1, min(recipe.width, recipe.height) // BLUR))
    for index, control in enumerate(recipe.controls):
        settings[f"ControlNet {index}"] = _control(control, recipe.fit)
    return settings | (_upscale(recipe, recipe.upscale) if recipe.upscale else {})


def _control(control: Control, fit: str) -> str:
    values = {"Module": control.preprocessor, "Model": control.model}
    values |= {"Weight": plain(control.strength), "Resize Mode": RESIZE_NAMES[fit]}
    if control.preprocessor == "canny":
        values |= {"Threshold A": str(CANNY[0]), "Threshold B": str(CANNY[1])}
    values |= {"Guidance Start": plain(control.start), "Guidance End": plain(control.end)}
    values |= {"Pixel Perfect": "True", "Control Mode": "Balanced"}
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def _upscale(recipe: Recipe, upscale: Upscale) -> dict[str, str | None]:
    by = UPSCALER_NAMES.get(upscale.by, upscale.by)
    how, value = _how_much(recipe, upscale)
    if upscale.strength is None:
        size = {f"Postprocess upscale {'by' if how == 'upscale' else 'to'}": value}
        return {**size, "Postprocess upscaler": by}
    return {
        "Denoising strength": plain(upscale.strength),
        f"Hires {how}": value,
        "Hires steps": str(recipe.second_pass_steps),
        "Hires upscaler": by,
    }


def _how_much(recipe: Recipe, upscale: Upscale) -> tuple[str, str]:
    """Return a factor where A1111 comes to our size by it, and that size where it does not."""
    size = recipe.size
    factors = upscale.factor, factor_to(recipe.width, recipe.height, size)
    for factor in factors:
        if (int(recipe.width * factor), int(recipe.height * factor)) == size:
            return "upscale", plain(factor)
    return "resize", f"{size[0]}x{size[1]}"


def _marble_settings(recipe: Recipe) -> dict[str, str | None]:
    """Return settings under Marble's own names, where A1111 has none."""
    maps = {f"Marble control {i}": each.image for i, each in enumerate(recipe.controls)}
    alike = is_alike(recipe.prompt, recipe.negative_prompt)
    own_syntax = recipe.syntax == MARBLE if not alike else recipe.syntax != MARBLE
    own_noise = recipe.noise != CPU or recipe.sampler in (*ANCESTRAL, *BROWNIAN)
    return {
        "Marble noise": recipe.noise if recipe.ensd is None and own_noise else None,
        "Marble syntax": recipe.syntax if own_syntax else None,
        "Old prompt editing timelines": "True" if recipe.syntax == A1111_OLD else None,
        "Marble rescale": plain(recipe.guidance_rescale) if recipe.guidance_rescale else None,
        "Marble count": str(recipe.count) if recipe.count > 1 else None,
        "Marble picture": None if recipe.picture is None else str(recipe.picture),
        "Marble image": recipe.image,
        "Marble mask": recipe.mask,
        "Marble fit": recipe.fit if recipe.fit != "crop" else None,
        **maps,
    }
