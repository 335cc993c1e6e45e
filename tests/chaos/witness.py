"""What people see: every message of the bot, from its first word to its last, and whose it is."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from bots.texts import words_of
from tests.fakes.discord import FakeDiscord, Message
from tests.fakes.telegram.people import text_of
from tests.fakes.telegram.server import TelegramServer

LARGEST: Final = 10**9  # number of a job
WORDS: Final = words_of("en")
FAILED: Final = WORDS.failed.partition("{")[0]


class State(Enum):
    """Name what a message says of a job."""

    WAITING = "waiting"
    PICTURES = "pictures"
    FAILED = "failed"
    CANCELLED = "cancelled"
    OTHER = "other"


END: Final = frozenset({State.PICTURES, State.FAILED, State.CANCELLED})


@dataclass(eq=False)
class Sighting:
    """Hold one message's history, told by the steady clock."""

    key: str  # as storage knows messages
    first: float
    answers: str | None = None  # the key of the message that it replies to
    job: int | None = None
    state: State = State.OTHER
    ended: float | None = None  # when it first told how its job ended
    picture: bytes | None = None
    text: str = ""
    stands: bool = True


@dataclass(eq=False)
class Witness:
    """Look at both chats whenever something changes there."""

    telegram: TelegramServer
    discord: FakeDiscord
    seen: dict[str, Sighting] = field(default_factory=dict)

    async def watch(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._watch_telegram(), name="chaos-watch-telegram")
            both.create_task(self._watch_discord(), name="chaos-watch-discord")

    async def _watch_telegram(self) -> None:
        while True:
            self.look_at_telegram()
            await self.telegram.changed()

    async def _watch_discord(self) -> None:
        async with self.discord._changed:
            while True:
                self.look_at_discord()
                await self.discord._changed.wait()

    def look(self) -> None:
        """Look at everything once more."""
        self.look_at_telegram()
        self.look_at_discord()

    def look_at_telegram(self) -> None:
        standing = set()
        for message in self.telegram.of_bot():
            chat = message["chat"]["id"]
            key = f"telegram:{chat}/{message['message_id']}"
            standing.add(key)
            sighting = self._sighting(key)
            if answered := message.get("reply_to_message"):
                sighting.answers = f"telegram:{chat}/{answered['message_id']}"
            self._note(sighting, *read_telegram(message), text_of(message))
            if sighting.state is State.PICTURES and sighting.picture is None:
                sighting.picture = self.telegram.files[_file_of(message)]
        for sighting in self.seen.values():
            if sighting.key.startswith("telegram:"):
                sighting.stands = sighting.key in standing

    def look_at_discord(self) -> None:
        for message in [*self.discord.messages.values()]:
            if message.author is not self.discord.bot or message.ephemeral:
                continue
            sighting = self._sighting(f"discord:{message.id}")
            sighting.stands = not message.deleted
            if message.reference:
                sighting.answers = f"discord:{message.reference.id}"
            self._note(sighting, *read_discord(message), message.content)
            if sighting.state is State.PICTURES and sighting.picture is None:
                sighting.picture = message.attachments[0].data

    def _sighting(self, key: str) -> Sighting:
        if key not in self.seen:
            self.seen[key] = Sighting(key, time.monotonic())
        return self.seen[key]

    def _note(self, sighting: Sighting, state: State, job: int | None, text: str) -> None:
        sighting.job = sighting.job or job
        sighting.state, sighting.text = state, text
        if state in END and sighting.ended is None:
            sighting.ended = time.monotonic()


def read_telegram(message: dict[str, Any]) -> tuple[State, int | None]:
    """Return what a message says, and of which job, as its buttons carry it."""
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    acts = dict(
        button["callback_data"].split(":", 1)
        for row in rows
        for button in row
        if "callback_data" in button
    )
    if "cancel" in acts:
        return State.WAITING, int(acts["cancel"])
    if "same" in acts:
        picture = "photo" in message or "document" in message
        return State.PICTURES if picture else State.FAILED, int(acts["same"].partition(".")[0])
    if text_of(message) == WORDS.cancelled:
        return State.CANCELLED, None
    return State.OTHER, None


def read_discord(message: Message) -> tuple[State, int | None]:
    """Return what a message says, and of which job, as its buttons or its nonce carry it."""
    acts = {}
    for item in message.buttons().values():
        if item.get("custom_id", "").startswith("marble:"):
            _, act, name = item["custom_id"].split(":")
            acts[act] = int(name.partition(".")[0])
    job = next(iter(acts.values()), _by_nonce(message))
    if "again" in acts:
        return State.PICTURES if message.attachments else State.FAILED, job
    if "drop" in acts or message.loading or message.content == WORDS.submitted:
        return State.WAITING, job
    if message.content.endswith(WORDS.cancelled):
        return State.CANCELLED, job
    if message.content.startswith(FAILED):
        return State.FAILED, job
    return State.OTHER, job


def _by_nonce(message: Message) -> int | None:
    """Return the job in a nonce; discord.py gives other messages a random one of 64 bits."""
    number = int((message.nonce or "0").partition("-")[0])
    return number if 0 < number < LARGEST else None


def _file_of(message: dict[str, Any]) -> str:
    shown = message["photo"][-1] if "photo" in message else message["document"]
    return str(shown["file_id"])
