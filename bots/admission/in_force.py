"""The rules in force in a place, and where each was set.

A rule applies in the place where it was set and in all that lies in it, except where something
further in has one of its own; a limit of 0 is no limit and replaces one that is further out. What a
place's moderators ask for narrows the owner's rules there, and never widens them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bots.admission.rulebook import (
    COUNTED,
    MEASURES,
    MODERATED,
    NAMED,
    OPEN,
    POLICY,
    PREFIX,
    RULES,
    Safety,
    is_among,
    write_rule,
)
from bots.admission.rules import Rules
from engine.errors import OptionError, some
from engine.sentences import Sentence
from storage.records import EVERYWHERE, Line

SAFETY: Final = PREFIX + "safety"
OF_A_PERSON: Final = "daily"  # counted in all places together, unless a place has a rule of its own


@dataclass(frozen=True, slots=True, kw_only=True)
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
    without_effect: Mapping[str, Any]  # see `Narrowed`
    set_in: Mapping[str, tuple[str, ...]]  # of rules that some place has: those places
    limits: Mapping[str, tuple[Limit, ...]]  # of `COUNTED`; all of them bind


@dataclass(frozen=True, slots=True)
class Narrowed:
    """The rules in force after moderators made the owner's stricter."""

    rules: Rules
    # Moderators' rules without effect: by now they have nothing in common with the owner's.
    without_effect: dict[str, Any] = field(default_factory=dict)
    # The stored keys of what makes up each rule: the owner's, the moderators', or both.
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)


def nowhere(place: str) -> bool:
    """Return False: of no place it is known that only adults are let in."""
    return False


def resolve(defaults: Rules, line: Line, *, adult: bool = False) -> InForce:
    """Return what is in force in the first place of a line (`People.line`).

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
    owners = with_stored(defaults, stored)
    narrowed = narrow(owners, stored)
    outermost = [level.place for level in line if level.place != EVERYWHERE][-1:] or [EVERYWHERE]
    set_in = {
        name: tuple(dict.fromkeys(where[key] for key in keys if key in where))
        for name, keys in narrowed.keys.items()
    }
    return InForce(
        place=line[0].place,
        rules=narrowed.rules,
        owners=owners,
        is_open=stored.get(OPEN) is not False,
        without_effect=narrowed.without_effect,
        set_in={name: places for name, places in set_in.items() if places},
        limits={name: _limits(name, owners, stored, where, outermost[0]) for name in COUNTED},
    )


def with_stored(rules: Rules, stored: Mapping[str, Any]) -> Rules:
    """Return the rules with those that a place stores over them."""
    return _changed(rules, _kept(stored, PREFIX, RULES))


def narrow(owners: Rules, stored: Mapping[str, Any]) -> Narrowed:
    """Return the owner's rules, made stricter by those of a place's moderators."""
    asked = _kept(stored, POLICY, MODERATED)
    values: dict[str, Any] = {}
    without_effect: dict[str, Any] = {}
    keys: dict[str, tuple[str, ...]] = {}
    for name in RULES:
        held = _plain(owners.get(name))
        values[name] = held
        if name in asked and leaves_nothing(owners, name, asked[name]):
            without_effect[name] = asked[name]
        elif name in asked:
            values[name] = _plain(_left(name, owners, asked[name]))
        if values[name] == held:
            keys[name] = (PREFIX + name,)
        else:
            both = (PREFIX + name, POLICY + name)
            keys[name] = both[1:] if values[name] == asked[name] else both
    narrowed = {name: values[name] for name in asked.keys() - without_effect.keys()}
    return Narrowed(_changed(owners, narrowed), without_effect, keys)


def check_narrowing(owners: Rules, name: str, asked: Any) -> None:
    """Raise `OptionError` for a moderators' rule that has nothing in common with the owner's."""
    if leaves_nothing(owners, name, asked):
        held = owners.get(name)
        allowed = (some(held) or "none") if name in NAMED else write_rule(held)
        raise OptionError(name, write_rule(asked), Sentence("owners_own", owners=allowed))


def leaves_nothing(owners: Rules, name: str, asked: Any) -> bool:
    """Return whether the moderators' rule and the owner's have nothing in common.

    A moderators' rule that allows no name at all is possible.
    """
    return bool(asked) and name in (*MEASURES, *NAMED) and not _left(name, owners, asked)


def _left(name: str, owners: Rules, asked: Any) -> Any:
    """Return what both the owner's and the moderators' rule allow."""
    held = owners.get(name)
    if name in MEASURES and held:
        both = [max(asked[0], held[0]), min(asked[1], held[1])]
        return both if both[0] <= both[1] else []
    if name in NAMED and held is not None:
        # Of a bare name and a file that it stands for, the file is what both allow.
        files = [each for each in held if each not in asked and is_among(name, each, asked)]
        return [*(each for each in asked if is_among(name, each, held)), *files]
    if name == "blocked":
        return list(dict.fromkeys([*held, *asked]))
    if name == "safety":
        return max(held, Safety(asked), key=list(Safety).index)
    if isinstance(asked, int):  # 0 is no limit
        return min((limit for limit in (held, asked) if limit), default=0)
    return asked


def _kept(stored: Mapping[str, Any], prefix: str, names: Iterable[str]) -> dict[str, Any]:
    values = {name: stored.get(prefix + name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    """Return a rule's value as places store it."""
    return list(value) if isinstance(value, tuple) else value


def _changed(rules: Rules, values: Mapping[str, Any]) -> Rules:
    typed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    if "safety" in typed:
        typed["safety"] = Safety(typed["safety"])
    bounds = {name: typed.pop(name) for name in MEASURES if name in typed}
    allowed = {name: typed.pop(name) for name in NAMED if name in typed}
    bounds, allowed = {**rules.bounds, **bounds}, {**rules.allowed, **allowed}
    return replace(rules, **typed, bounds=bounds, allowed=allowed)


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
