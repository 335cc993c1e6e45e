"""Choices: Discord allows 100 characters, so longer names get a short form.

    a-model-with-a-very-long-name…1f3870be

It ends with the beginning of the name's sha256, by which the name is found again.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

from discord.app_commands import Choice

from bots.admission.blocked_words import quote
from bots.presentation.text import ELLIPSIS
from bots.requests.options import OPTIONS, find
from bots.requests.recipe_builder import RecipeBuilder

LONGEST: Final = 100  # characters of a choice
DIGITS: Final = 8  # of the sha256
SHORTEST: Final = 24  # characters of a short form that people can still recognise
NAMES: Final = {option.name.replace("-", "_"): option.name for option in OPTIONS}
FILES: Final = ("model", "refiner", "lora", "vae")  # options whose values are names of files
_SHORT: Final = re.compile(rf"[^,{ELLIPSIS}]*{ELLIPSIS}([0-9a-f]{{{DIGITS}}})")
_SIGNS: Final = re.compile(r'[,:，、"“”…]')  # with a meaning in lists


def choice(label: str, value: str) -> Choice[str]:
    """Return a choice; a long label keeps both ends, where names often differ."""
    half = LONGEST // 2 - 1
    shown = label if len(label) <= LONGEST else f"{label[:half]}{ELLIPSIS}{label[-half:]}"
    return Choice(name=shown, value=short(value))


def short(name: str, limit: int = LONGEST) -> str:
    """Return a name, or its short form where it is longer than the limit in characters."""
    if len(name) <= limit:
        return name
    begin = _SIGNS.sub(" ", name)[: max(0, limit - DIGITS - len(ELLIPSIS))]
    return f"{begin}{ELLIPSIS}{_digest(name)}"


def joined(kept: str, name: str) -> str:
    """Return a list that is being typed with one more name, in its short form if need be."""
    limit = max(SHORTEST, LONGEST - len(kept))
    quoted = quote(name)
    return kept + (quoted if len(quoted) <= limit else short(name, min(limit, LONGEST // 2)))


def whole(text: str, names: Iterable[str], *, listed: bool = False) -> str:
    """Return a text with the names in place of their short forms.

    listed: the text is a list, with commas between.
    """
    if ELLIPSIS not in text:
        return text
    known = {_digest(name): quote(name) if listed else name for name in names}
    return _SHORT.sub(lambda found: known.get(found[1], found[0]), text)


def whole_names(builder: RecipeBuilder, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of options with whole names of files in place of short forms; blocks."""
    known = {
        "model": builder.catalogue.names,
        "refiner": builder.catalogue.names,
        "lora": builder.loras.names,
        "vae": builder.vaes.names,
    }
    return {
        name: whole(text, known[name](), listed=find(name).listed) if name in known else text
        for name, text in typed.items()
    }


def _digest(name: str) -> str:
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
