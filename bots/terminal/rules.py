"""`marble rules`: the rules in force in a place, and how the owner changes them."""

import argparse
from typing import Any, Final

from bots.admission.gate import Gate
from bots.admission.in_force import InForce
from bots.admission.naming import read_place
from bots.admission.rulebook import NAMED, RULES, complete_names, write_rule
from bots.operations.settings import Settings
from bots.service.app import roles_of, rules_of
from bots.terminal.console import Listing, open_console
from bots.terminal.escaping import complain
from bots.terminal.places import person, present_place
from engine.errors import UserError
from storage import Storage
from storage.records import platform

NOTHING: Final = ","  # none of these names may be used: as it is typed
RESTRICTING: Final = ("*", "discord")  # places that may be, or hold, age-restricted channels


async def rules(arguments: argparse.Namespace, settings: Settings) -> None:
    """Change a place's rules as `name=value` says, and show all that are in force there."""
    place = read_place(arguments.place)
    changes = dict(_read(text) for text in arguments.rules)
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        place = await present_place(storage, place)
        gate = Gate(storage, roles_of(settings), rules_of(settings))
        changes, missing = complete_names(settings.models_dir, changes, ahead=arguments.ahead)
        if changes:
            await gate.change(place, changes, person())
        for error in missing:
            complain(f"{error} The rule waits for it.")
        held = await gate.in_force(place)
        for name, asked in held.without_effect.items():
            what = f"{name}: its moderators asked for {write_rule(asked)}, of which you let nothing"
            complain(f"{what}; what you let holds.")
        adults = await gate.in_force(place, lambda place: True)
        open_console().print(_table(held, adults))


def _read(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"A rule is written like steps=1-30, not {text!r}.")
    return name.strip(), value


def _table(held: InForce, adults: InForce) -> Listing:
    """Return each rule with its value, and where it was set if that is further out.

    adults: what is in force where the place is an age-restricted channel, or has some.
    """
    table = Listing()
    for name in RULES:
        notes = [place for place in held.set_in.get(name, ()) if place != held.place]
        if adults.rules.get(name) != held.rules.get(name) and platform(held.place) in RESTRICTING:
            notes.append(f"{_written(name, adults.rules.get(name))} in age-restricted channels")
        value = _written(name, held.rules.get(name))
        table.add(name, f"{value}  ({', '.join(notes)})" if notes else value)
    return table


def _written(name: str, value: Any) -> str:
    if name in NAMED and value is not None:
        return write_rule(value) or NOTHING
    return write_rule(value) if value else "-"
