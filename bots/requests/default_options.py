"""Default options: those that a person saved, used where they type no others.

They are stored as they were typed, so that a newer table of options reads them as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from bots.requests.options import OPTIONS, find, parse_values
from engine.errors import UserError
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


def parse_saved(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe values in a person's settings, except what can be read no longer."""
    values: dict[str, Any] = {}
    for name, text in (settings.get(SETTING) or {}).items():
        with suppress(UserError):
            values |= find(name).parse(text)
    return values
