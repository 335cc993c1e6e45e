"""The table of rules: values, notation, and the recipe field that each one limits.

Each rule has a default by setting, which `*` (everywhere) and then each place may replace
(`marble rules`). A place's own moderators may only ask for less (`bots.admission.in_force`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from bots.admission.blocked_words import read_list, write_list
from engine.errors import OptionError, UnknownPart, UserError
from engine.models.catalogue import Catalogue
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.models.name_matching import means
from engine.recipe.limits import CHOICES, LARGEST, RANGES, Range, one_of, read_whole
from engine.recipe.prompt_tags import plain
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence

PREFIX: Final = "rules."  # of the keys under which places store the owner's rules
POLICY: Final = "policy."  # … and those of their moderators
OPEN: Final = "open"  # a place's setting: False where no job is taken
KEEP: Final = "keep_days"  # a rule: after which pictures of a place that nobody marked are removed
DEFAULT_COUNT: Final = "default_count"  # a rule: pictures of a job where nobody says how many
WORKFLOWS: Final = "workflows"  # a rule: which of the owner's may be used
MOST: Final = 10**9
Rules = Mapping[str, Any]  # of one place, by name: their values as places store them
# What phones and Chinese keyboards write between two numbers is no other than "-".
_BOUNDS: Final = re.compile(r"(-?\d+(?:\.\d+)?)\s*[-–—－~～]\s*(-?\d+(?:\.\d+)?)", re.ASCII)
A_LIMIT: Final = Sentence("a_limit", most=MOST)


class Safety(StrEnum):
    """What is done with pictures that the safety check does not find safe; stricter ones last."""

    OFF = "off"
    SPOILER = "spoiler"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Measure:
    """A numeric rule: its range, and a function that returns the recipe's values for it.

    field: of the recipe, that those values are of; a model without that field has none to limit.
    """

    allowed: Range
    of: Callable[[Recipe], Sequence[float]]
    field: str = ""


def _given(*values: float | None) -> list[float]:
    return [value for value in values if value is not None]


# Of a finished picture, upscaled or not.
SIDE: Final = Range(RANGES["width"].low, RANGES["width"].high * RANGES["factor"].high)

# By the names of options, or by what is counted; a test compares them with the table of options.
MEASURES: Final[Mapping[str, Measure]] = {
    "steps": Measure(RANGES["steps"], lambda r: (r.steps,)),
    "guidance": Measure(RANGES["guidance_scale"], lambda r: (r.guidance_scale,), "guidance_scale"),
    "width": Measure(SIDE, lambda r: r.size[:1]),
    "height": Measure(SIDE, lambda r: r.size[1:]),
    "pixels": Measure(Range(64 * 64, LARGEST), lambda r: (math.prod(r.size),)),
    "count": Measure(RANGES["count"], lambda r: (r.count,)),
    "strength": Measure(
        RANGES["strength"], lambda r: _given(r.strength, r.upscale.strength if r.upscale else None)
    ),
    "rescale": Measure(
        RANGES["guidance_rescale"], lambda r: (r.guidance_rescale,), "guidance_rescale"
    ),
    "clip_skip": Measure(RANGES["clip_skip"], lambda r: _given(r.clip_skip), "clip_skip"),
    "shift": Measure(RANGES["shift"], lambda r: _given(r.shift), "shift"),
    "upscale": Measure(RANGES["factor"], lambda r: (r.upscale.factor,) if r.upscale else ()),
    "loras": Measure(Range(0, 16), lambda r: (len(r.loras),), "loras"),
    "lora_weight": Measure(
        RANGES["lora_weight"], lambda r: [weight for lora in r.loras for weight in lora.weights]
    ),
    "controls": Measure(Range(0, 4), lambda r: (len(r.controls),), "controls"),
    "control_strength": Measure(
        RANGES["control_strength"], lambda r: [each.strength for each in r.controls]
    ),
    "images": Measure(Range(0, 10), lambda r: (len(r.inputs),)),  # that it starts from
}
# The names that a recipe uses: those of `CHOICES`, else of models or other files.
NAMED: Final[Mapping[str, Callable[[Recipe], Sequence[str]]]] = {
    "models": lambda r: r.models,
    "sampler": lambda r: (r.sampler,),
    "schedule": lambda r: (r.schedule,),
    "fit": lambda r: (r.fit,) if r.image else (),
    "lora": lambda r: [lora.name for lora in r.loras],
    "vae": lambda r: (r.vae,) if r.vae else (),
    "control": lambda r: [each.model for each in r.controls],
    "upscaler": lambda r: (r.upscale.by,) if r.upscale else (),
    # The owner's workflows, by which recipes come about: checked where one is asked for.
    WORKFLOWS: lambda r: (),
}
FILES: Final[Mapping[str, ModelKind]] = {
    "lora": ModelKind.LORA,
    "vae": ModelKind.VAE,
    "control": ModelKind.CONTROLNET,
    "upscaler": ModelKind.UPSCALER,
}


def read_rule(name: str, text: str) -> Any:
    """Read a rule as people write it, to a plain JSON value; None (for nothing) removes it.

    Raises `OptionError` or `UnknownPart`.
    """
    if name not in RULES:
        raise OptionError("A rule", name, one_of(RULES))
    return RULES[name](name, text.strip()) if text.strip() else None


def write_rule(value: Any) -> str:
    """Write a rule as people write it."""
    if not isinstance(value, (list, tuple)):
        return str(value)
    if all(isinstance(each, str) for each in value):
        return write_list(value)
    return "-".join(map(str, value))


def complete_names(
    models_dir: Path | None, changes: Mapping[str, str], *, ahead: bool = False
) -> tuple[dict[str, str], list[UserError]]:
    """Return rules as typed with the full names of the files that they name; blocks.

    Raises the `UserError` for a name that no file has; with `ahead` such a name stays as it is
    typed, for files to come, and the error is returned beside the rules.
    """
    found = dict(changes)
    missing: list[UserError] = []
    for rule, text in changes.items():
        if rule not in ("models", *FILES):
            continue
        there: Catalogue | ModelFiles = (
            ModelFiles(models_dir, FILES[rule]) if rule in FILES else Catalogue(models_dir)
        )
        names: list[str] = []
        for typed in read_list(text):
            try:
                names.append(there.resolve(typed))
            except UserError as error:
                if not ahead:
                    raise
                names.append(typed)
                missing.append(error)
        if names:  # commas alone stand for none at all
            found[rule] = write_list(names)
    return found, missing


def is_among(rule: str, name: str, allowed: Iterable[str]) -> bool:
    """Return whether a name of a recipe is one of those that a rule of `NAMED` allows.

    A bare name in a rule stands for a file of that name in any folder
    (`engine.models.name_matching`). Known names may be written with other cases and hyphens.
    """
    if rule in CHOICES:
        return _plain_name(name) in map(_plain_name, allowed)
    return any(means(each, name) for each in allowed)


def _plain_name(name: str) -> str:
    return name.strip().casefold().replace("-", "_")


def _number(name: str, text: str) -> int:
    if (number := read_whole(text, 0, MOST)) is None:
        raise OptionError(name, text, A_LIMIT)
    return number


def _count(name: str, text: str) -> int:
    allowed = RANGES["count"]
    if (number := read_whole(text, allowed.low, allowed.high)) is None:
        low, high = plain(allowed.low), plain(allowed.high)
        raise OptionError(name, text, Sentence("between", low=low, high=high))
    return number


def _bounds(name: str, text: str) -> list[float]:
    allowed = MEASURES[name].allowed
    found = _BOUNDS.fullmatch(text)
    low, high = (float(found[1]), float(found[2])) if found else (1.0, 0.0)
    if not allowed.low <= low <= high <= allowed.high:
        low_end, high_end = plain(allowed.low), plain(allowed.high)
        raise OptionError(name, text, Sentence("like_bounds", low=low_end, high=high_end))
    return [int(each) if each == int(each) else each for each in (low, high)]


def _names(name: str, text: str) -> list[str]:
    names = read_list(text)
    if name not in CHOICES:
        return names
    for each in names:
        if not is_among(name, each, CHOICES[name]):
            raise UnknownPart(name, each, CHOICES[name])
    return list(map(_plain_name, names))


def _safety(name: str, text: str) -> str:
    if text.lower() not in list(Safety):
        raise OptionError(name, text, one_of(Safety))
    return text.lower()


# Limits of how much is asked for, waits or runs: of a person, or of all people in a place.
COUNTED: Final = (
    *("per_minute", "place_per_minute"),  # jobs
    "daily",  # 10⁶ pixels × steps of a person in 24 hours
    *("waiting", "place_waiting", "running", "place_running"),  # jobs at once
)
# Where nothing is set: 0 and an empty list mean no limit.
UNLIMITED: Final[Rules] = {
    **dict.fromkeys((*COUNTED, KEEP), 0),
    "blocked": [],
    "safety": Safety.OFF.value,
}
# How the text of each rule is read.
RULES: Final[Mapping[str, Callable[[str, str], Any]]] = {
    **dict.fromkeys(COUNTED, _number),
    "blocked": lambda name, text: read_list(text),
    "safety": _safety,
    KEEP: _number,
    DEFAULT_COUNT: _count,
    **dict.fromkeys(MEASURES, _bounds),
    **dict.fromkeys(NAMED, _names),
}
LISTED: Final = ("blocked", *NAMED)  # rules that are lists of words or names
# What a place's own moderators may narrow, and a default that they may change.
MODERATED: Final = (
    *("per_minute", "place_per_minute", "blocked", "safety", DEFAULT_COUNT),
    *MEASURES,
    *NAMED,
)
