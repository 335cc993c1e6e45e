"""Who and where, in Telegram's numbers and in Marble's ids; and how to send something there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from telegram import Chat, Message, ReplyParameters, User
from telegram.error import BadRequest

from bots.telegram.errors import NO_SPOT, says
from bots.texts import Words, words_of

PLATFORM: Final = "telegram"
TEXT: Final = 4096  # UTF-16 units of a message
CAPTION: Final = 1024  # … of the words below a picture
# Telegram's own accounts, which stand for a group's anonymous administrators and for channels.
ANONYMOUS: Final = frozenset({1087968824, 136817688, 777000})
# The place of what is asked for by inline or guest queries: Telegram does not say in which chat.
INLINE: Final = f"{PLATFORM}:inline"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an answer goes: a chat, its topic, the message it replies to, and the language.

    inline: the id of a message in some other chat that shows it, too, asked for by an inline or
    guest query; empty where none can be changed. A job keeps the values, as plain JSON.
    """

    chat: int
    thread: int | None = None
    to: int | None = None
    language: str | None = None
    inline: str | None = None

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
        return INLINE if self.inline is not None else place_key(self.chat, self.thread)

    @property
    def spot(self) -> dict[str, Any]:
        """Return the arguments that send a message into its topic, and as a reply."""
        reply = self.to and ReplyParameters(self.to, allow_sending_without_reply=True)
        return {"message_thread_id": self.thread, "reply_parameters": reply}

    @property
    def chat_itself(self) -> Address:
        """Return the address outside any topic, which replies to nothing."""
        return replace(self, thread=None, to=None)

    @classmethod
    def of(cls, message: Message, user: User | None = None) -> Address:
        """Return the address of an answer to a message; `user`: who reads it, if not its author.

        Buttons are answered below the message that carries them.
        """
        reader = user or message.from_user
        return cls(
            chat=message.chat.id,
            thread=message.message_thread_id if message.is_topic_message else None,
            to=message.message_id or None,  # 0: only its sender and Marble see it
            language=reader.language_code if reader else None,
        )


async def at_or_near(attempt: Callable[[Address], Awaitable[T]], address: Address) -> T:
    """Send at an address, or in the chat itself where its topic or what is answered is gone.

    attempt: sends at the address that it is given; other rules may be in force in the chat itself.
    """
    try:
        return await attempt(address)
    except BadRequest as error:
        if not says(error, NO_SPOT) or address == address.chat_itself:
            raise
    return await attempt(address.chat_itself)


async def post(
    send: Callable[..., Awaitable[Message]], address: Address, *content: Any, **more: Any
) -> Message:
    """Send by a method of the bot what may be seen in the whole chat: `at_or_near`."""
    return await at_or_near(lambda near: send(near.chat, *content, **near.spot, **more), address)


def place_key(chat: int, thread: int | None = None) -> str:
    """Return how storage names a chat, or a topic in it."""
    return f"{PLATFORM}:{chat}" if thread is None else f"{PLATFORM}:{chat}/{thread}"


def chat_of(place: str) -> int | None:
    """Return the chat of a place, or of a topic in it; None for `INLINE` and other platforms'."""
    platform, _, rest = place.partition(":")
    return int(rest.partition("/")[0]) if platform == PLATFORM and place != INLINE else None


def person_key(user: User | None, chat: Chat | None = None) -> str:
    """Return how storage names a person; an anonymous administrator writes as their chat."""
    sender = chat or user
    return place_key(sender.id if sender else 0)


def message_key(chat: int, message: int) -> str:
    """Return how storage names a message."""
    return f"{PLATFORM}:{chat}/{message}"


def key_of(message: Message) -> str:
    """Return how storage names a message that was sent."""
    return message_key(message.chat.id, message.message_id)


def inline_key(message: str) -> str:
    """Return how storage names a message that was sent by an inline or guest query."""
    return f"{INLINE}/{message}"


def read_message_key(key: str) -> tuple[int, int]:
    """Return the chat and the message of a key."""
    chat, _, message = key.removeprefix(f"{PLATFORM}:").partition("/")
    return int(chat), int(message)


def is_person(key: str) -> bool:
    """Return whether a key is one person's, and not one in whose name several write or react."""
    return number_of(key) > 0 and number_of(key) not in ANONYMOUS


def number_of(key: str) -> int:
    """Return Telegram's number of a person or a chat."""
    return int(key.removeprefix(f"{PLATFORM}:"))
