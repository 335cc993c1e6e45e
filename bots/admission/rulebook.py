"""Rules as people write them and places keep them: read, written, and laid over each other.

Each rule has a default by setting, which `*` (everywhere) and then each place may replace
(`marble rules`). A place's own moderators may only ask for less: their `POLICY` narrows what the
owner set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from bots.admission.blocked_words import read_list, write_list
from bots.admission.bounds import MEASURES, NAMED, is_among, plain_name
from bots.admission.rules import Rules, Safety, figure
from engine.errors import OptionError, UnknownPart, some
from engine.recipe.limits import one_of
from engine.sentences import Sentence

PREFIX: Final = "rules."  # of the names under which places keep them, beside what else they keep
POLICY: Final = "policy."  # … of those of their moderators
OPEN: Final = "open"  # a place's setting: False where nothing may be asked for
MOST: Final = 10**9
# What phones and Chinese keyboards write between two numbers is no other than "-".
_BOUNDS: Final = re.compile(r"(-?\d+(?:\.\d+)?)\s*[-–—－~～]\s*(-?\d+(?:\.\d+)?)", re.ASCII)
A_LIMIT: Final = Sentence("a_limit", most=MOST)


def read_rule(name: str, text: str) -> Any:
    """Read a rule as people write it, to a plain JSON value; None (for nothing) removes it."""
    if name not in RULES:
        raise OptionError("A rule", name, one_of(RULES))
    return RULES[name](name, text.strip()) if text.strip() else None


def write_rule(value: Any) -> str:
    """Write a rule as people write it."""
    if not isinstance(value, (list, tuple)):
        return str(value)
    return (
        write_list(value) if all(isinstance(v, str) for v in value) else "-".join(map(str, value))
    )


def with_stored(rules: Rules, stored: Mapping[str, Any]) -> Rules:
    """Return the rules with what a place keeps over them."""
    return _changed(rules, _kept(stored, PREFIX, RULES))


def narrowed(rules: Rules, stored: Mapping[str, Any]) -> Rules:
    """Return the rules with what a place's moderators ask for on top: never more than before.

    What they asked for and the owner has since left nothing of is set aside: the owner's holds.
    """
    asked, aside = _kept(stored, POLICY, MODERATED), set_aside(rules, stored)
    left = {name: _left(name, rules, new) for name, new in asked.items() if name not in aside}
    return _changed(rules, left)


def set_aside(rules: Rules, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a place's moderators asked for and the owner's rules leave nothing of."""
    asked = _kept(stored, POLICY, MODERATED)
    return {name: new for name, new in asked.items() if _leaves_nothing(name, rules, new)}


def sources(rules: Rules, stored: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return by the names of what makes up each rule in force: the owner's, the moderators', both.

    rules: the owner's, as `with_stored` returns them.
    """
    asked, aside = _kept(stored, POLICY, MODERATED), set_aside(rules, stored)
    found: dict[str, tuple[str, ...]] = {}
    for name in RULES:
        held, theirs = _plain(rules.get(name)), asked.get(name)
        narrows = theirs is not None and name not in aside
        left = _plain(_left(name, rules, theirs)) if narrows else held
        if left == held:
            found[name] = (PREFIX + name,)
        else:
            found[name] = (POLICY + name,) if left == theirs else (PREFIX + name, POLICY + name)
    return found


def _plain(value: Any) -> Any:
    """Return a rule's value as places keep it."""
    return list(value) if isinstance(value, tuple) else value


def check_narrowing(rules: Rules, name: str, asked: Any) -> None:
    """Raise `OptionError` for a moderators' rule that leaves nothing of what the owner lets."""
    if _leaves_nothing(name, rules, asked):
        held = rules.get(name)
        owners = (some(held) or "none") if name in NAMED else write_rule(held)
        raise OptionError(name, write_rule(asked), Sentence("owners_own", owners=owners))


def _kept(stored: Mapping[str, Any], prefix: str, names: Iterable[str]) -> dict[str, Any]:
    values = {name: stored.get(prefix + name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _changed(rules: Rules, values: Mapping[str, Any]) -> Rules:
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    if "safety" in plain:
        plain["safety"] = Safety(plain["safety"])
    bounds = {name: plain.pop(name) for name in MEASURES if name in plain}
    allowed = {name: plain.pop(name) for name in NAMED if name in plain}
    bounds, allowed = {**rules.bounds, **bounds}, {**rules.allowed, **allowed}
    return replace(rules, **plain, bounds=bounds, allowed=allowed)


def _leaves_nothing(name: str, rules: Rules, asked: Any) -> bool:
    """Say whether the owner's rule leaves nothing of what is asked for, which may be no name."""
    return bool(asked) and name in (*MEASURES, *NAMED) and not _left(name, rules, asked)


def _left(name: str, rules: Rules, asked: Any) -> Any:
    """Return what is left of what moderators ask for within what the owner lets."""
    held = rules.get(name)
    if name in MEASURES and held:
        both = [max(asked[0], held[0]), min(asked[1], held[1])]
        return both if both[0] <= both[1] else []
    if name in NAMED and held is not None:
        # Of a bare name and a file that it stands for, the file is what both let.
        files = [each for each in held if each not in asked and is_among(name, each, asked)]
        return [*(each for each in asked if is_among(name, each, held)), *files]
    if name == "blocked":
        return list(dict.fromkeys([*held, *asked]))
    if name == "safety":
        return max(held, Safety(asked), key=list(Safety).index)
    return _least(held, asked) if isinstance(asked, int) else asked


def _least(*limits: int) -> int:
    """Return the tightest limit; 0 is none."""
    return min((limit for limit in limits if limit), default=0)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MOST):
        raise OptionError(name, text, A_LIMIT)
    return int(text)


def _words(name: str, text: str) -> list[str]:
    return read_list(text)


def _bounds(name: str, text: str) -> list[float]:
    allowed = MEASURES[name].allowed
    found = _BOUNDS.fullmatch(text)
    low, high = (float(found[1]), float(found[2])) if found else (1.0, 0.0)
    if not allowed.low <= low <= high <= allowed.high:
        low_end, high_end = figure(allowed.low), figure(allowed.high)
        raise OptionError(name, text, Sentence("like_bounds", low=low_end, high=high_end))
    return [int(each) if each == int(each) else each for each in (low, high)]


def _names(name: str, text: str) -> list[str]:
    names, known = _words(name, text), NAMED[name].known
    for each in names:
        if known and not is_among(name, each, known):
            raise UnknownPart(name, each, known)
    return [plain_name(each) for each in names] if known else names


def _safety(name: str, text: str) -> str:
    if text.lower() not in list(Safety):
        raise OptionError(name, text, one_of(Safety))
    return text.lower()


KEEP: Final = "keep_days"  # how long a place's pictures are kept; the caretaker reads it

RULES: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "per_minute": _number,
    "place_per_minute": _number,
    "daily": _number,
    "waiting": _number,
    "place_waiting": _number,
    "running": _number,
    "place_running": _number,
    "blocked": _words,
    "safety": _safety,
    KEEP: _number,
    **dict.fromkeys(MEASURES, _bounds),
    **dict.fromkeys(NAMED, _names),
}
# Limits of how much is asked for, waits or runs.
COUNTED: Final = (
    *("per_minute", "place_per_minute", "daily"),
    *("waiting", "place_waiting", "running", "place_running"),
)
LISTED: Final = ("blocked", *NAMED)  # rules that are lists of words or names
# What a place's own moderators may narrow.
MODERATED: Final = (
    *("per_minute", "place_per_minute", "blocked", "safety"),
    *MEASURES,
    *NAMED,
)
