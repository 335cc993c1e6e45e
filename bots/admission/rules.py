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
                text = f"The word {word!r} is not allowed here; try it without."
                raise Refusal(Sentence(text, "blocked_word", word=word))

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
            left, when = left + each, f"{at + DAY + TO_NEXT_MINUTE:%H:%M} UTC"
            if left >= asks:
                break
        text = f"{start}; it is possible from {when} on."
        raise Refusal(Sentence(text, "spent", when=when, **facts))


def check_rate(name: str, most: int, seconds: float) -> None:
    """Raise `Refusal` while a person (`per_minute`), or their place, has asked too often.

    most: jobs a minute; seconds: to wait until the next.
    """
    if seconds <= 0:
        return
    wait = _seconds(seconds)
    if name == "per_minute":
        text = f"You may ask for {_jobs(most)} a minute here; try again in {wait} s."
        raise Refusal(Sentence(text, "too_often", most=most, wait=wait))
    text = f"Here all together may ask for {_jobs(most)} a minute; try again in {wait} s."
    raise Refusal(Sentence(text, "all_too_often", most=most, wait=wait))


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


def _jobs(count: int) -> str:
    return "one job" if count == 1 else f"{count} jobs"


def _seconds(seconds: float) -> int:
    return max(1, ceil(seconds))


def figure(value: float) -> str:
    """Write a number as people do: whole ones without a point."""
    return f"{int(value)}" if value == int(value) else f"{value:g}"


def _out_of_bounds(name: str, low: float, high: float, value: float) -> Sentence:
    bounds = {"low": figure(low), "high": figure(high), "value": figure(value)}
    text = "Here {option} must be between {low} and {high}, not {value}."
    return Sentence(text.format(option=name, **bounds), "out_of_bounds", option=name, **bounds)


def _not_among(name: str, names: Sequence[str], value: str) -> Sentence:
    facts = {"names": some(names) or "none", "value": shorten(value)}
    text = f"Here {name} must be one of {facts['names']}, not {facts['value']}."
    return Sentence(text, "not_among", option=name, **facts)
