"""Groups that became supergroups: Telegram gives them a new id, and all that is kept goes along.

Telegram says so twice, by a message in the old group and one in the new, and whenever something is
sent to the old one. Whichever comes first moves what is kept; the others find it done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from telegram.error import ChatMigrated

from bots.admission.gate import Gate
from bots.telegram.addresses import NAME, place_of
from bots.telegram.pace import Pace
from storage import DatabaseFault
from storage.people.place_moves import Moving

AGAIN: Final = 1.0  # seconds between tries to write to a database that is locked or out of reach
PATIENCE: Final = 5.0  # seconds that what people ask for waits for a move that was announced
# Calls that mean the same in the new group; others name messages, which stay in the old one.
REPEATED: Final = ("send", "getChatMember")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Moves:
    """Move groups, and know which were moved."""

    moving: Moving
    gate: Gate
    _known: dict[int, int] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _announced: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def recall(self) -> None:
        """Read which groups were moved before; raises `DatabaseFault`."""
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
        """Return the name that whoever writes has now, who may be a group itself."""
        groups = {place_of(old): place_of(self.now(old)) for old in self._known}
        return groups.get(person, person)

    def announce(self) -> None:
        """Let what people ask for wait for a group that is about to be moved, until `conclude`."""
        self._announced += 1

    def conclude(self) -> None:
        """Say that a group that was announced is moved, or cannot be."""
        self._announced -= 1
        self._changed.set()

    async def settled(self) -> None:
        """Wait until what was announced is moved; no longer than the database may be locked."""
        try:
            async with asyncio.timeout(PATIENCE):
                while self._announced:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.warning("a group that became a supergroup is still to be moved")

    async def move(self, old: int, new: int) -> None:
        """Move all that is kept of a group, and try until the database takes it.

        Raises a `DatabaseFault` that does not pass.
        """
        while True:
            try:
                return await self._move(old, new)
            except DatabaseFault as fault:
                if not fault.passing:
                    raise
                log.warning("%s is still to be moved: %s", place_of(old), fault)
            await asyncio.sleep(AGAIN)

    async def met(self, old: int, new: int) -> None:
        """Move a group that a call to Telegram met, unless the database does not take it now."""
        try:
            await self._move(old, new)
        except DatabaseFault as fault:  # the next call meets it again
            log.warning("%s is still to be moved: %s", place_of(old), fault)

    async def _move(self, old: int, new: int) -> None:
        async with self._turn:
            places = place_of(old), place_of(new)
            await self.moving.move(*places, reply={"chat": new, "to": None})
            self.gate.move(*places)
            if self.now(old) != new:
                log.info("%s became a supergroup and is %s from now on", *places)
            self._known[old] = new


class Following(Pace):
    """Keep within Telegram's limits, and send to a group's new id what is meant for its old one."""

    def __init__(self, moves: Moves) -> None:
        super().__init__()
        self._moves = moves

    async def process_request(
        self,
        callback: Callable[..., Coroutine[Any, Any, Any]],
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: str | None,
    ) -> Any:
        """Make a request as `Pace` does; raises `ChatMigrated` for messages of the old group."""

        async def request(data: dict[str, Any]) -> Any:
            made = super(Following, self).process_request(
                callback, (endpoint, data), kwargs, endpoint, data, rate_limit_args
            )
            return await made

        data = self._readdressed(endpoint, data)
        try:
            return await request(data)
        except ChatMigrated as error:
            if not isinstance(old := data.get("chat_id"), int):
                raise
            await self._moves.met(old, error.new_chat_id)
            if not endpoint.startswith(REPEATED):
                raise
            return await request(_sent_to(error.new_chat_id, data))

    def _readdressed(self, endpoint: str, data: dict[str, Any]) -> dict[str, Any]:
        chat = data.get("chat_id")
        if not (isinstance(chat, int) and endpoint.startswith(REPEATED)):
            return data
        now = self._moves.now(chat)
        return data if now == chat else _sent_to(now, data)


def _sent_to(chat: int, data: dict[str, Any]) -> dict[str, Any]:
    """Return what is sent to another chat, where what it answers has no number."""
    return {
        **{name: value for name, value in data.items() if name != "reply_parameters"},
        "chat_id": chat,
    }


def _chat(place: str) -> int:
    return int(place.removeprefix(f"{NAME}:"))
