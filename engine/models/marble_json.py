"""Read a model's `marble.json`, in which its owner overrides defaults: every value is checked.

Standard library only.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, Final

from engine.errors import OptionError, nearest, shorten
from engine.files.safetensors import BadFile
from engine.models.families import Defaults, Family
from engine.models.supported import PREDICTIONS
from engine.recipe.limits import check, is_int, one_of

# The keys that there are: of every model, of those with a U-Net, and of flow models.
KEYS: Final = ("defaults", "detail", "notes", "preview")
OF_U_NETS: Final = ("prediction", "zero_snr")
OF_FLOWS: Final = ("parts", "variant")


def check_keys(extra: Mapping[str, Any], family: Family) -> None:
    """Refuse keys that there are not, and those that say nothing of a family; raises `BadFile`."""
    own, others = (OF_FLOWS, OF_U_NETS) if family.parts else (OF_U_NETS, OF_FLOWS)
    known = sorted((*KEYS, *own))
    there = f"its keys may be {', '.join(known)}"
    for key in extra.keys() - known:
        if key in others:
            raise BadFile(f"{key} is not for {family.title} models; {there}")
        raise BadFile(f"{shorten(key)} is no key{nearest(key, known)}; {there}")


def own_settings(extra: Mapping[str, Any], usual: Defaults, channels: int) -> dict[str, Any]:
    """Return the fields of a checkpoint that its owner sets, with the defaults that hold.

    extra: the file's values; channels: of the model's latents. Raises `BadFile` with the rest of a
    sentence that begins with the file.
    """
    found: dict[str, Any] = {"defaults": _own_defaults(extra.get("defaults", {}), usual)}
    for key, (is_allowed, allowed) in PLAIN.items():
        if key in extra and not is_allowed(extra[key]):
            raise BadFile(f"{key} must be {allowed}")
    found |= {key: extra[key] for key in PLAIN if key in extra}
    if "detail" in extra:
        try:
            check("strength", extra["detail"])
        except OptionError as error:
            raise BadFile(f"detail: {str(error).removesuffix('.')}") from None
        found["second_pass_strength"] = float(extra["detail"])
    if (preview := extra.get("preview")) is not None:
        _check_preview(preview, channels)
    return {**found, "preview": preview}


def own_variant(extra: Mapping[str, Any]) -> str | None:
    """Return the variant that a network is, as its owner says; raises `BadFile`."""
    given = extra.get("variant")
    if not (given is None or isinstance(given, str)):
        raise BadFile('variant must be a name, like "turbo"')
    return given


def own_parts(extra: Mapping[str, Any], known: Iterable[str]) -> Mapping[str, str]:
    """Return the files of parts that an owner names, part → name; raises `BadFile`."""
    given, known = extra.get("parts", {}), sorted(known)
    if not (isinstance(given, Mapping) and all(isinstance(n, str) for n in given.values())):
        raise BadFile('parts must be an object of files, like {"vae": "ae.safetensors"}')
    for part in given:
        if part not in known:
            raise BadFile(f"parts may name {', '.join(known)}, not {part}")
    return given


def _own_defaults(given: Any, usual: Defaults) -> Defaults:
    known = {entry.name for entry in fields(Defaults)}
    if not isinstance(given, Mapping):
        raise BadFile('defaults must be an object, like {"steps": 20}')
    try:
        for key, value in given.items():
            if key not in known:
                raise OptionError(key, value, one_of(sorted(known)))
            check(key, value)
    except OptionError as error:
        raise BadFile(str(error).removesuffix(".")) from None
    return replace(usual, **given)


def _is_notes(given: Any) -> bool:
    return isinstance(given, Mapping) and all(isinstance(note, str) for note in given.values())


# What an owner may set of a checkpoint as it is: whether a value is allowed, and which are.
PLAIN: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "prediction": (lambda given: given in (None, *PREDICTIONS), f"one of {', '.join(PREDICTIONS)}"),
    "zero_snr": (lambda given: given is None or isinstance(given, bool), "true or false"),
    "notes": (_is_notes, 'an object of sentences, like {"en": "It draws cats."}'),
}


def _check_preview(given: Any, channels: int) -> None:
    """Hold to its form what maps a latent's channels to red, green and blue."""
    rows = given.get("weights") if isinstance(given, Mapping) else None
    if not isinstance(rows, list) or len(rows) != channels:
        raise BadFile(f"preview must hold weights, {channels} rows of three numbers, and a bias")
    if not all(map(_is_colour, [*rows, given.get("bias")])):
        raise BadFile("preview: each row of weights, and the bias, must be three numbers")


def _is_colour(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 3 and all(map(_is_number, row))


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return is_int(value) and abs(value) < 2**53
