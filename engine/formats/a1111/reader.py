"""Read A1111's text as A1111 does: the recipe, and the parts that Marble ignores."""

import math
from collections.abc import Iterable
from typing import Any, Final

from engine.errors import GraphError, MetadataError
from engine.formats.a1111.names import NEXT_UPSCALERS, UPSCALER_NAMES, UPSCALERS_READ, sampling
from engine.formats.a1111.settings import NEGATIVE, Settings, number
from engine.formats.a1111.syntax import name_embeddings, name_syntax, take_networks
from engine.formats.graphs.flow_families import USUAL_VAES, is_usual
from engine.formats.graphs.upscaling import factor_to
from engine.recipe.limits import parse_seed
from engine.recipe.parts import Control, Upscale, Variation
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence

NECESSARY: Final = ("Steps", "Sampler", "CFG scale", "Seed", "Size", "Model")
# What does not change a picture, or is in the prompt as well.
SAID: Final = (
    "Model hash", "VAE hash", "Lora hashes", "Version", "User", "Init image hash",
    "Diffusion in Low Bits",
)  # fmt: skip
MODULES: Final = 8  # of Forge, at most
MOST_STEPS: Final = 10**6
LONGEST: Final = 100_000  # characters of a text; the longest of A1111's own have some thousands
# What a mask brings along; other values than these are named.
MASK: Final = {"Mask blur": None, "Masked content": "original", "Inpaint area": "Whole picture"}


def from_a1111(text: str) -> tuple[Recipe, tuple[str, ...]]:
    """Read a line: the recipe, and the parts of it that are ignored.

    Raises `MetadataError` where it is no such line, `OptionError` for a value out of range.
    """
    if len(text) > LONGEST:
        raise MetadataError(Sentence("a1111_long", most=LONGEST))
    *lines, line = text.strip().split("\n")
    settings = Settings(line)
    if missing := [name for name in NECESSARY if name not in settings]:
        raise MetadataError(Sentence("a1111_missing", names=", ".join(missing)))
    for name in SAID:
        settings.pop(name, None)
    texts = _prompts(lines)
    prompt, loras = take_networks(texts[0], settings)
    prompt, negative_prompt = texts = name_embeddings((prompt, texts[1]), settings)
    name_syntax(texts, settings)
    width, _, height = settings.pop("Size").partition("x")
    values: dict[str, Any] = {"width": number(int, width), "height": number(int, height)}
    values |= _plain(settings)
    values |= _start_image(settings)
    values |= _upscale(settings, values)
    if _multiply(steps := values["steps"], strength := values.get("strength")):
        # 1e-6: what A1111's division left above a whole number.
        values["steps"] = max(1, math.ceil(steps * strength - 1e-6))
    values |= {"controls": _controls(settings), "variations": _variations(settings)}
    if (rng := settings.pop("RNG", "GPU")) != "CPU":
        settings.note("RNG", rng, Sentence("a1111_noise"))
    if values.pop("told"):
        negative_prompt = ""
    recipe = Recipe(prompt=prompt, negative_prompt=negative_prompt, loras=loras, **values)
    return recipe, settings.left()


def _prompts(lines: Iterable[str]) -> tuple[str, str]:
    prompt: list[str] = []
    negative: list[str] = []
    part = prompt
    for line in map(str.strip, lines):
        if line.startswith(NEGATIVE):
            part, line = negative, line.removeprefix(NEGATIVE).strip()
        if part or line:  # leading empty lines go
            part.append(line)
    return "\n".join(prompt), "\n".join(negative)


def _guidance(settings: Settings) -> dict[str, Any]:
    """Read guidance: Forge tells FLUX its own, beside which there is no negative prompt."""
    told = settings.number(float, "Distilled CFG Scale")
    if told is None:
        return {"guidance_scale": settings.number(float, "CFG scale"), "told": False}
    if number(float, cfg := settings.pop("CFG scale")) != 1:
        settings.note("CFG scale", cfg, Sentence("a1111_told"))
    return {"guidance_scale": told, "told": True}


def _vae(settings: Settings) -> str | None:
    """Read the VAE, which is one of Forge's modules: the others are text encoders."""
    names = [name for at in range(1, MODULES + 1) if (name := f"Module {at}") in settings]
    others = [name for name in names if not is_usual(settings[name])]
    for name in set(names) - set(others):
        settings.pop(name)
    if "VAE" in settings or len(others) != 1:
        return settings.pop("VAE", None)
    vae = settings.pop(others[0])
    return None if vae in USUAL_VAES else vae


