"""Default options: those that a person saved, used where they type no others.

They are stored as they were typed, so that a newer table of options reads them as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bots.requests.options import OPTIONS, find, parse_values
from bots.requests.styles import STYLE
from engine.errors import UserError
from storage import Storage
from storage.people.people import People

SETTING: Final = "options"
# A seed for everything would be a trap; the others mean something with a start image only.
NEVER: Final = ("seed", "strength", "fit")
SAVABLE: Final = tuple(option for option in OPTIONS if option.name not in NEVER)


async def saved_options(people: People, person: str) -> dict[str, str]:
    """Return the options that somebody saved, by name."""
    settings = await people.settings(person)
    return dict(settings.get(SETTING) or {})


async def save_options(people: People, person: str, typed: Mapping[str, str]) -> dict[str, str]:
    """Save options, checked; an empty text removes one. Raises `UserError`."""
    parse_values((name, text) for name, text in typed.items() if text)

    def changed(kept: Mapping[str, Any]) -> dict[str, Any]:
        saved = {**(kept.get(SETTING) or {}), **typed}
        return {SETTING: {name: text for name, text in saved.items() if text} or None}

    return dict((await people.change_settings(person, changed)).get(SETTING) or {})


async def forget_options(people: People, person: str) -> None:
    """Remove all options that somebody saved."""
    await people.change_settings(person, {SETTING: None})


async def values_for(
    storage: Storage, person: str | None, place: str, typed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return recipe values: those that were typed, over what somebody saved.

    person: None for a group or channel in whose name several people write, who save nothing.
    What was saved and can be read no longer is left out, and so is a style that another place
    keeps.
    """
    values: dict[str, Any] = {}
    saved = await saved_options(storage.people, person) if person else {}
    for name, text in saved.items():
        try:
            values |= find(name).parse(text)
        except UserError:
            continue
    if values.get(STYLE):
        known = await storage.styles.list(place)
        if values[STYLE] not in (style.name for style in known):
            del values[STYLE]
    return {**values, **typed}
