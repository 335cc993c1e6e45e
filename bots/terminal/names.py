"""Names as they are typed in a terminal: of places, and of pictures' files by their forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from engine.errors import OptionError

# How a picture is written that is to have such a name; any other is PNG.
FORMS: Final[Mapping[str, Literal["JPEG", "WEBP"]]] = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
}
CARRIERS: Final = (".png", *FORMS)  # of recipes

EVERYWHERE: Final = "*"
PLACES: Final = "discord:SERVER, discord:SERVER/CHANNEL, telegram:CHAT, or * for everywhere"
PLACE: Final = re.compile(r"\*|terminal|(discord|telegram):[-@\w]+(/\d+)?", re.ASCII)


def read_place(text: str) -> str:
    """Return a place's name, or raise `OptionError` where no place can be called so."""
    if not PLACE.fullmatch(text):
        raise OptionError("A place", text, f"like {PLACES}")
    return text
