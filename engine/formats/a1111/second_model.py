"""A second model in A1111's text: its name, and when it takes over.

By version 1.8 it does at a share of the steps, since 1.9 at a share of the noise levels, where the
line does not say otherwise.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from engine.formats.a1111.settings import Settings, number
from engine.recipe.limits import ANEW, BY_NOISE, BY_STEPS, NEGATIVE_SCORE, RANGES, SCORE
from engine.recipe.prompt_tags import plain
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence

NAME: Final = "Refiner"
AT: Final = "Refiner switch at"
START: Final = "Refiner start"  # SD.Next's, which runs two pipelines
COUNTED: Final = "Refiner switch by sampling steps"
HIRES: Final = "Hires refiner"
FIRST: Final = "first pass"
BOTH: Final = "both passes"
OWN: Final = "Marble refiner"
STEPS: Final = "Refiner steps"
SCORES: Final = {"Marble score": SCORE, "Marble negative score": NEGATIVE_SCORE}
FIELDS: Final = ("aesthetic_score", "negative_aesthetic_score")
HASH: Final = re.compile(r" \[[0-9a-f]{4,64}\]$")


def read_second(settings: Settings, values: Mapping[str, Any], *, by_noise: bool) -> dict[str, Any]:
    """Read a second model, if there is one that takes over.

    by_noise: whether a share is one of the noise levels where nothing is said. What is not read
    stays, to be named.
    """
    told = {
        field: settings.number(float, name, str(usual))
        for field, (name, usual) in zip(FIELDS, SCORES.items(), strict=True)
    }
    name = AT if AT in settings else START
    at = number(float, settings.get(name))
    if NAME not in settings or not isinstance(at, float) or at not in RANGES["refiner_at"]:
        return told
    model = HASH.sub("", settings.pop(NAME))
    del settings[name]
    by_steps = settings.pop(COUNTED, None) == "True" or not by_noise
    by = ANEW if name == START else BY_STEPS if by_steps else BY_NOISE
    ours, by = OWN in settings, settings.pop(OWN, by)
    steps, upscale = values["steps"], values.get("upscale")
    if settings.get(STEPS) == str(steps):
        del settings[STEPS]
    again = bool(upscale and upscale.strength)
    first = not again or settings.pop(HIRES, None) == FIRST
    if first and not ours and by == BY_STEPS and _is_late(at, steps):
        settings.note(NAME, model, Sentence("a1111_refiner_late"))
        return told
    if again and not ours:
        settings.note(NAME, model, Sentence("a1111_refiner_pass"))
    return {**told, "refiner": model, "refiner_at": at, "refiner_by": by}


def _is_late(at: float, steps: object) -> bool:
    """Return whether no step begins at or after a share of all, so that A1111 never changes."""
    return isinstance(steps, int) and steps > 0 and (steps - 1) / steps < at


def second_settings(recipe: Recipe) -> dict[str, str | None]:
    """Return the settings of a second model, None for those that say nothing."""
    found: dict[str, str | None] = {
        name: None if (value := getattr(recipe, field)) == usual else plain(value)
        for field, (name, usual) in zip(FIELDS, SCORES.items(), strict=True)
    }
    if recipe.refiner is None:
        return found
    # What A1111 has no word for, or draws otherwise by the same line.
    again, by = bool(recipe.second_pass_steps), recipe.refiner_by
    own = by != BY_STEPS or again or _is_late(recipe.refiner_at, recipe.steps)
    return {
        NAME: recipe.refiner,
        AT: plain(recipe.refiner_at),
        COUNTED: None if recipe.refiner_by == BY_NOISE else "True",
        HIRES: BOTH if again else None,
        OWN: by if own else None,
        **found,
    }
