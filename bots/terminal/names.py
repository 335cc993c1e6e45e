"""Names of places and people as they are typed in a terminal, held to how the platforms' are."""

from __future__ import annotations

import re
from typing import Final

from engine.errors import OptionError

EVERYWHERE: Final = "*"
PLACES: Final = "discord:SERVER, discord:SERVER/CHANNEL, telegram:CHAT, or * for everywhere"
PLACE: Final = re.compile(r"\*|terminal|(discord|telegram):[-@\w]+(/\d+)?", re.ASCII)


def read_place(text: str) -> str:
    """Return a place's name, or raise `OptionError` where no place can be called so."""
    if not PLACE.fullmatch(text):
        raise OptionError("A place", text, f"like {PLACES}")
    return text
