"""The rules of a place, and the refusals of what they do not allow.

Plain synchronous code: what decides is passed in. `bots.admission.rulebook` has the table of rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, Final

from bots.admission.blocked_words import find_blocked
from bots.admission.rulebook import MEASURES, NAMED, Safety, figure, is_among
from engine.errors import UserError, shorten, some
from engine.queue.estimates import MILLION, pixel_steps
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence

DAY: Final = timedelta(days=1)
TO_NEXT_MINUTE: Final = timedelta(minutes=1) - timedelta.resolution  # shown without seconds


class Refusal(UserError):
    """Says what a rule does not allow, and until when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of one place; 0 and an empty value mean no limit."""

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
        """Return the value of a rule of `RULES`; None where there is none."""
        return self.bounds.get(name, self.allowed.get(name, getattr(self, name, None)))

    def check(self, recipe: Recipe) -> None:
        """Raise `Refusal` for words and numbers that are not allowed here."""
        for name, (low, high) in self.bounds.items():
            for value in MEASURES[name].of(recipe):
                if not low <= value <= high:
                    facts = {"low": figure(low), "high": figure(high), "value": figure(value)}
                    raise Refusal(Sentence("out_of_bounds", option=name, **facts))
        for name, names in self.allowed.items():
            for used in NAMED[name].of(recipe):
                if not is_among(name, used, names):
                    facts = {"names": some(names) or "none", "value": shorten(used)}
                    raise Refusal(Sentence("not_among", option=name, **facts))
        # Guidance below 1 turns towards the negative prompt: then that is what is drawn.
        turned = recipe.negative_prompt if recipe.guidance_scale < 1 else ""
        self.check_words(recipe.prompt, turned)

    def check_words(self, *texts: str) -> None:
        """Raise `Refusal` for words that are not allowed here."""
        for words in texts:
            if word := find_blocked(words, self.blocked):
                raise Refusal(Sentence("blocked_word", word=word))

    def check_waiting(self, mine: int, everybodys: int) -> None:
        """Raise `Refusal` where the most jobs wait already, of a person or of all together."""
        if self.waiting and mine >= self.waiting:
            raise Refusal(Sentence("too_many_here", waiting=mine, most=self.waiting))
        if self.place_waiting and everybodys >= self.place_waiting:
            most = self.place_waiting
            raise Refusal(Sentence("all_too_many_here", waiting=everybodys, most=most))

    def check_budget(
        self, recipe: Recipe, used: int, costs: Callable[[], Sequence[tuple[datetime, int]]]
    ) -> None:
        """Raise `Refusal` where a recipe costs more than is left of a person's 24 hours.

        used: pixels × steps of the last 24 hours; costs: when each job of those was asked for, and
        its share, the oldest first.
        """
        asks, daily = pixel_steps(recipe), self.daily * MILLION
        if not daily or used + asks <= daily:
            return
        needed = asks / MILLION
        if asks > daily:
            raise Refusal(Sentence("more_than_a_day", daily=self.daily, asks=needed))
        left, when = daily - used, ""
        for at, each in costs():
            left, when = left + each, time_text(at + DAY + TO_NEXT_MINUTE)
            if left >= asks:
                break
        raise Refusal(
            Sentence("spent", used=used / MILLION, daily=self.daily, asks=needed, when=when)
        )


def check_rate(name: str, most: int, seconds: float) -> None:
    """Raise `Refusal` while a person (`per_minute`), or their place, has asked too often.

    most: jobs a minute; seconds: to wait until the next.
    """
    if seconds <= 0:
        return
    wait = max(1, ceil(seconds))
    if name == "per_minute":
        raise Refusal(Sentence("too_often", most=most, wait=wait))
    raise Refusal(Sentence("all_too_often", most=most, wait=wait))


def time_text(at: datetime) -> str:
    """Write a time in UTC, for people; a platform may show it in the reader's own zone."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def ban_refusal(reason: str, until: datetime | None) -> Refusal:
    """Return the refusal of somebody who is banned."""
    if until is None:
        return Refusal(Sentence("banned", reason=reason))
    return Refusal(Sentence("banned_until", reason=reason, until=time_text(until)))
