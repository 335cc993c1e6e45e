"""Names as they are typed in a terminal: of places, and of pictures' files by their forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from bots.terminal.escaping import complain
from engine.errors import OptionError

if TYPE_CHECKING:
    from storage import Storage

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


async def present_place(storage: Storage, place: str) -> str:
    """Return the id that a place has now, and say so on standard error where that is another."""
    now = (await storage.moving.moved()).get(place, place)
    if now != place:
        complain(f"{place} became a supergroup and is {now} now; what follows is about that.")
    return now
