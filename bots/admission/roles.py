"""Who may do what: plain synchronous code."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum

from engine.errors import UserError
from engine.sentences import Sentence
from storage.records import platform

TERMINAL = "terminal"  # who sits at a terminal of this machine owns what runs on it


class Role(IntEnum):
    """How much somebody may do; more is higher."""

    MEMBER = 1
    MODERATOR = 2
    OWNER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The people whom the settings give a role everywhere."""

    owners: Collection[str] = ()
    moderators: Collection[str] = ()

    def of(self, person: str) -> Role:
        """Return a person's role everywhere."""
        if person in self.owners or platform(person) == TERMINAL:
            return Role.OWNER
        return Role.MODERATOR if person in self.moderators else Role.MEMBER

    def require(self, least: Role, person: str) -> None:
        """Raise `UserError` for somebody of a lesser role."""
        if self.of(person) < least:
            owners = least is Role.OWNER
            raise UserError(Sentence("owners_only") if owners else Sentence("moderators_only"))
