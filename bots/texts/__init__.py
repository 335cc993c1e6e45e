"""What people read: messages, sentences of other rooms, commands; English, and a package each.

words_of("zh-TW").nth_in_line.format(place=3)
tell(error, words_of("zh-TW"))
"""

from collections.abc import Mapping
from typing import Final

from bots.texts.chinese.words import Chinese
from bots.texts.sentences import say, tell
from bots.texts.words import Words

__all__ = ["DEFAULT", "EN", "LANGUAGES", "Words", "language_of", "say", "tell", "words_of"]

DEFAULT: Final = "en"
EN: Final = Words()
LANGUAGES: Final[Mapping[str, Words]] = {"en": EN, "zh": Chinese()}


def language_of(tag: str | None) -> str:
    """Return the language that Marble speaks to whoever asks for a tag such as `zh-TW`."""
    spoken = (tag or "").replace("_", "-").partition("-")[0].lower()
    return spoken if spoken in LANGUAGES else DEFAULT


def words_of(tag: str | None) -> Words:
    """Return the messages for a language tag; English where there are none."""
    return LANGUAGES[language_of(tag)]
