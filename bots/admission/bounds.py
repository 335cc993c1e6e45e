"""What of a recipe a place may hold within bounds: its numbers, and the names that it uses.

Every option is here under the name that people use, or one that says what is counted; a test holds
this against the table of options.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.models.name_matching import means
from engine.recipe.limits import CHOICES, LARGEST, RANGES, Range
from engine.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Measure:
    """Say what a number of a recipe may be at all, and how it is read off: none, one or several."""

    allowed: Range
    of: Callable[[Recipe], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Named:
    """Say how the names that a recipe uses are read off, and what they may be at all (if known)."""

    of: Callable[[Recipe], Sequence[str]]
    known: tuple[str, ...] = ()


def _strengths(recipe: Recipe) -> Sequence[float]:
    return _given(recipe.strength, recipe.upscale.strength if recipe.upscale else None)


def _lora_weights(recipe: Recipe) -> Sequence[float]:
    return [weight for lora in recipe.loras for weight in lora.weights]


# Of a finished picture, enlarged or not.
SIDE: Final = Range(RANGES["width"].low, RANGES["width"].high * RANGES["factor"].high)

MEASURES: Final[Mapping[str, Measure]] = {
    "steps": Measure(RANGES["steps"], lambda r: (r.steps,)),
    "guidance": Measure(RANGES["guidance_scale"], lambda r: (r.guidance_scale,)),
    "width": Measure(SIDE, lambda r: r.size[:1]),
    "height": Measure(SIDE, lambda r: r.size[1:]),
    "pixels": Measure(Range(64 * 64, LARGEST), lambda r: (math.prod(r.size),)),
    "count": Measure(RANGES["count"], lambda r: (r.count,)),
    "strength": Measure(RANGES["strength"], _strengths),
    "rescale": Measure(RANGES["guidance_rescale"], lambda r: (r.guidance_rescale,)),
    "clip_skip": Measure(RANGES["clip_skip"], lambda r: _given(r.clip_skip)),
    "upscale": Measure(RANGES["factor"], lambda r: (r.upscale.factor,) if r.upscale else ()),
    "loras": Measure(Range(0, 16), lambda r: (len(r.loras),)),
    "lora_weight": Measure(RANGES["lora_weight"], _lora_weights),
    "controls": Measure(Range(0, 4), lambda r: (len(r.controls),)),
    "control_strength": Measure(
        RANGES["control_strength"], lambda r: [each.strength for each in r.controls]
    ),
    "images": Measure(Range(0, 6), lambda r: (len(r.inputs),)),  # that it starts from
}
NAMED: Final[Mapping[str, Named]] = {
    "models": Named(lambda r: (r.checkpoint,)),
    "sampler": Named(lambda r: (r.sampler,), CHOICES["sampler"]),
    "schedule": Named(lambda r: (r.schedule,), CHOICES["schedule"]),
    "fit": Named(lambda r: (r.fit,) if r.image else (), CHOICES["fit"]),
    "lora": Named(lambda r: [lora.name for lora in r.loras]),
    "vae": Named(lambda r: (r.vae,) if r.vae else ()),
    "control": Named(lambda r: [each.model for each in r.controls]),
    "upscaler": Named(lambda r: (r.upscale.by,) if r.upscale else ()),
}


def is_among(rule: str, name: str, allowed: Iterable[str]) -> bool:
    """Say whether a name of a recipe is one of those that a rule of `NAMED` allows.

    Files are meant as everywhere (`engine.models.name_matching`): a bare name in a rule stands for
    a file of that name in any folder. Names that are known beforehand may be written in any way.
    """
    if NAMED[rule].known:
        return plain_name(name) in map(plain_name, allowed)
    return any(means(each, name) for each in allowed)


def plain_name(name: str) -> str:
    """Return one of the known names without what people write otherwise."""
    return name.strip().casefold().replace("-", "_")


def _given(*values: float | None) -> list[float]:
    return [value for value in values if value is not None]
