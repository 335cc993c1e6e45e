"""The refusals of what the rules of a place do not allow.

Plain synchronous code: what decides is passed in. `bots.admission.rulebook` has the table of rules.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

from bots.admission.blocked_words import BETWEEN, find_blocked
from bots.admission.rulebook import MEASURES, NAMED, Rules, is_among
from engine.errors import UserError, shorten, some
from engine.queue.estimates import MILLION, pixel_steps
from engine.recipe.conditions import drawn_texts
from engine.recipe.prompt_tags import plain
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence
from engine.text_encode.prompts import unweighted

DAY: Final = timedelta(days=1)
TO_NEXT_MINUTE: Final = timedelta(minutes=1) - timedelta.resolution  # shown without seconds


class Refusal(UserError):
    """Says what a rule does not allow, and until when."""


def check(rules: Rules, recipe: Recipe, lacks: Container[str] = ()) -> None:
    """Raise `Refusal` for words and numbers that are not allowed in a place.

    lacks: the fields that the recipe's model does not have, which no rule limits.
    """
    for name in (each for each in MEASURES if each in rules):
        low, high = rules[name]
        measure = MEASURES[name]
        for value in () if measure.field in lacks else measure.of(recipe):
            if not low <= value <= high:
                facts = {"low": plain(low), "high": plain(high), "value": plain(value)}
                raise Refusal(Sentence("out_of_bounds", option=name, **facts))
    for name in (each for each in NAMED if each in rules):
        for used in NAMED[name](recipe):
            check_name(rules, name, used)
    check_words(rules, *drawn_texts(recipe))


def check_name(rules: Rules, name: str, used: str) -> None:
    """Raise `Refusal` for a name that a rule of `NAMED` does not allow in a place."""
    if name in rules and not is_among(name, used, rules[name]):
        facts = {"names": some(rules[name]) or "none", "value": shorten(used)}
        raise Refusal(Sentence("not_among", option=name, **facts))


def check_words(rules: Rules, *texts: str) -> None:
    """Raise `Refusal` for words that are not allowed in a place, also between weights."""
    if not rules["blocked"]:
        return
    read = dict.fromkeys((*texts, *map(unweighted, texts)))
    if word := find_blocked(BETWEEN.join(read), rules["blocked"]):
        raise Refusal(Sentence("blocked_word", word=word))


def check_waiting(name: str, most: int, count: int) -> None:
    """Raise `Refusal` where the most jobs wait already, of a person (`waiting`) or of all."""
    if count >= most and name == "waiting":
        raise Refusal(Sentence("too_many_here", waiting=count, most=most))
    if count >= most:
        raise Refusal(Sentence("all_too_many_here", waiting=count, most=most))


def check_budget(
    daily: int, recipe: Recipe, used: int, costs: Callable[[], Sequence[tuple[datetime, int]]]
) -> None:
    """Raise `Refusal` where a recipe costs more than is left of a person's 24 hours.

    daily: 10⁶ pixels × steps. used: pixels × steps of the last 24 hours; costs: when each job of
    those was asked for, and its share, the oldest first.
    """
    asks, left, when = pixel_steps(recipe), daily * MILLION - used, ""
    if asks <= left:
        return
    needed = asks / MILLION
    if asks > daily * MILLION:
        raise Refusal(Sentence("more_than_a_day", daily=daily, asks=needed))
    for at, each in costs():
        left, when = left + each, time_text(at + DAY + TO_NEXT_MINUTE)
        if left >= asks:
            break
    raise Refusal(Sentence("spent", used=used / MILLION, daily=daily, asks=needed, when=when))


def check_rate(name: str, most: int, seconds: float, count: int = 1) -> None:
    """Raise `Refusal` while a person (`per_minute`), or their place, has asked too often.

    most: jobs a minute; seconds: to wait until so many are taken as are asked for at once.
    """
    if count > most:
        raise Refusal(Sentence("too_many_at_once", count=count, most=most))
    wait = ceil(seconds)
    if wait > 0 and name == "per_minute":
        raise Refusal(Sentence("too_often", most=most, wait=wait))
    if wait > 0:
        raise Refusal(Sentence("all_too_often", most=most, wait=wait))


def time_text(at: datetime) -> str:
    """Write a time in UTC, for people; a platform may show it in the reader's own zone."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def ban_refusal(reason: str, until: datetime | None) -> Refusal:
    """Return the refusal of somebody who is banned."""
    if until is None:
        return Refusal(Sentence("banned", reason=reason))
    return Refusal(Sentence("banned_until", reason=reason, until=time_text(until)))
