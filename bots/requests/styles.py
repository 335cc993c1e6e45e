"""Styles: words that a place keeps by a name, added to prompts.

The studio writes a style's words into the recipe, so that a rerun needs no style.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.errors import OptionError, UserError, nearest, shorten, some
from engine.recipe.limits import PROMPT_LIMIT, at_most, characters, is_blank
from engine.recipe.prompt_tags import take_loras
from engine.sentences import Sentence

if TYPE_CHECKING:
    from bots.admission.gate import Gate
    from storage import Storage
    from storage.records import Style

STYLE: Final = "style"  # among the values that were typed: a name, or None for no style
PROMPT: Final = "{prompt}"  # where a style's words leave room for those that were typed
NAME: Final = re.compile(r"[\w-]{1,32}")
NO_STYLE: Final = ("", "none", "off")
NAMED: Final = Sentence("a_style_name")
WORDS: Final = {"prompt": "prompt", "negative_prompt": "negative"}  # of a recipe, of a style
LONGEST: Final = 1_000  # characters: half of what a prompt may have
ROOM_ONCE: Final = Sentence("style_room_once")
SOME_WORDS: Final = Sentence("style_words")


class UnknownStyle(UserError):
    """Names the unknown style and the nearest known one."""

    def __init__(self, name: str, known: list[str]) -> None:
        short, near, listed = shorten(name), nearest(name, known), some(known)
        if name == "raw":  # which in Midjourney is none
            said = Sentence("style_raw", name=short)
        elif listed:
            said = Sentence("unknown_style", name=short, near=near, known=listed)
        else:
            said = Sentence("no_style", name=short)
        super().__init__(said)


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
    for field, before in texts.items():
        found[field] = text = add_words(before, getattr(style, WORDS[field]))
        if len(text) > PROMPT_LIMIT:
            count = len(text)
            said = Sentence("characters_with_style", count=count, style=style.name)
            raise OptionError(field, said, at_most(PROMPT_LIMIT))
    return found


def style_in(texts: Mapping[str, str], known: Sequence[Style]) -> str | None:
    """Return the name of the longest style whose words are in the prompts (by their fields).

    A recipe has no field for a style's name: in a file of a picture only the words are left.
    """
    wordy = sorted(known, key=lambda style: -len(style.prompt + style.negative))
    return next((style.name for style in wordy if _has_words_of(texts, style)), None)


def _has_words_of(texts: Mapping[str, str], style: Style) -> bool:
    adds = (style.prompt + style.negative).replace(PROMPT, "").strip()
    there = all(
        add_words(texts[field], getattr(style, part)) == texts[field]
        for field, part in WORDS.items()
    )
    return bool(adds) and there


def add_words(text: str, more: str) -> str:
    """Return a text with a style's words, unless they are there: at `PROMPT`, or behind it."""
    before, room, after = more.partition(PROMPT)
    if not room and (not text or text == more):
        return more
    if not room:
        before, after = "", f", {more}" if more else ""
    there = text.startswith(before) and text.endswith(after)
    return text if there and len(text) >= len(before) + len(after) else f"{before}{text}{after}"


@dataclass(frozen=True, slots=True)
class Stylebook:
    """Adds and removes styles, for callers that check who may; the moderators' log records it."""

    storage: Storage
    gate: Gate

    async def add(self, place: str, name: str, prompt: str, negative: str, *, by: str) -> Style:
        """Store a style in a place, or replace one there.

        Raises `OptionError`, `PromptError`, `TooManyStyles`, or `Refusal` for blocked words.
        """
        name, prompt, negative = style_name(name), prompt.strip(), negative.strip()
        if is_blank(prompt + negative):
            raise OptionError(f"style {name}", "", SOME_WORDS)
        for text in (prompt, negative):
            if len(text) > LONGEST:
                raise OptionError(f"style {name}", characters(len(text)), at_most(LONGEST))
            if text.count(PROMPT) > 1:
                raise OptionError(f"style {name}", text, ROOM_ONCE)
            take_loras(text)
        await self.gate.check_words(place, prompt.replace(PROMPT, " "), negative)
        return await self.storage.styles.add(place, name, prompt, negative, by=by)

    async def remove(self, place: str, name: str, *, by: str) -> Style:
        """Remove a place's own style; raises `UnknownStyle`."""
        known = await self.storage.styles.list(place)
        own = tuple(style for style in known if style.place == place)
        style = find_style(style_name(name), own)
        if not await self.storage.styles.remove(place, style.name, by=by):  # just now, by another
            raise UnknownStyle(style.name, [each.name for each in own if each != style])
        return style
