"""The gate before every job, whatever platform it comes from: who may ask for what, where, when."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from bots.hooks import Hook, ask
from bots.policy import Role, Roles
from bots.rates import Rates
from bots.rules import DAY, PREFIX, Rules, ban_refusal, read_rule, with_stored
from engine.recipe import Recipe
from engine.work import pixel_steps
from storage import Storage


class Asking(Protocol):
    """Say who asks, and where."""

    @property
    def person(self) -> str: ...

    @property
    def place(self) -> str: ...


async def nobody_minds(recipe: Recipe, asker: Asking) -> None:
    """Let everything pass."""


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

    async def __call__(self, recipe: Recipe, asker: Asking) -> None:
        """Raise `Refusal`, or count what passes."""
        if self.roles.of(asker.person) >= Role.MODERATOR:
            return
        if ban := await self.storage.moderation.ban_of(asker.person, asker.place):
            raise ban_refusal(ban.reason, ban.until)
        rules = await self.rules(asker.place)
        rules.check(recipe)
        if rules.daily:
            rules.check_budget(recipe, await self._spent(asker.person))
        if self.hook:
            await ask(self.hook, recipe, asker.person, asker.place)
        self._count(rules, asker)

    async def rules(self, place: str) -> Rules:
        """Return what holds in a place (`*`: everywhere)."""
        return with_stored(self.defaults, await self.storage.people.place_settings(place))

    async def change(self, place: str, changes: Mapping[str, str], by: str) -> Mapping[str, Any]:
        """Change a place's own rules (an empty text removes one), and return all that it keeps.

        Raises `NotAllowed` or `OptionError`. The moderators' log records it.
        """
        self.roles.require(Role.OWNER, by, "change the rules")
        read = {name: read_rule(name, text) for name, text in changes.items()}
        stored = {PREFIX + name: value for name, value in read.items()}
        kept = await self.storage.people.change_place_settings(place, stored)
        await self.storage.moderation.record(by, "rules", place=place, detail=read)
        return {name.removeprefix(PREFIX): v for name, v in kept.items() if name.startswith(PREFIX)}

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

    async def _spent(self, person: str) -> list[tuple[datetime, float]]:
        jobs = await self.storage.history.asked_since(person, self.today() - DAY)
        return [(at, pixel_steps(recipe)) for at, recipe in jobs]
