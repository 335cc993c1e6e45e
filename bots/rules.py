"""What holds in a place: how much, how large and which words; and a sentence for who asks for more.

Each rule has a default by setting, which `*` (everywhere) and then each place may replace
(`marble rules`). A place's own moderators may only ask for less: their `POLICY` narrows what the
owner set. Plain synchronous code: facts are told, and a refusal says what and until when.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any, Final

from bots.blocking import find_blocked
from bots.measures import MEASURES, NAMED, is_among, plain_name
from engine.errors import OptionError, UnknownPart, UserError, shorten, some
from engine.ranges import one_of
from engine.recipe import Recipe
from engine.sentences import Sentence
from engine.work import MILLION, pixel_steps

PREFIX: Final = "rules."  # of the names under which places keep them, beside what else they keep
POLICY: Final = "policy."  # … of those of their moderators
OPEN: Final = "open"  # a place's setting: False where nothing may be asked for
DAY: Final = timedelta(days=1)
MOST: Final = 10**9
A_LIMIT: Final = Sentence(f"a whole number from 0 (no limit) to {MOST:,}", "a_limit", most=MOST)


class Safety(StrEnum):
    """Say what becomes of pictures that the safety check does not find safe; stricter ones last."""

    OFF = "off"
    SPOILER = "spoiler"
    REFUSE = "refuse"


class Refusal(UserError):
    """Say what is refused, and until when: by a `Sentence`, since everybody meets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Hold what holds in one place; 0 and nothing mean no limit."""

    per_minute: int = 0  # jobs of a person
    place_per_minute: int = 0  # jobs of all people together
    keep_days: int = 0  # after which pictures that nobody marked are removed
    daily: int = 0  # 10⁶ pixels × steps of a person in 24 hours
    waiting: int = 0  # jobs of a person that wait at once
    place_waiting: int = 0  # jobs of all people together that wait at once
    blocked: tuple[str, ...] = ()
    running: int = 0  # jobs of a person that run at once
    place_running: int = 0  # jobs of all people together that run at once
    safety: Safety = Safety.OFF
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of `MEASURES`
    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of `NAMED`

    def get(self, name: str) -> Any:
        """Return what a rule of `RULES` says here; None where it says nothing."""
        return self.bounds.get(name, self.allowed.get(name, getattr(self, name, None)))

    def check(self, recipe: Recipe) -> None:
        """Raise `Refusal` for words and numbers that are not allowed here."""
        for name, (low, high) in self.bounds.items():
            for value in MEASURES[name].of(recipe):
                if not low <= value <= high:
                    raise Refusal(_out_of_bounds(name, low, high, value))
        for name, names in self.allowed.items():
            for used in NAMED[name].of(recipe):
                if not is_among(used, names):
                    raise Refusal(_not_among(name, names, used))
        # Guidance below 1 turns towards the negative prompt: then that is what is drawn.
        turned = recipe.negative_prompt if recipe.guidance_scale < 1 else ""
        self.check_words(recipe.prompt, turned)

    def check_words(self, *texts: str) -> None:
        """Raise `Refusal` for words that are not allowed here."""
        for words in texts:
            if word := find_blocked(words, self.blocked):
                text = f"The word {word!r} is not allowed here; try it without."
                raise Refusal(Sentence(text, "blocked_word", word=word))

    def check_rate(self, mine: float, everybodys: float) -> None:
        """Raise `Refusal` while a person, or their place, has asked too often; seconds to wait."""
        if mine > 0:
            jobs, wait = _jobs(self.per_minute), _seconds(mine)
            text = f"You may ask for {jobs} a minute here; try again in {wait} s."
            raise Refusal(Sentence(text, "too_often", most=self.per_minute, wait=wait))
        if everybodys > 0:
            most, wait = self.place_per_minute, _seconds(everybodys)
            text = f"Here all together may ask for {_jobs(most)} a minute; try again in {wait} s."
            raise Refusal(Sentence(text, "all_too_often", most=most, wait=wait))

    def check_waiting(self, mine: int, everybodys: int) -> None:
        """Raise `Refusal` where as many jobs wait as may, of a person or of all together."""
        if self.waiting and mine >= self.waiting:
            most = self.waiting
            text = (
                f"You have {_jobs(mine)} waiting here, and no more than {most:,} may; cancel one "
                "or try again when one has started."
            )
            raise Refusal(Sentence(text, "too_many_here", waiting=mine, most=most))
        if self.place_waiting and everybodys >= self.place_waiting:
            most = self.place_waiting
            text = (
                f"Here {_jobs(everybodys)} of all together wait already, and no more than {most:,} "
                "may; try again when one has started."
            )
            raise Refusal(Sentence(text, "all_too_many_here", waiting=everybodys, most=most))

    def check_budget(
        self, recipe: Recipe, used: int, costs: Callable[[], Sequence[tuple[datetime, int]]]
    ) -> None:
        """Raise `Refusal` where a recipe is more than what is left of a person's day.

        used: pixels × steps of the last 24 hours; costs: when each job of those was asked for, and
        its share, the oldest first.
        """
        asks, daily = pixel_steps(recipe), self.daily * MILLION
        if not daily or used + asks <= daily:
            return
        facts = {
            "used": f"{used / MILLION:,.0f}",
            "daily": f"{self.daily:,}",
            "asks": f"{asks / MILLION:,.1f}",
        }
        start = (
            f"You have used {facts['used']} of your {facts['daily']} million pixel-steps of "
            f"24 hours, and this takes {facts['asks']}"
        )
        if asks > daily:
            text = f"{start}; it is more than a whole day has."
            raise Refusal(Sentence(text, "more_than_a_day", **facts))
        left, when = daily - used, ""
        for at, each in costs():
            left, when = left + each, f"{at + DAY:%H:%M} UTC"
            if left >= asks:
                break
        text = f"{start}; it is possible from {when} on."
        raise Refusal(Sentence(text, "spent", when=when, **facts))


def ban_refusal(reason: str, until: datetime | None) -> Refusal:
    """Return what somebody is told who was banned."""
    start = "You may not ask for pictures here"
    if until is None:
        return Refusal(Sentence(f"{start}: {reason}", "banned", reason=reason))
    end = f"{until:%Y-%m-%d %H:%M} UTC"
    text = f"{start} until {end}: {reason}"
    return Refusal(Sentence(text, "banned_until", reason=reason, until=end))


def closed_refusal() -> Refusal:
    """Return what people are told where nothing may be asked for."""
    return Refusal(Sentence("Pictures are switched off here.", "closed"))


def read_rule(name: str, text: str) -> Any:
    """Read a rule as people write it, to a plain JSON value; None (for nothing) removes it."""
    if name not in RULES:
        raise OptionError("A rule", name, one_of(RULES))
    return RULES[name](name, text.strip()) if text.strip() else None


def write_rule(value: Any) -> str:
    """Write a rule as people write it."""
    if not isinstance(value, (list, tuple)):
        return str(value)
    return ", ".join(value) if all(isinstance(v, str) for v in value) else "-".join(map(str, value))


def with_stored(rules: Rules, stored: Mapping[str, Any]) -> Rules:
    """Return the rules with what a place keeps over them."""
    return _changed(rules, _kept(stored, PREFIX, RULES))


def narrowed(rules: Rules, stored: Mapping[str, Any]) -> Rules:
    """Return the rules with what a place's moderators ask for on top: never more than before."""
    asked = _kept(stored, POLICY, MODERATED)
    return _changed(rules, {name: _within(name, rules, new) for name, new in asked.items()})


