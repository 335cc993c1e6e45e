"""Where a reply goes: plain ids, stored with the job, since interactions end with their process."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

PLATFORM: Final = "discord"
LIMIT: Final = 10 * 2**20  # bytes of an upload where the server has no boosts
MARGIN: Final = 10.0  # seconds before its end at which a token counts as expired


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Who is answered, in which channel and language, and with which token until when."""

    channel: int
    person: int
    language: str = "en"
    limit: int = LIMIT
    application: int = 0
    token: str | None = field(default=None, repr=False)
    until: float = 0.0  # seconds since 1970
    answers: int | None = None  # the message that a new one replies to
    original: bool = True  # the interaction's first answer may be taken for it

    @property
    def expired(self) -> bool:
        """Return whether the interaction's token has expired, or there is none."""
        return self.token is None or time.time() > self.until - MARGIN

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as a job stores them."""
        found = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in found if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, by this version or another."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def person_key(user: int) -> str:
    """Return a person's key in storage."""
    return f"{PLATFORM}:{user}"


def place_key(guild: int | None, channel: int) -> str:
    """Return a channel's key in storage: within its server, or alone."""
    return f"{PLATFORM}:{guild}/{channel}" if guild else f"{PLATFORM}:@me/{channel}"


def read_place(place: str) -> tuple[int, int] | None:
    """Return the server and the channel of a place; None for one that is in no server."""
    platform, _, rest = place.partition(":")
    guild, _, channel = rest.partition("/")
    if platform != PLATFORM or not (guild.isdigit() and channel.isdigit()):
        return None
    return int(guild), int(channel)


def guild_key(guild: int) -> str:
    """Return a server's key in storage."""
    return f"{PLATFORM}:{guild}"


def message_key(message: int) -> str:
    """Return a message's key in storage."""
    return f"{PLATFORM}:{message}"


def message_id(key: str | None) -> int | None:
    """Return the message of a key."""
    return int(key.partition(":")[2]) if key else None
