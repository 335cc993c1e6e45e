"""What people read: messages, sentences of other rooms, commands; English, and a package each.

words_of("zh-TW").nth_in_line.format(place=3)
tell(error, words_of("zh-TW"))

What only owners read (why a model's files are broken, say) stays English inside its sentence.
"""

from collections.abc import Mapping
from typing import Final

from bots.texts.chinese.engine_room import ChineseEngineRoom
from bots.texts.chinese.making_of import ChineseMakingOf
from bots.texts.chinese.web import ChineseWeb
from bots.texts.chinese.words import Chinese
from bots.texts.engine_room import EngineRoom
from bots.texts.making_of import MakingOfWords
from bots.texts.web import WebWords
from bots.texts.words import Words
from engine.errors import UserError
from engine.sentences import Fact, Sentence, fill

__all__ = [
    "DEFAULT",
    "EN",
    "ENGINE_ROOM",
    "LANGUAGES",
    "MAKING_OF",
    "WEB",
    "EngineRoom",
    "WebWords",
    "Words",
    "engine_room_of",
    "language_of",
    "say",
    "tell",
    "web_words_of",
    "words_of",
]

DEFAULT: Final = "en"
EN: Final = Words()
LANGUAGES: Final[Mapping[str, Words]] = {"en": EN, "zh": Chinese()}
MAKING_OF: Final[Mapping[str, MakingOfWords]] = {"en": MakingOfWords(), "zh": ChineseMakingOf()}
WEB: Final[Mapping[str, WebWords]] = {"en": WebWords(), "zh": ChineseWeb()}
ENGINE_ROOM: Final[Mapping[str, EngineRoom]] = {"en": EngineRoom(), "zh": ChineseEngineRoom()}


def language_of(tag: str | None) -> str:
    """Return the language that Marble speaks to whoever asks for a tag such as `zh-TW`."""
    spoken = (tag or "").replace("_", "-").partition("-")[0].lower()
    return spoken if spoken in LANGUAGES else DEFAULT


def words_of(tag: str | None) -> Words:
    """Return the messages for a language tag; English where there are none."""
    return LANGUAGES[language_of(tag)]


def web_words_of(tag: str | None) -> WebWords:
    """Return the web page's messages for a language tag; English where there are none."""
    return WEB[language_of(tag)]


def engine_room_of(tag: str | None) -> EngineRoom:
    """Return the engine room's messages for a language tag; English where there are none."""
    return ENGINE_ROOM[language_of(tag)]


def say(sentence: str, words: Words) -> str:
    """Return a sentence in a language; its English text where that is not to be had.

    Sentences of other versions may have a code that is not in the table, or other facts.
    """
    if not isinstance(sentence, Sentence) or sentence.code not in words.sentences:
        return str(sentence)
    facts = {name: _part(name, fact, words) for name, fact in sentence.facts.items()}
    try:
        return fill(words.sentences[sentence.code], **facts)
    except (KeyError, ValueError):
        return str(sentence)


def tell(error: UserError, words: Words) -> str:
    """Say what an error says, in a language."""
    return say(error.said, words)


def _part(name: str, fact: Fact, words: Words) -> Fact:
    if isinstance(fact, Sentence):
        return say(fact, words)
    if name != "option":
        return fact
    return ", ".join(words.fields.get(each, each) for each in str(fact).split(", "))