def check_narrowing(rules: Rules, name: str, asked: Any) -> None:
    """Raise `OptionError` for a moderators' rule that leaves nothing of what the owner lets."""
    if asked and (name in MEASURES or name in NAMED) and not _left(name, rules, asked):
        held = rules.get(name)
        owners = (some(held) or "none") if name in NAMED else write_rule(held)
        allowed = f"within what Marble's owner allows here ({owners})"
        sentence = Sentence(allowed, "owners_own", owners=owners)
        raise OptionError(name, write_rule(asked), sentence)


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


def _within(name: str, rules: Rules, asked: Any) -> Any:
    """Return what moderators ask for, as far as it is no more than what the owner lets."""
    left = _left(name, rules, asked)
    # Bounds that were right when they were set, and of which the owner's leave nothing since.
    return rules.bounds[name] if name in MEASURES and not left else left


def _left(name: str, rules: Rules, asked: Any) -> Any:
    """Return what is left of what moderators ask for within what the owner lets."""
    held = rules.get(name)
    if name in MEASURES and held:
        both = [max(asked[0], held[0]), min(asked[1], held[1])]
        return both if both[0] <= both[1] else []
    if name in NAMED and held is not None:
        return [each for each in asked if is_among(each, held)]
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
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _bounds(name: str, text: str) -> list[float]:
    allowed = MEASURES[name].allowed
    found = re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*-\s*(-?\d+(?:\.\d+)?)", text, re.ASCII)
    low, high = (float(found[1]), float(found[2])) if found else (1.0, 0.0)
    if not allowed.low <= low <= high <= allowed.high:
        ends = {"low": _figure(allowed.low), "high": _figure(allowed.high)}
        like = "like LOW-HIGH, within {low} and {high}".format(**ends)
        raise OptionError(name, text, Sentence(like, "like_bounds", **ends))
    return [int(each) if each == int(each) else each for each in (low, high)]


def _names(name: str, text: str) -> list[str]:
    names, known = _words(name, text), NAMED[name].known
    for each in names:
        if known and not is_among(each, known):
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
# What a place's own moderators may narrow.
MODERATED: Final = (
    *("per_minute", "place_per_minute", "blocked", "safety"),
    *MEASURES,
    *NAMED,
)


def _jobs(count: int) -> str:
    return "one job" if count == 1 else f"{count} jobs"


def _seconds(seconds: float) -> int:
    return max(1, ceil(seconds))


def _figure(value: float) -> str:
    return f"{int(value)}" if value == int(value) else f"{value:g}"


def _out_of_bounds(name: str, low: float, high: float, value: float) -> Sentence:
    bounds = {"low": _figure(low), "high": _figure(high), "value": _figure(value)}
    text = "Here {option} must be between {low} and {high}, not {value}."
    return Sentence(text.format(option=name, **bounds), "out_of_bounds", option=name, **bounds)


def _not_among(name: str, names: Sequence[str], value: str) -> Sentence:
    facts = {"names": some(names) or "none", "value": shorten(value)}
    text = f"Here {name} must be one of {facts['names']}, not {facts['value']}."
    return Sentence(text, "not_among", option=name, **facts)
