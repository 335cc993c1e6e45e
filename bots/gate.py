"""The gate before every job, whatever platform it comes from: who may ask for what, where, when."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from bots.hooks import Hook, ask
from bots.policy import Role, Roles
from bots.rates import Rates
from bots.rulebook import (
    MODERATED,
    OPEN,
    POLICY,
    PREFIX,
    check_narrowing,
    narrowed,
    read_rule,
    set_aside,
    with_stored,
)
from bots.rules import DAY, Rules, ban_refusal, closed_refusal
from engine.errors import OptionError
from engine.order import Caps
from engine.ranges import one_of
from engine.recipe import Recipe
from storage import Storage
from storage.audit import Entry
from storage.ledger import Allow, Ledger, everything_passes


class Asking(Protocol):
    """Say who asks, and where."""

    @property
    def person(self) -> str: ...

    @property
    def place(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Admission:
    """Hold what is asked as a job is committed, and how many may run beside it."""

    allow: Allow = everything_passes
    caps: Caps = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Hold what holds in a place, as people are shown it."""

    rules: Rules
    is_open: bool  # whether anything may be asked for
    aside: Mapping[str, Any]  # what moderators asked for and the owner has since left nothing of


async def nobody_minds(recipe: Recipe, asker: Asking) -> Admission:
    """Let everything pass."""
    return Admission()


@dataclass(slots=True)
class Gate:
    """Ask the rules before a job is committed; the facts come from the database.

    Whoever the settings make an owner or moderator, and who sits at a terminal, passes freely.
    """

    storage: Storage
    roles: Roles
    defaults: Rules
    hook: Hook | None = None
    clock: Callable[[], float] = time.monotonic
    today: Callable[[], datetime] = lambda: datetime.now(UTC)
    _rates: Rates = field(default_factory=Rates)

    async def __call__(self, recipe: Recipe, asker: Asking) -> Admission:
        """Raise `Refusal`, or count what passes and return what holds as it is committed.

        Many may pass here at once who cannot all be admitted: that is decided under the lock.
        """
        rules = await self.admit(asker)
        if rules is None:
            return Admission()
        rules.check(recipe)
        allow = everything_passes
        if rules.daily or rules.waiting or rules.place_waiting:
            allow = partial(self._allow, rules, recipe)
            await self.storage.jobs.may(asker.person, asker.place, allow)
        if self.hook:
            await ask(self.hook, recipe, asker.person, asker.place)
        self._count(rules, asker)
        return Admission(allow, await self._caps(rules, asker.person, asker.place))

    async def caps(self, person: str, place: str) -> Caps:
        """Return how many jobs may run beside one that was asked for so, by the groups it is in."""
        if self.roles.of(person) >= Role.MODERATOR:
            return ()
        return await self._caps(await self.rules(place), person, place)

    async def admit(self, asker: Asking) -> Rules | None:
        """Return what holds for somebody in a place; None where they pass freely.

        Raises `Refusal` for who is banned, and where nothing may be asked for.
        """
        if self.roles.of(asker.person) >= Role.MODERATOR:
            return None
        ban, stored = await self.storage.moderation.admission(asker.person, asker.place)
        if ban:
            raise ban_refusal(ban.reason, ban.until)
        if stored.get(OPEN) is False:
            raise closed_refusal()
        return self._held(stored)

    async def rules(self, place: str) -> Rules:
        """Return what holds in a place (`*`: everywhere)."""
        return self._held(await self.storage.people.place_settings(place))

    async def holding(self, place: str) -> Holding:
        """Return all that is shown of what holds in a place."""
        stored = await self.storage.people.place_settings(place)
        return Holding(
            rules=self._held(stored),
            is_open=stored.get(OPEN) is not False,
            aside=set_aside(with_stored(self.defaults, stored), stored),
        )

    async def change(self, place: str, changes: Mapping[str, str], by: str) -> Mapping[str, Any]:
        """Change a place's own rules (an empty text removes one), and return all that it keeps.

        Raises `NotAllowed` or `OptionError`. The moderators' log records it.
        """
        self.roles.require(Role.OWNER, by, "change the rules")
        read = {name: read_rule(name, text) for name, text in changes.items()}
        stored = {PREFIX + name: value for name, value in read.items()}
        log = [Entry(by=by, act="rules", place=place, detail=read)]
        kept = await self.storage.people.change_place_settings(place, stored, log=log)
        return {name.removeprefix(PREFIX): v for name, v in kept.items() if name.startswith(PREFIX)}

    async def narrow(
        self, place: str, changes: Mapping[str, str], by: str, *, is_open: bool | None = None
    ) -> None:
        """Change what a place's moderators ask for (an empty text removes one), never for more.

        is_open: whether anything may be asked for there and in all that lies in it; None leaves
        that as it is. Whoever calls says who may. Raises `OptionError`, also for what leaves
        nothing of what the owner lets; the moderators' log records it.
        """
        for name in changes:
            if name not in MODERATED:
                raise OptionError("A rule", name, one_of(MODERATED))
        read = {name: read_rule(name, text) for name, text in changes.items()}

        def check(held: Mapping[str, Any]) -> None:
            owners = with_stored(self.defaults, held)
            for name, value in read.items():
                check_narrowing(owners, name, value)

        stored = {POLICY + name: value for name, value in read.items()}
        log = [Entry(by=by, act="policy", place=place, detail=read)] if read else []
        if is_open is not None:  # None lets what holds around it hold here again
            stored[OPEN] = None if is_open else False
            log.append(Entry(by=by, act="open", place=place, detail={OPEN: is_open}))
        people = self.storage.people
        await people.change_place_settings(place, stored, check=check, log=log)

    def _held(self, stored: Mapping[str, Any]) -> Rules:
        """Return what holds by a place's settings: the owner's, narrowed by its moderators'."""
        return narrowed(with_stored(self.defaults, stored), stored)

    async def _caps(self, rules: Rules, person: str, place: str) -> Caps:
        found = []
        for name, who, most in (
            ("running", f"{person} in ", rules.running),
            ("place_running", "", rules.place_running),
        ):
            if most:
                within = await self.storage.people.within(place, PREFIX + name)
                found.append((who + within, most))
        return tuple(found)

    def _count(self, rules: Rules, asker: Asking) -> None:
        now = self.clock()
        buckets = [
            ((asker.person, asker.place), rules.per_minute),
            (asker.place, rules.place_per_minute),
        ]
        mine, everybodys = (
            self._rates.wait(key, limit, now) if limit else 0.0 for key, limit in buckets
        )
        rules.check_rate(mine, everybodys)
        for key, limit in buckets:
            if limit:
                self._rates.take(key, limit, now)

    def _allow(self, rules: Rules, recipe: Recipe, ledger: Ledger) -> None:
        """Raise `Refusal` for what is too much beside what was asked for before."""
        mine, everybodys = (
            ledger.waiting(ledger.within(PREFIX + name), mine=name == "waiting") if most else 0
            for name, most in (("waiting", rules.waiting), ("place_waiting", rules.place_waiting))
        )
        rules.check_waiting(mine, everybodys)
        if rules.daily:
            since = self.today() - DAY
            rules.check_budget(recipe, ledger.spent(since), lambda: ledger.costs(since))
