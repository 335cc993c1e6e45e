"""Places as `marble rules` and `marble styles` take them, and the person of this terminal."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Final

from bots.terminal.escaping import complain

if TYPE_CHECKING:
    from storage import Storage

TERMINAL: Final = "terminal"


def person() -> str:
    """Return the person of this terminal, as jobs and the moderators' log name people."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        name = "somebody"
    return f"{TERMINAL}:{name}"


async def present_place(storage: Storage, place: str) -> str:
    """Return the id that a place has now, and write to standard error where that is a new one."""
    now = await storage.people.present_place(place)
    if now != place:
        complain(f"{place} became a supergroup and is {now} now; what follows is about that.")
    return now
