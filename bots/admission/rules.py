"""What holds in a place: how much, how large and which words; and a sentence for who asks for more.

Plain synchronous code: facts are told, and a refusal says what and until when.
`bots.admission.rulebook` says how rules are written and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any, Final

from bots.admission.blocked_words import find_blocked
from bots.admission.bounds import MEASURES, NAMED, is_among
from engine.errors import UserError, shorten, some
from engine.queue.estimates import MILLION, pixel_steps
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence

DAY: Final = timedelta(days=1)
TO_NEXT_MINUTE: Final = timedelta(minutes=1) - timedelta.resolution  # times are told in minutes


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
                if not is_among(name, used, names):
                    raise Refusal(_not_among(name, names, used))
        # Guidance below 1 turns towards the negative prompt: then that is what is drawn.
        turned = recipe.negative_prompt if recipe.guidance_scale < 1 else ""
        self.check_words(recipe.prompt, turned)

    def check_words(self, *texts: str) -> None:
        """Raise `Refusal` for words that are not allowed here."""
        for words in texts:
            if word := find_blocked(words, self.blocked):
                raise Refusal(Sentence("blocked_word", word=word))

    def check_waiting(self, mine: int, everybodys: int) -> None:
        """Raise `Refusal` where as many jobs wait as may, of a person or of all together."""
        if self.waiting and mine >= self.waiting:
            most = self.waiting
            raise Refusal(Sentence("too_many_here", waiting=mine, most=most))
        if self.place_waiting and everybodys >= self.place_waiting:
            most = self.place_waiting
            raise Refusal(Sentence("all_too_many_here", waiting=everybodys, most=most))

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
        facts = {"used": used / MILLION, "asks": asks / MILLION}
        if asks > daily:
            raise Refusal(Sentence("more_than_a_day", daily=self.daily, **facts))
        left, when = daily - used, ""
        for at, each in costs():
            left, when = left + each, f"{at + DAY + TO_NEXT_MINUTE:%H:%M} UTC"
            if left >= asks:
                break
        raise Refusal(Sentence("spent", daily=self.daily, when=when, **facts))


def check_rate(name: str, most: int, seconds: float) -> None:
    """Raise `Refusal` while a person (`per_minute`), or their place, has asked too often.

    most: jobs a minute; seconds: to wait until the next.
    """
    if seconds <= 0:
        return
    wait = _seconds(seconds)
    if name == "per_minute":
        raise Refusal(Sentence("too_often", most=most, wait=wait))
    raise Refusal(Sentence("all_too_often", most=most, wait=wait))


def ban_refusal(reason: str, until: datetime | None) -> Refusal:
    """Return what somebody is told who was banned."""
    if until is None:
        return Refusal(Sentence("banned", reason=reason))
    return Refusal(Sentence("banned_until", reason=reason, until=f"{until:%Y-%m-%d %H:%M} UTC"))


def closed_refusal() -> Refusal:
    """Return what people are told where nothing may be asked for."""
    return Refusal(Sentence("closed"))


def _seconds(seconds: float) -> int:
    return max(1, ceil(seconds))


def figure(value: float) -> str:
    """Write a number as people do: whole ones without a point."""
    return f"{int(value)}" if value == int(value) else f"{value:g}"


def _out_of_bounds(name: str, low: float, high: float, value: float) -> Sentence:
    return Sentence(
        "out_of_bounds", option=name, low=figure(low), high=figure(high), value=figure(value)
    )


def _not_among(name: str, names: Sequence[str], value: str) -> Sentence:
    return Sentence("not_among", option=name, names=some(names) or "none", value=shorten(value))
