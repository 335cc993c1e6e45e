"""What is in force in a place, and where each rule was set: one answer for all who ask.

The gate, the budgets and caps, the safety check, styles and every list of rules read it here. A
rule applies in the place where it was set and in all that lies in it, except where something
further in has one of its own; a limit of 0 is no limit and replaces one that is further out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bots.admission.rulebook import (
    COUNTED,
    MODERATED,
    OPEN,
    POLICY,
    PREFIX,
    narrowed,
    set_aside,
    sources,
    with_stored,
)
from bots.admission.rules import Rules, Safety
from storage.records import EVERYWHERE, Line

SAFETY: Final = PREFIX + "safety"
OF_A_PERSON: Final = "daily"  # counted wherever they ask, unless a place has one of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Hold a limit: how much, by which rule, and for which place it is counted.

    rule: as places keep it, `rules.waiting`. What is asked for where that rule of `counted_in`
    applies counts together; so does what is asked for in all of a server or group where the rule
    is everywhere's.
    """

    rule: str
    most: int
    counted_in: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """Hold what is in force in a place."""

    place: str
    rules: Rules  # the owner's, narrowed by moderators
    owners: Rules
    is_open: bool  # whether anything may be asked for
    aside: Mapping[str, Any]  # what moderators asked for and the owner has since left nothing of
    set_in: Mapping[str, tuple[str, ...]]  # of rules that some place has: those places
    limits: Mapping[str, tuple[Limit, ...]]  # of `COUNTED`; all of them bind


def nowhere(place: str) -> bool:
    """Say of no place that only adults are let in."""
    return False


def resolve(defaults: Rules, line: Line, *, adult: bool = False) -> InForce:
    """Return what is in force in the first place of a line (`People.line`).

    defaults: what holds where no place says otherwise. adult: the platform lets only adults in;
    there everything is shown, unless the place or one that it lies in has a rule for that.
    """
    stored: dict[str, Any] = {}
    where: dict[str, str] = {}
    for level in reversed(line):
        stored |= level.settings
        where |= dict.fromkeys(level.settings, level.place)
    if adult and where.get(SAFETY, EVERYWHERE) == EVERYWHERE:
        stored[SAFETY] = Safety.OFF.value
        where.pop(SAFETY, None)
    owners = with_stored(defaults, stored)
    outermost = [level.place for level in line if level.place != EVERYWHERE][-1:] or [EVERYWHERE]
    set_in = {
        name: tuple(dict.fromkeys(where[key] for key in keys if key in where))
        for name, keys in sources(owners, stored).items()
    }
    return InForce(
        place=line[0].place,
        rules=narrowed(owners, stored),
        owners=owners,
        is_open=stored.get(OPEN) is not False,
        aside=set_aside(owners, stored),
        set_in={name: places for name, places in set_in.items() if places},
        limits={name: _limits(name, owners, stored, where, outermost[0]) for name in COUNTED},
    )


def _limits(
    name: str, owners: Rules, stored: Mapping[str, Any], where: Mapping[str, str], outermost: str
) -> tuple[Limit, ...]:
    """Return the owner's limit of a name and the moderators'."""
    everywheres = EVERYWHERE if name == OF_A_PERSON else outermost
    known = {PREFIX + name: owners.get(name)}
    if name in MODERATED:
        known[POLICY + name] = stored.get(POLICY + name)
    found = []
    for rule, most in known.items():
        place = where.get(rule, EVERYWHERE)
        counted_in = everywheres if place == EVERYWHERE else place
        if most:
            found.append(Limit(rule=rule, most=most, counted_in=counted_in))
    return tuple(found)
