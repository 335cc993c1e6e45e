"""Styles: who keeps which words in a place, held to the rules there as any prompt is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bots.admission.gate import Gate
from bots.requests.typed_options import join_options, read_given, split_message
from bots.requests.wishes import PROMPT, UnknownStyle, find_style, style_name
from engine.errors import OptionError, UnknownOption
from engine.recipe.limits import at_most, characters, is_blank
from engine.recipe.prompt_tags import take_loras
from engine.sentences import Sentence
from storage import Storage
from storage.records import Style

LONGEST: Final = 1_000  # characters: half of what a prompt may have
ROOM_ONCE: Final = Sentence("style_room_once")
SOME_WORDS: Final = Sentence("style_words")


def read_words(text: str, negative: str = "", *, lines: bool = False) -> tuple[str, str]:
    """Read a style's words: what it adds, and after `--no` what the picture should not show.

    negative: what is given for that beside the text. lines: as `split_message` takes it. Raises
    `UnknownOption` for other options, and as `join_options` says.
    """
    words, typed = split_message(text, lines=lines)
    typed = join_options(read_given([("negative", negative)] if negative else []), typed)
    if others := [name for name, _ in typed if name != "negative"]:
        raise UnknownOption(f"--{others[0]}", ["--no"])
    return words, dict(typed).get("negative", "")


@dataclass(frozen=True, slots=True)
class Stylebook:
    """Add and remove styles; whoever calls says who may. The moderators' log tells of it."""

    storage: Storage
    gate: Gate

    async def add(self, place: str, name: str, prompt: str, negative: str, *, by: str) -> Style:
        """Keep a style in a place, or replace one there.

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
        (await self.gate.rules(place)).check_words(prompt.replace(PROMPT, " "), negative)
        return await self.storage.styles.add(place, name, prompt, negative, by=by)

    async def remove(self, place: str, name: str, *, by: str) -> Style:
        """Remove a place's own style; raises `UnknownStyle`."""
        known = await self.storage.styles.list(place)
        own = tuple(style for style in known if style.place == place)
        style = find_style(style_name(name), own)
        if not await self.storage.styles.remove(place, style.name, by=by):  # just now, by another
            raise UnknownStyle(style.name, [each.name for each in own if each != style])
        return style

    async def list(self, place: str) -> tuple[Style, ...]:
        """Return the styles that a place knows, by name."""
        return await self.storage.styles.list(place)
