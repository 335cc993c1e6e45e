"""Who and where, in Telegram's numbers and in Marble's ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from telegram import Chat, Message, User

from bots.texts import Words, words_of

PLATFORM: Final = "telegram"
# Telegram's own accounts, which stand for a group's anonymous administrators and for channels.
ANONYMOUS: Final = frozenset({1087968824, 136817688, 777000})


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an answer goes: a chat, its topic, the message it replies to, and the language."""

    chat: int
    thread: int | None = None
    to: int | None = None
    language: str | None = None

    @property
    def private(self) -> bool:
        """Return whether it is a private chat."""
        return self.chat > 0

    @property
    def words(self) -> Words:
        """Return the messages in the reader's language."""
        return words_of(self.language)

    @property
    def place(self) -> str:
        """Return the place that a job there belongs to."""
        return place_key(self.chat, self.thread)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as a job keeps them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, reply: Mapping[str, Any]) -> Address:
        """Read what `to_dict` wrote."""
        return cls(**reply)

    @classmethod
    def of(cls, message: Message, user: User | None = None) -> Address:
        """Return the address of an answer to a message; `user`: who reads it, if not its author.

        Buttons are answered below the message that carries them.
        """
        reader = user or message.from_user
        return cls(
            chat=message.chat.id,
            thread=message.message_thread_id if message.is_topic_message else None,
            to=message.message_id,
            language=reader.language_code if reader else None,
        )


def place_key(chat: int, thread: int | None = None) -> str:
    """Return how storage names a chat, or a topic in it."""
    return f"{PLATFORM}:{chat}" if thread is None else f"{PLATFORM}:{chat}/{thread}"


def chat_of(place: str) -> int | None:
    """Return the chat of a place, or of a topic in it; None for a place of another platform."""
    platform, _, rest = place.partition(":")
    return int(rest.partition("/")[0]) if platform == PLATFORM else None


def person_key(user: User | None, chat: Chat | None = None) -> str:
    """Return how storage names a person; an anonymous administrator writes as their chat."""
    if chat is not None:
        return f"{PLATFORM}:{chat.id}"
    return f"{PLATFORM}:{user.id}" if user else f"{PLATFORM}:0"


def message_key(chat: int, message: int) -> str:
    """Return how storage names a message."""
    return f"{PLATFORM}:{chat}/{message}"


def read_message_key(key: str) -> tuple[int, int]:
    """Return the chat and the message of a key."""
    chat, _, message = key.removeprefix(f"{PLATFORM}:").partition("/")
    return int(chat), int(message)


def is_person(key: str) -> bool:
    """Return whether a key is one person's, and not one in whose name several write or react."""
    return user_id(key) > 0 and user_id(key) not in ANONYMOUS


def user_id(person: str) -> int:
    """Return Telegram's number of a person."""
    return int(person.removeprefix(f"{PLATFORM}:"))
