"""Checks every job before it is committed, from whatever platform: bans, rules, rates, budgets."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Container, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol

from bots.admission import rules
from bots.admission.in_force import InForce, Limit, check_narrowing, nowhere, resolve
from bots.admission.prompt_hook import Hook, ask
from bots.admission.roles import Role, Roles
from bots.admission.rulebook import (
    DEFAULT_COUNT,
    MODERATED,
    OPEN,
    POLICY,
    PREFIX,
    WORKFLOWS,
    Rules,
    Safety,
    read_rule,
)
from bots.admission.rules import DAY, Refusal, ban_refusal
from bots.admission.visibility import View
from engine.errors import OptionError
from engine.queue.tasks import Caps
from engine.recipe.limits import one_of
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence
from storage import Storage
from storage.database.audit import AuditEntry
from storage.jobs.quota import Allow, Quota, everything_passes
from storage.people.moderation import admission
from storage.records import Ban, Line

MINUTE: Final = 60.0
KEPT: Final = 10_000  # buckets; of more, those that were used longest ago are forgotten (full)
QUOTAS: Final = ("waiting", "place_waiting", "daily")  # counted in the database


@dataclass(slots=True)
class TokenBuckets:
    """Token buckets by key; the time is passed in.

    A bucket holds a minute's worth and fills evenly, so that a handful at once is fine and a flood
    is not (J. Turner: New directions in communications, IEEE Communications Magazine 24(10), 1986).
    """

    _buckets: OrderedDict[Hashable, tuple[float, float]] = field(default_factory=OrderedDict)

    def wait(self, key: Hashable, per_minute: float, now: float, count: int = 1) -> float:
        """Return the seconds until there are so many to take: 0 where there are now."""
        return max(0.0, count - self._level(key, per_minute, now)) * MINUTE / per_minute

    def take(self, key: Hashable, per_minute: float, now: float, count: int = 1) -> None:
        """Take some, whether there are so many or not."""
        self._buckets[key] = (self._level(key, per_minute, now) - count, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)

    def _level(self, key: Hashable, per_minute: float, now: float) -> float:
        level, at = self._buckets.get(key, (per_minute, now))
        return min(per_minute, level + max(0.0, now - at) * per_minute / MINUTE)


class Origin(Protocol):
    """Who asks for something, or asked for it, and where."""

    @property
    def person(self) -> str: ...

    @property
    def place(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Admission:
    """The check made while a job is committed, and the caps on jobs running beside it."""

    allow: Allow = everything_passes
    caps: Caps = ()


@dataclass(slots=True)
class Gate:
    """Checks a job against the rules in force where it is asked for.

    Owners and moderators of the settings, and people at a terminal, are not checked.
    """

    storage: Storage
    roles: Roles
    defaults: Rules
    hook: Hook | None = None
    clock: Callable[[], float] = time.monotonic
    today: Callable[[], datetime] = lambda: datetime.now(UTC)
    _rates: TokenBuckets = field(default_factory=TokenBuckets)
    _first_ids: dict[str, str] = field(default_factory=dict)  # of places that were moved meanwhile

    async def __call__(
        self, recipe: Recipe, asker: Origin, lacks: Container[str] = (), count: int = 1
    ) -> Admission:
        """Raise `Refusal`, or count the job and return what is checked as it is committed.

        lacks: as in `rules.check`. count: so many jobs are counted; of several that are committed
        together one call counts all, and the others 0.
        Many that cannot all be admitted may pass here at once: the lock of the commit decides.
        """
        held = await self.admit(asker)
        if held is None:
            return Admission()
        rules.check(held.rules, recipe, lacks)
        allow = everything_passes
        if any(held.limits[name] for name in QUOTAS):
            allow = partial(self._allow, held, recipe)
            await self.storage.jobs.may(asker.person, allow)
        if self.hook:
            await ask(self.hook, recipe, asker.person, asker.place)
        if count:
            self._count(held, asker.person, count)
        return Admission(allow, self._caps(held, asker.person))

    async def caps(self, person: str, place: str) -> Caps:
        """Return how many jobs of each of its groups may run beside a person's job in a place."""
        if self.roles.of(person) >= Role.MODERATOR:
            return ()
        return self._caps(await self.in_force(place), person)

    async def admit(self, asker: Origin) -> InForce | None:
        """Return what is in force for somebody in a place; None where nothing is checked.

        Raises `Refusal` for banned people, and where no job is taken.
        """
        if self.roles.of(asker.person) >= Role.MODERATOR:
            return None
        found = await self.storage.database.read(
            lambda c: admission(c, asker.person, asker.place, self.today())
        )
        return self.decide(asker.person, *found)

    def decide(self, person: str, ban: Ban | None, line: Line) -> InForce | None:
        """Do as `admit` with what was read of a person in a place (`moderation.admission`)."""
        if self.roles.of(person) >= Role.MODERATOR:
            return None
        if ban:
            raise ban_refusal(ban.reason, ban.until)
        held = resolve(self.defaults, line)
        if not held.is_open:
            raise Refusal(Sentence("closed"))
        return held

    @asynccontextmanager
    async def counting(self, asker: Origin) -> AsyncIterator[None]:
        """Count what takes about as long as a job towards the rates, or raise `Refusal`.

        What fails inside the block counts as nothing.
        """
        if held := await self.admit(asker):
            self._count(held, asker.person, 1)
        try:
            yield
        except BaseException:
            if held:
                self._take(held, asker.person, -1)
            raise

    async def check_workflow(self, asker: Origin, name: str) -> None:
        """Raise `Refusal` for a workflow of the owner's that somebody may not use in a place."""
        if held := await self.admit(asker):
            rules.check_name(held.rules, WORKFLOWS, name)

    async def in_force(self, place: str, adult: Callable[[str], bool] = nowhere) -> InForce:
        """Return what is in force in a place (`*`: everywhere).

        adult: says of a place whether its platform lets only adults in; what lies in it is as it.
        """
        line = await self.storage.people.line(place)
        only_adults = any(adult(level.place) for level in line)
        return resolve(self.defaults, line, adult=only_adults)

    async def default_count(self, place: str) -> int | None:
        """Return how many pictures a job has in a place where nobody says how many, if it says."""
        held = (await self.in_force(place)).rules
        if (count := held.get(DEFAULT_COUNT)) is None:
            return None
        low, high = held.get("count", (count, count))
        return int(min(max(count, low), high))

    async def view(self, place: str, adult: Callable[[str], bool] = nowhere) -> View:
        """Return how pictures may be shown in a place; `adult`: see `in_force`."""
        return self._view(await self.in_force(place, adult))

    def along(self, line: Line) -> InForce:
        """Return what is in force in a place by the settings that were read (`People.line`)."""
        return resolve(self.defaults, line)

    def view_along(self, line: Line) -> View:
        """Do as `view` by the settings that were read."""
        return self._view(self.along(line))

    def _view(self, held: InForce) -> View:
        return View(self.storage.pictures, Safety(held.rules["safety"]))

    async def check_words(self, place: str, *texts: str) -> None:
        """Raise `Refusal` for words that are not allowed in a place."""
        rules.check_words((await self.in_force(place)).rules, *texts)

    def move(self, old: str, new: str) -> None:
        """Count a place under its new id together with what was counted under its old one.

        What is counted in memory keeps the old id until this process ends.
        """
        self._first_ids[new] = self._first_id(old)

    async def change(
        self, place: str, changes: Mapping[str, str], by: str, *, is_open: bool | None = None
    ) -> None:
        """Change a place's own rules; an empty text removes one.

        is_open: as in `narrow`. Raises `UserError` for who is no owner, or `OptionError`. The
        moderators' log records it.
        """
        self.roles.require(Role.OWNER, by)
        read = {name: read_rule(name, text) for name, text in changes.items()}
        stored = {PREFIX + name: value for name, value in read.items()}
        log = [AuditEntry(by=by, act="rules", place=place, detail=read)] if read else []
        if is_open is not None:
            _add_open(stored, log, place, by, is_open=is_open)
        await self.storage.people.change_place_settings(place, stored, log=log)

    async def narrow(
        self, place: str, changes: Mapping[str, str], by: str, *, is_open: bool | None = None
    ) -> None:
        """Store moderators' rules of a place; they can only be stricter than the owner's.

        changes: texts of rules by name; an empty text removes a rule. is_open: whether requests
        are accepted there and in all places inside it; None leaves that unchanged. The caller
        checks who may do this. The moderators' log records it. Raises `OptionError`, also for a
        rule that has nothing in common with the owner's.
        """
        for name in changes:
            if name not in MODERATED:
                raise OptionError("A rule", name, one_of(MODERATED))
        read = {name: read_rule(name, text) for name, text in changes.items()}

        def check(line: Line) -> None:
            check_narrowing(resolve(self.defaults, line).owners, read)

        stored = {POLICY + name: value for name, value in read.items()}
        log = [AuditEntry(by=by, act="policy", place=place, detail=read)] if read else []
        if is_open is not None:
            _add_open(stored, log, place, by, is_open=is_open)
        people = self.storage.people
        await people.change_place_settings(place, stored, check=check, log=log)

    def _count(self, held: InForce, person: str, count: int) -> None:
        """Take so many from each bucket, or raise `Refusal` where one has less."""
        now = self.clock()
        for name, limit, key in self._buckets(held, person):
            rules.check_rate(name, limit.most, self._rates.wait(key, limit.most, now, count), count)
        self._take(held, person, count)

    def _take(self, held: InForce, person: str, count: int) -> None:
        """Take so many from each bucket; of less than none, give them back."""
        now = self.clock()
        for _, limit, key in self._buckets(held, person):
            self._rates.take(key, limit.most, now, count)

    def _buckets(self, held: InForce, person: str) -> list[tuple[str, Limit, Hashable]]:
        """Return the rates that somebody's jobs count towards, each with its bucket's key."""
        return [
            (name, limit, (limit.rule, who, self._first_id(limit.counted_in)))
            for name, who in (("per_minute", self._first_id(person)), ("place_per_minute", None))
            for limit in held.limits[name]
        ]

    def _allow(self, held: InForce, recipe: Recipe, quota: Quota) -> None:
        """Raise `Refusal` for what is too much beside what was asked for before."""
        for name in ("waiting", "place_waiting"):
            for limit in held.limits[name]:
                count = quota.waiting(limit.rule, limit.counted_in, mine=name == "waiting")
                rules.check_waiting(name, limit.most, count)
        for limit in held.limits["daily"]:
            counted = self.today() - DAY, limit.rule, limit.counted_in
            used, costs = quota.spent(*counted), partial(quota.costs, *counted)
            rules.check_budget(limit.most, recipe, used, costs)

    def _caps(self, held: InForce, person: str) -> Caps:
        own, everybodys = (
            [(self._first_id(each.counted_in), each.most) for each in held.limits[name]]
            for name in ("running", "place_running")
        )
        return (*((f"{person} in {place}", most) for place, most in own), *everybodys)

    def _first_id(self, key: str) -> str:
        """Map a moved place or person to the first id seen in this process, so counters go on."""
        whole, within, rest = key.partition("/")
        return self._first_ids.get(whole, whole) + within + rest


def _add_open(
    stored: dict[str, Any], log: list[AuditEntry], place: str, by: str, *, is_open: bool
) -> None:
    """Add to what is stored and logged that a place is open or not."""
    stored[OPEN] = None if is_open else False  # None: the places around it decide again
    log.append(AuditEntry(by=by, act="open", place=place, detail={OPEN: is_open}))
