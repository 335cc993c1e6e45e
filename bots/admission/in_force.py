"""The rules in force in a place, and where each was set.

A rule applies in the place where it was set and in all that lies in it, except where something
further in has one of its own; a limit of 0 is no limit and replaces one that is further out. What a
place's moderators ask for narrows the owner's rules there, and never widens them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bots.admission.rulebook import (
    COUNTED,
    DEFAULT_COUNT,
    MEASURES,
    MODERATED,
    NAMED,
    OPEN,
    POLICY,
    PREFIX,
    RULES,
    UNLIMITED,
    Rules,
    Safety,
    is_among,
    write_rule,
)
from engine.errors import OptionError, some
from engine.sentences import Sentence
from storage.records import EVERYWHERE, Line

SAFETY: Final = PREFIX + "safety"
OF_A_PERSON: Final = "daily"  # counted in all places together, unless a place has a rule of its own


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit: how much, by which rule, and the place for which it is counted.

    rule: as places store it, `rules.waiting`. What is asked for where that rule of `counted_in`
    applies counts together; so does what is asked for in all of a server or group where the rule
    is everywhere's.
    """

    rule: str
    most: int
    counted_in: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The rules in force in a place."""

    place: str
    rules: Rules  # the owner's, narrowed by moderators
    owners: Rules
    is_open: bool  # whether jobs are taken
    without_effect: Rules  # moderators' that by now have nothing in common with the owner's
    set_in: Mapping[str, tuple[str, ...]]  # of rules that some place has: those places
    limits: Mapping[str, tuple[Limit, ...]]  # of `COUNTED`; all of them bind


def nowhere(place: str) -> bool:
    """Return False: of no place it is known that only adults are let in."""
    return False


def resolve(defaults: Rules, line: Line, *, adult: bool = False) -> InForce:
    """Return what is in force in the first place of a line (`storage.jobs.place_tree.line_of`).

    defaults: the rules where no place has its own. adult: the platform lets only adults in; there
    everything is shown, unless the place or one that it lies in has a rule for that.
    """
    stored: dict[str, Any] = {}
    where: dict[str, str] = {}
    for level in reversed(line):
        stored |= level.settings
        where |= dict.fromkeys(level.settings, level.place)
    if adult and where.get(SAFETY, EVERYWHERE) == EVERYWHERE:
        stored[SAFETY] = Safety.OFF.value
        where.pop(SAFETY, None)
    owners = {**UNLIMITED, **defaults}
    owners |= {name: stored[PREFIX + name] for name in RULES if PREFIX + name in stored}
    asked = {name: stored[POLICY + name] for name in MODERATED if POLICY + name in stored}
    both = {name: _common(name, owners, value) for name, value in asked.items()}
    rules = owners | {name: value for name, value in both.items() if value is not None}
    outermost = line[-2].place if len(line) > 1 else EVERYWHERE
    set_in = {name: dict.fromkeys(_set_in(name, owners, asked, rules, where)) for name in rules}
    return InForce(
        place=line[0].place,
        rules=rules,
        owners=owners,
        is_open=stored.get(OPEN) is not False,
        without_effect={name: asked[name] for name, value in both.items() if value is None},
        set_in={name: tuple(places) for name, places in set_in.items() if places},
        limits={name: tuple(_limits(name, owners, asked, where, outermost)) for name in COUNTED},
    )


def check_narrowing(owners: Rules, asked: Rules) -> None:
    """Raise `OptionError` for a moderators' rule that has nothing in common with the owner's."""
    for name, value in asked.items():
        if value is not None and _common(name, owners, value) is None:
            held = owners[name]
            allowed = (some(held) or "none") if name in NAMED else write_rule(held)
            raise OptionError(name, write_rule(value), Sentence("owners_own", owners=allowed))


def _common(name: str, owners: Rules, asked: Any) -> Any:
    """Return what both the owner's and the moderators' rule allow; None where that is nothing.

    A moderators' rule that allows no name at all is possible.
    """
    held = owners.get(name)
    if held is None or name == DEFAULT_COUNT:  # which limits nothing
        return asked
    if name in MEASURES:
        low, high = max(asked[0], held[0]), min(asked[1], held[1])
        return [low, high] if low <= high else None
    if name in NAMED:
        # Of a bare name and a file that it stands for, the file is what both allow.
        files = [each for each in held if each not in asked and is_among(name, each, asked)]
        names = [*(each for each in asked if is_among(name, each, held)), *files]
        return names if names or not asked else None
    if name == "blocked":
        return list(dict.fromkeys([*held, *asked]))
    if name == "safety":
        return max(held, asked, key=list(Safety).index)
    return min((limit for limit in (held, asked) if limit), default=0)  # 0 is no limit


def _set_in(
    name: str, owners: Rules, asked: Rules, rules: Rules, where: Mapping[str, str]
) -> Iterator[str]:
    """Yield the places whose rules make up the one in force: the owner's, moderators', or both."""
    narrowed = rules[name] != owners.get(name)
    if PREFIX + name in where and not (narrowed and rules[name] == asked[name]):
        yield where[PREFIX + name]
    if narrowed:
        yield where[POLICY + name]


def _limits(
    name: str, owners: Rules, asked: Rules, where: Mapping[str, str], outermost: str
) -> Iterator[Limit]:
    """Yield the owner's limit of a name and the moderators'."""
    everywheres = EVERYWHERE if name == OF_A_PERSON else outermost
    for rule, most in ((PREFIX + name, owners[name]), (POLICY + name, asked.get(name))):
        place = where.get(rule, EVERYWHERE)
        if most:
            yield Limit(rule, most, everywheres if place == EVERYWHERE else place)
