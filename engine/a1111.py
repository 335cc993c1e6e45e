"""Write a recipe as the line that A1111's web UI reads, and read its lines.

The line has no escapes: A1111 trims every line of a prompt, and takes a line that begins with
"Negative prompt:" for what it says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from engine.errors import MetadataError
from engine.recipe import Recipe, parse_seed
from engine.wording import take_loras, write_loras

# A1111's names (and Forge's, for the last three) for our samplers and schedules, which bear
# ComfyUI's. Those without a name there are written as they are.
SAMPLER_NAMES: Final = {
    "euler": "Euler", "euler_ancestral": "Euler a", "heun": "Heun", "lms": "LMS", "lcm": "LCM",
    "dpm_2": "DPM2", "dpm_2_ancestral": "DPM2 a", "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE", "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE", "ddim": "DDIM", "uni_pc": "UniPC",
    "ddpm": "DDPM", "ipndm": "IPNDM", "deis": "DEIS",
}  # fmt: skip
SCHEDULE_NAMES: Final = {
    "normal": "Normal", "karras": "Karras", "exponential": "Exponential", "simple": "Simple",
    "sgm_uniform": "SGM Uniform", "ddim_uniform": "DDIM", "beta": "Beta",
}  # fmt: skip
SAMPLERS_READ: Final = {name: ours for ours, name in SAMPLER_NAMES.items()}
SCHEDULES_READ: Final = {name: ours for ours, name in SCHEDULE_NAMES.items()}
SCHEDULES_READ["Uniform"] = "normal"  # A1111 computes one thing under two names
# What "Automatic", or no schedule at all, means to A1111: "Uniform" but for these samplers.
KARRAS: Final = ("dpmpp_2m", "dpmpp_sde", "dpmpp_2s_ancestral", "dpm_2", "dpm_2_ancestral")
AUTOMATIC: Final = {
    **dict.fromkeys(KARRAS, "karras"),
    **dict.fromkeys(("dpmpp_2m_sde", "dpmpp_3m_sde"), "exponential"),
    "ddim": "ddim_uniform",
}

NEGATIVE: Final = "Negative prompt:"
# `name: value` up to a comma, or with a value that is quoted as JSON. The bound on the name keeps
# a hostile line from being searched in quadratic time.
SETTING: Final = re.compile(r'(\w[\w /-]{1,60}):\s*("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')
NECESSARY: Final = ("Steps", "Sampler", "CFG scale", "Seed", "Size", "Model")
OPTIONAL: Final = (
    "Schedule type", "Clip skip", "VAE", "Model hash", "VAE hash", "Lora hashes", "Version",
    "Marble count", "Marble picture", "Marble rescale",
)  # fmt: skip
# What these settings are where the line does not say, and what they must be for Marble's pixels.
ASSUMED: Final = {"RNG": "GPU"}
NEEDED: Final = {"RNG": "CPU"}


def to_a1111(recipe: Recipe) -> str:
    """Write a recipe as A1111's three-part text: prompt, negative prompt, settings.

    A1111 numbers the pictures of a batch by seeds and knows no slices of one draw, so that it
    remakes the first picture of a recipe only; `Marble count` and `Marble picture` carry the rest.
    """
    settings = {
        "Steps": str(recipe.steps),
        "Sampler": SAMPLER_NAMES.get(recipe.sampler, recipe.sampler),
        "Schedule type": SCHEDULE_NAMES.get(recipe.schedule, recipe.schedule),
        "CFG scale": repr(recipe.guidance_scale).removesuffix(".0"),
        "Seed": str(recipe.seed),
        "Size": f"{recipe.width}x{recipe.height}",
        "Model": recipe.checkpoint,
        "RNG": NEEDED["RNG"],
    }
    if recipe.clip_skip is not None:
        settings["Clip skip"] = str(recipe.clip_skip)
    if recipe.vae is not None:
        settings["VAE"] = recipe.vae
    if recipe.guidance_rescale:
        settings["Marble rescale"] = repr(recipe.guidance_rescale).removesuffix(".0")
    if recipe.count > 1:
        settings["Marble count"] = str(recipe.count)
    if recipe.picture is not None:
        settings["Marble picture"] = str(recipe.picture)
    negative = f"{NEGATIVE} {recipe.negative_prompt}\n" if recipe.negative_prompt else ""
    line = ", ".join(f"{name}: {_quote(value)}" for name, value in settings.items())
    return f"{write_loras(recipe.prompt, recipe.loras)}\n{negative}{line}"


def from_a1111(text: str) -> tuple[Recipe, tuple[str, ...]]:
    """Read A1111's text as A1111 does: the recipe, and what in it Marble cannot honour."""
    *lines, line = text.strip().split("\n")
    found = {name: _unquote(value) for name, value in SETTING.findall(line)}
    settings = {**ASSUMED, **found}
    if missing := [name for name in NECESSARY if name not in found]:
        raise MetadataError(f"The A1111 text does not say: {', '.join(missing)}.")
    prompt, negative_prompt = _prompts(lines)
    sampler, schedule = _sampling(settings["Sampler"], settings.get("Schedule type", ""))
    width, _, height = settings["Size"].partition("x")
    prompt, loras = take_loras(prompt)
    recipe = Recipe(
        prompt=prompt,
        negative_prompt=negative_prompt,
        seed=parse_seed(settings["Seed"]),
        steps=_number(int, settings["Steps"]),
        guidance_scale=_number(float, settings["CFG scale"]),
        width=_number(int, width),
        height=_number(int, height),
        count=_number(int, settings.get("Marble count", "1")),
        picture=_number(int, settings.get("Marble picture")),
        sampler=sampler,
        schedule=schedule,
        checkpoint=settings["Model"],
        loras=loras,
        clip_skip=_number(int, settings.get("Clip skip")),
        guidance_rescale=_number(float, settings.get("Marble rescale", "0")),
        vae=settings.get("VAE"),
    )
    others = settings.keys() - {*NECESSARY, *OPTIONAL}
    ignored = sorted(name for name in others if NEEDED.get(name) != settings[name])
    return recipe, tuple(f"{name}: {settings[name][:60]}" for name in ignored)


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


def _sampling(sampler: str, schedule: str) -> tuple[str, str]:
    """Translate names; before version 1.9 the schedule was the last word of the sampler's name."""
    for name in SCHEDULES_READ:
        if sampler.endswith(f" {name}"):
            sampler, schedule = sampler.removesuffix(f" {name}"), name
    ours = SAMPLERS_READ.get(sampler, sampler)
    if schedule in ("", "Automatic"):
        return ours, AUTOMATIC.get(ours, "normal")
    return ours, SCHEDULES_READ.get(schedule, schedule)


def _number(kind: Callable[[str], float], text: str | None) -> Any:
    """Convert a number; what is none goes on as it is, for `Recipe` to name it."""
    try:
        return None if text is None else kind(text)
    except ValueError:
        return text


def _quote(value: str) -> str:
    plain = value == value.strip() and not any(mark in value for mark in ',:\n"')
    return value if plain else json.dumps(value, ensure_ascii=False)


def _unquote(value: str) -> str:
    try:
        return str(json.loads(value)) if value[:1] == value[-1:] == '"' else value
    except ValueError:
        return value
