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

    BANNED = 0
    MEMBER = 1
    MODERATOR = 2
    OWNER = 3


class NotAllowed(UserError):
    """Says which role something needs."""

    def __init__(self, least: Role) -> None:
        super().__init__(
            Sentence("owners_only") if least is Role.OWNER else Sentence("moderators_only")
        )


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
        """Raise `NotAllowed` for somebody of a lesser role."""
        if self.of(person) < least:
            raise NotAllowed(least)
