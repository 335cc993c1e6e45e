"""Groups that became supergroups: their stored data moves to the new id.

Telegram says so twice, by a message in the old group and one in the new, and whenever something is
sent to the old one. Whichever comes first moves what is stored; the others find it done.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Final

from bots.admission.gate import Gate
from bots.telegram.address import number_of, place_key
from storage import DatabaseFault

RETRY: Final = 1.0  # seconds between tries to write to a database that is locked or out of reach
# Calls that mean the same in the new group; others name messages, which stay in the old one.
REPEATED: Final = ("send", "getChatMember")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Supergroups:
    """Moves groups' stored data, and maps old ids to new ones."""

    gate: Gate
    _known: dict[int, int] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def recall(self) -> None:
        """Read which groups were moved by earlier processes; raises `DatabaseFault`."""
        for old, new in (await self.gate.storage.people.moved_places()).items():
            if "/" not in old:  # else a topic
                self._known[number_of(old)] = number_of(new)

    def now(self, chat: int) -> int:
        """Return the id that a chat has now, however often it was moved."""
        passed = {chat}
        while (later := self._known.get(chat, chat)) not in passed:
            passed.add(chat := later)
        return chat

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
                log.warning("%s could not be moved yet: %s", place_key(old), fault)
            await asyncio.sleep(RETRY)

    def redirected(self, endpoint: str, data: dict[str, Any]) -> dict[str, Any]:
        """Return a call's data with the id that its chat has now, where that can be used."""
        chat = data.get("chat_id")
        if not (isinstance(chat, int) and endpoint.startswith(REPEATED)):
            return data
        now = self.now(chat)
        return data if now == chat else _sent_to(now, data)

    async def after_migration(
        self, endpoint: str, data: dict[str, Any], new: int
    ) -> dict[str, Any] | None:
        """Move the group that a call was refused for; return the data to repeat it with, if any."""
        if not isinstance(old := data.get("chat_id"), int):
            return None
        try:
            await self._move(old, new)
        except DatabaseFault as fault:  # the next call is refused as well
            log.warning("%s could not be moved yet: %s", place_key(old), fault)
        return _sent_to(new, data) if endpoint.startswith(REPEATED) else None

    async def _move(self, old: int, new: int) -> None:
        async with self._lock:
            places = place_key(old), place_key(new)
            reply = {"chat": new, "to": None}
            await self.gate.storage.people.move_place(*places, reply=reply)
            self.gate.move(*places)
            if self.now(old) != new:
                log.info("%s became a supergroup and is now %s", *places)
            self._known[old] = new


def _sent_to(chat: int, data: dict[str, Any]) -> dict[str, Any]:
    """Return a call's data for another chat, where the message it replies to does not exist."""
    kept = {name: value for name, value in data.items() if name != "reply_parameters"}
    return {**kept, "chat_id": chat}
