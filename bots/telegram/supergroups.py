"""Groups that became supergroups: what is stored of a group moves to its new id.

Telegram says so twice, by a message in the old group and one in the new, and whenever something is
sent to the old one. Whichever comes first moves what is stored; the others find it done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from telegram.error import ChatMigrated

from bots.admission.gate import Gate
from bots.telegram.address import PLATFORM, place_of
from bots.telegram.rate_limits import RateLimiter
from storage import DatabaseFault
from storage.people.place_moves import Moving

RETRY: Final = 1.0  # seconds between tries to write to a database that is locked or out of reach
# Calls that mean the same in the new group; others name messages, which stay in the old one.
REPEATED: Final = ("send", "getChatMember")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Supergroups:
    """Moves what is stored of groups, and maps old ids to new ones."""

    moving: Moving
    gate: Gate
    _known: dict[int, int] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def recall(self) -> None:
        """Read which groups were moved by earlier processes; raises `DatabaseFault`."""
        for old, new in (await self.moving.moved()).items():
            if "/" not in old:  # else a topic
                self._known[_chat(old)] = _chat(new)

    def now(self, chat: int) -> int:
        """Return the id that a chat has now, however often it was moved."""
        passed = {chat}
        while (later := self._known.get(chat, chat)) not in passed:
            passed.add(chat := later)
        return chat

    def now_called(self, person: str) -> str:
        """Return the id that a sender has now, who may be a group itself."""
        groups = {place_of(old): place_of(self.now(old)) for old in self._known}
        return groups.get(person, person)

    async def migrate(self, old: int, new: int) -> None:
        """Move all that is stored of a group, trying until the database takes it.

        Raises a `DatabaseFault` that does not pass.
        """
        while True:
            try:
                return await self._move(old, new)
            except DatabaseFault as fault:
                if not fault.passing:
                    raise
                log.warning("%s is still to be moved: %s", place_of(old), fault)
            await asyncio.sleep(RETRY)

    async def migrate_once(self, old: int, new: int) -> None:
        """Move a group as `migrate`, unless the database does not take it now."""
        try:
            await self._move(old, new)
        except DatabaseFault as fault:  # the next call meets it again
            log.warning("%s is still to be moved: %s", place_of(old), fault)

    async def _move(self, old: int, new: int) -> None:
        async with self._lock:
            places = place_of(old), place_of(new)
            await self.moving.move(*places, reply={"chat": new, "to": None})
            self.gate.move(*places)
            if self.now(old) != new:
                log.info("%s became a supergroup and is %s from now on", *places)
            self._known[old] = new


class Redirecting(RateLimiter):
    """A rate limiter that also sends to a group's new id what is addressed to its old one."""

    def __init__(self, supergroups: Supergroups) -> None:
        super().__init__()
        self._supergroups = supergroups

    async def process_request(
        self,
        callback: Callable[..., Coroutine[Any, Any, Any]],
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: str | None,
    ) -> Any:
        """Make a request; raises `ChatMigrated` for a message of the old group."""

        async def request(data: dict[str, Any]) -> Any:
            made = super(Redirecting, self).process_request(
                callback, (endpoint, data), kwargs, endpoint, data, rate_limit_args
            )
            return await made

        data = self._redirected(endpoint, data)
        try:
            return await request(data)
        except ChatMigrated as error:
            if not isinstance(old := data.get("chat_id"), int):
                raise
            await self._supergroups.migrate_once(old, error.new_chat_id)
            if not endpoint.startswith(REPEATED):
                raise
            return await request(_sent_to(error.new_chat_id, data))

    def _redirected(self, endpoint: str, data: dict[str, Any]) -> dict[str, Any]:
        chat = data.get("chat_id")
        if not (isinstance(chat, int) and endpoint.startswith(REPEATED)):
            return data
        now = self._supergroups.now(chat)
        return data if now == chat else _sent_to(now, data)


def _sent_to(chat: int, data: dict[str, Any]) -> dict[str, Any]:
    """Return what is sent to another chat, where what it answers has no number."""
    return {
        **{name: value for name, value in data.items() if name != "reply_parameters"},
        "chat_id": chat,
    }


def _chat(place: str) -> int:
    return int(place.removeprefix(f"{PLATFORM}:"))
