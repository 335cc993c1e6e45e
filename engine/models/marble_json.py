"""Read a model's `marble.json`, in which its owner overrides defaults: every value is checked.

Each function raises `BadFile` with the rest of a sentence that begins with the file. Standard
library only.
"""

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, cast

from engine.errors import OptionError
from engine.files.safetensors import BadFile
from engine.models.families import Defaults
from engine.models.supported import PREDICTIONS
from engine.recipe.limits import check


def own_defaults(given: Any, usual: Defaults) -> Defaults:
    """Return the usual defaults with the owner's in their place."""
    known = {entry.name for entry in fields(Defaults)}
    if not isinstance(given, Mapping):
        raise BadFile('defaults must be an object, like {"steps": 20}')
    try:
        for key, value in given.items():
            if key not in known:
                raise OptionError(key, value, f"one of {', '.join(sorted(known))}")
            check(key, value)
    except OptionError as error:
        raise BadFile(str(error).removesuffix(".")) from None
    return replace(usual, **given)


def own_prediction(given: Any) -> str | None:
    """Return the prediction type that the owner names, None where none is named."""
    if given is None or given in PREDICTIONS:
        return cast(str | None, given)
    raise BadFile(f"prediction must be one of {', '.join(PREDICTIONS)}")


def own_zero_snr(given: Any) -> bool | None:
    """Return whether the noise schedule ends at zero signal-to-noise ratio, None if not said."""
    if not (given is None or isinstance(given, bool)):
        raise BadFile("zero_snr must be true or false")
    return given


def own_notes(given: Any) -> dict[str, str]:
    """Return the owner's sentences for people, by language."""
    if not isinstance(given, Mapping) or not all(isinstance(v, str) for v in given.values()):
        raise BadFile('notes must be an object of sentences, like {"en": "It draws cats."}')
    return dict(given)


def own_detail(given: Any) -> float:
    """Return the strength of the second pass on upscaled pictures."""
    try:
        check("strength", given)
    except OptionError as error:
        raise BadFile(f"detail: {str(error).removesuffix('.')}") from None
    return float(given)


def own_preview(given: Any, channels: int) -> Mapping[str, Any] | None:
    """Return the map from a latent's channels to red, green and blue, if there is one."""
    if given is None:
        return None
    rows = given.get("weights") if isinstance(given, Mapping) else None
    if not isinstance(rows, list) or len(rows) != channels:
        raise BadFile(f"preview must hold weights, {channels} rows of three numbers, and a bias")
    if not all(map(_is_colour, [*rows, given.get("bias")])):
        raise BadFile("preview: each row of weights, and the bias, must be three numbers")
    return dict(given)


def _is_colour(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 3 and all(map(_is_number, row))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 2**53
