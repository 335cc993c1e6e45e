"""What people ask for that no recipe holds: a shape instead of a size, a style beside the words.

The studio turns both into what a recipe holds, so that a rerun needs neither.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.errors import OptionError, UserError, nearest, shorten, some
from engine.recipe.limits import PROMPT_LIMIT, RANGES, at_most
from engine.sentences import Sentence

if TYPE_CHECKING:
    from storage.records import Style

STYLE: Final = "style"  # among the values that were typed: a name, or None for no style
PROMPT: Final = "{prompt}"  # where a style's words leave room for those that were typed
NAME: Final = re.compile(r"[\w-]{1,32}")
NO_STYLE: Final = ("", "none", "off")
NAMED: Final = Sentence("a_style_name")
WORDS: Final = {"prompt": "prompt", "negative_prompt": "negative"}  # of a recipe, of a style


class UnknownStyle(UserError):
    """Name the unknown style and the nearest known one."""

    def __init__(self, name: str, known: list[str]) -> None:
        short, near, listed = shorten(name), nearest(name, known), some(known)
        super().__init__(
            Sentence("unknown_style", name=short, near=near, known=listed)
            if listed
            else Sentence("no_style", name=short)
        )


@dataclass(frozen=True, slots=True)
class Aspect:
    """Hold a shape, as it stands for both width and height until the model is known."""

    across: int
    down: int


def size_like(width: int, height: int, pixels: int) -> tuple[int, int]:
    """Return a size of about so many pixels in the shape of another, as a recipe allows it."""
    scale = math.sqrt(pixels / (width * height))
    limits = RANGES["width"]
    fitted = (
        int(min(max(8 * round(side * scale / 8), limits.low), limits.high))
        for side in (width, height)
    )
    return next(fitted), next(fitted)


def sized(values: Mapping[str, Any], pixels: int) -> dict[str, Any]:
    """Return values with a size of about so many pixels where a shape was asked for."""
    shape = values.get("width")
    if not isinstance(shape, Aspect):
        return dict(values)
    width, height = size_like(shape.across, shape.down, pixels)
    return {**values, "width": width, "height": height}


def style_name(text: str) -> str:
    """Return a style's name as it is kept, or raise `OptionError`."""
    name = text.strip().lower()
    if not NAME.fullmatch(name) or name in NO_STYLE:
        raise OptionError(STYLE, text, NAMED)
    return name


def find_style(name: str, known: tuple[Style, ...]) -> Style:
    """Return the style of that name, or raise `UnknownStyle`."""
    for style in known:
        if style.name == name:
            return style
    raise UnknownStyle(name, [style.name for style in known])


def styled(texts: Mapping[str, str], style: Style) -> dict[str, str]:
    """Return prompts (by their fields) with a style's words; raises `OptionError` for too many."""
    found = {}
    for field, part in WORDS.items():
        found[field] = text = add_words(texts[field], getattr(style, part))
        if len(text) > PROMPT_LIMIT:
            count = len(text)
            said = Sentence("characters_with_style", count=count, style=style.name)
            raise OptionError(field, said, at_most(PROMPT_LIMIT))
    return found


def worn(texts: Mapping[str, str], known: Sequence[Style]) -> str | None:
    """Return the name of the style whose words prompts (by their fields) hold, the wordiest.

    A recipe has no place for a style's name: a file that travels is read by its words alone.
    """
    wordy = sorted(known, key=lambda style: -len(style.prompt + style.negative))
    return next((style.name for style in wordy if _wears(texts, style)), None)


def _wears(texts: Mapping[str, str], style: Style) -> bool:
    adds = (style.prompt + style.negative).replace(PROMPT, "").strip()
    there = all(
        add_words(texts[field], getattr(style, part)) == texts[field]
        for field, part in WORDS.items()
    )
    return bool(adds) and there


def add_words(text: str, more: str) -> str:
    """Put a text where more words leave room for it, or before them; what is there stays so."""
    before, room, after = more.partition(PROMPT)
    if not room and (not text or text == more):
        return more
    if not room:
        before, after = "", f", {more}" if more else ""
    there = text.startswith(before) and text.endswith(after)
    return text if there and len(text) >= len(before) + len(after) else f"{before}{text}{after}"
