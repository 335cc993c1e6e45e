"""Places and people as they are typed: `discord:123/456`, `telegram:5`, `*`."""

from __future__ import annotations

import re
from typing import Final

from engine.errors import OptionError
from engine.sentences import Sentence

PLACES: Final = Sentence("places")
PLACE: Final = re.compile(r"\*|terminal|(discord|telegram):[-@\w]+(/\d+)?", re.ASCII)
PERSON: Final = re.compile(r"(discord|telegram):-?\d{1,20}|terminal:\S{1,100}", re.ASCII)


def read_place(text: str) -> str:
    """Return a place's id, or raise `OptionError`."""
    if not PLACE.fullmatch(text):
        raise OptionError("A place", text, Sentence("a_place", places=PLACES))
    return text


def read_person(text: str) -> str:
    """Return a person's id, or raise `OptionError`."""
    if not PERSON.fullmatch(text):
        raise OptionError("A person", text, Sentence("a_person"))
    return text