def _plain(settings: Settings) -> dict[str, Any]:
    sampler, schedule = sampling(settings.pop("Sampler"), settings.pop("Schedule type", ""))
    return {
        "seed": parse_seed(settings.pop("Seed")),
        "steps": settings.number(int, "Steps"),
        **_guidance(settings),
        "shift": settings.number(float, "Shift"),
        "count": settings.number(int, "Marble count", "1"),
        "picture": settings.number(int, "Marble picture"),
        "sampler": sampler,
        "schedule": schedule,
        "checkpoint": settings.pop("Model"),
        "clip_skip": settings.number(int, "Clip skip"),
        "guidance_rescale": settings.number(float, "Marble rescale", "0"),
        "vae": _vae(settings),
    }


def _start_image(settings: Settings) -> dict[str, Any]:
    """Read the values for a start image; A1111's lines do not name it, Marble's do."""
    fit = {"fit": settings.pop("Marble fit", "crop")}
    if "Marble image" not in settings:
        return fit
    mask = settings.pop("Marble mask", None)
    for name, usual in MASK.items() if mask else ():
        if (value := settings.pop(name, usual)) != usual and usual is not None:
            settings.note(name, value, Sentence("a1111_under_mask"))
    found = {**fit, "image": settings.pop("Marble image", None), "mask": mask}
    if "Hires upscaler" not in settings:
        found["strength"] = settings.number(float, "Denoising strength")
    return found


def _multiply(steps: Any, strength: Any) -> bool:
    """Return whether these are numbers that can be multiplied; else the recipe refuses them."""
    counted = isinstance(steps, int) and 0 < steps < MOST_STEPS
    return counted and isinstance(strength, float) and 0 < strength <= 1


def _upscale(settings: Settings, values: dict[str, Any]) -> dict[str, Any]:
    """Read A1111's "Hires. fix", or an upscaler that worked on the finished picture."""
    for prefix, factor, size in (
        ("Hires", "Hires upscale", "Hires resize"),
        ("Postprocess", "Postprocess upscale by", "Postprocess upscale to"),
    ):
        if factor not in settings and size not in settings:
            continue
        by = _upscaler(settings, f"{prefix} upscaler")
        strength = settings.number(float, "Denoising strength") if prefix == "Hires" else None
        times = settings.number(float, factor)
        if times is None:
            times = _factor(settings.pop(size, ""), values)
        upscale = Upscale(factor=times, by=by, strength=strength)
        if strength is not None:
            _note_steps(settings, values["steps"], strength)
        return {"upscale": upscale}
    if (value := settings.pop("Denoising strength", None)) is not None:
        settings.note("Denoising strength", value, Sentence("a1111_no_image"))
    return {}


def _upscaler(settings: Settings, name: str) -> str:
    theirs = settings.pop(name, UPSCALER_NAMES["lanczos"])
    if ours := NEXT_UPSCALERS.get(theirs):
        settings.note(name, theirs, Sentence("a1111_taken", taken=UPSCALER_NAMES[ours]))
        return ours
    return UPSCALERS_READ.get(theirs, theirs)


def _factor(size: str, values: dict[str, Any]) -> float:
    width, _, height = size.partition("x")
    target = number(float, width), number(float, height)
    sides = values["width"], values["height"], *target
    if not all(isinstance(side, (int, float)) and 0 < side < 1e6 for side in sides):
        raise MetadataError(Sentence("a1111_no_size", size=size[:20]))
    try:
        return factor_to(values["width"], values["height"], target)
    except GraphError:
        raise MetadataError(Sentence("a1111_another_shape")) from None


def _note_steps(settings: Settings, steps: Any, strength: Any) -> None:
    theirs = settings.number(int, "Hires steps") or steps  # 0: as many as before
    if _multiply(steps, strength):
        ours = max(1, round(steps * strength))
        if theirs != ours:
            settings.note("Hires steps", theirs, Sentence("a1111_drawn_in", steps=ours))


def _variations(settings: Settings) -> tuple[Variation, ...]:
    if "Variation seed strength" not in settings:
        return ()
    amount = settings.number(float, "Variation seed strength")
    seed = settings.pop("Variation seed", "")
    settings.note("Variation seed", seed, Sentence("a1111_turned"))
    return (Variation(seed=parse_seed(seed), amount=amount),)


def _controls(settings: Settings) -> tuple[Control, ...]:
    """Read ControlNet's units; A1111's lines do not name their images, Marble's do."""
    found: list[Control] = []
    for index in range(16):
        unit, image = f"ControlNet {index}", settings.pop(f"Marble control {index}", None)
        if image and unit in settings:
            found.append(_control(Settings(settings.pop(unit)), image))
        elif unit in settings:
            settings.note(unit, settings.pop(unit), Sentence("a1111_no_map"))
    return tuple(found)


def _control(unit: Settings, image: str) -> Control:
    return Control(
        model=unit.pop("Model", ""),
        image=image,
        strength=unit.number(float, "Weight", "1"),
        start=unit.number(float, "Guidance Start", "0"),
        end=unit.number(float, "Guidance End", "1"),
        preprocessor=unit.pop("Module", "none"),
    )
