"""What Telegram's errors mean for delivery and supervision; no text here has the token in it."""

from __future__ import annotations

from typing import Final

import httpx
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)

from bots.worker.delivery import AdapterStopped, TryLater, Undeliverable, WayClosed
from engine.errors import MarbleError

REFUSED: Final = (
    "Telegram does not know its token; put the one that @BotFather shows into MARBLE_TELEGRAM_TOKEN"
)
# What Telegram says, in lower case, and what it means for a reply.
SAME: Final = ("message is not modified",)
NO_PHOTO: Final = (
    "photo_invalid_dimensions",
    "photo_save_file_invalid",
    "image_process_failed",
    "wrong type of the web page content",
    "too big for a photo",
    "not enough rights to send photos",
)
MEDIA_NOW: Final = ("there is no text in the message to edit",)
INLINE_GONE: Final = ("message_id_invalid", "message to edit not found", "inline message id")
# Where a message would go in a chat is no more: its topic, or what it answers.
NO_SPOT: Final = (
    "message thread not found",
    "topic_closed",
    "topic_deleted",
    "topic_id_invalid",
    "message to be replied not found",
    "message to reply not found",
    "reply message not found",
    "reply_message_id_invalid",
)
TOO_LARGE: Final = ("request entity too large",)
GONE: Final = (
    "chat not found",
    "user is deactivated",
    "peer_id_invalid",
    "group chat was deleted",
    "bot was blocked",
    "bot was kicked",
    "bot is not a member",
    "bot can't initiate conversation",
    "bot can't send messages to bots",
)
# Errors of the connection that come before a request is sent.
UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class ForeignAnswer(NetworkError):
    """An answer that is not Telegram's, of a proxy or a web page."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"what answered {status} is not Telegram")


class Contested(MarbleError):
    """Another program polls this bot's updates."""

    def __init__(self) -> None:
        super().__init__(
            "another program asks Telegram for this bot's updates; stop it, or give Marble a bot "
            "of its own"
        )


def says(error: TelegramError, sentences: tuple[str, ...]) -> bool:
    """Return whether an error's message contains one of some sentences."""
    told = error.message.lower()
    return any(sentence in told for sentence in sentences)


def never_sent(error: TelegramError) -> bool:
    """Return whether a request cannot have reached Telegram.

    A gateway that fails (5xx) may have passed it on; one that refuses it (4xx) did not.
    """
    refused = isinstance(error, ForeignAnswer) and 400 <= error.status < 500
    return refused or isinstance(error.__cause__, UNSENT)


def translate(error: TelegramError) -> Exception:
    """Return the error that delivery and supervision handle."""
    match error:
        case RetryAfter():
            return TryLater(seconds_of(error))
        case InvalidToken():
            return AdapterStopped(REFUSED)
        case Conflict():
            return Contested()
        case ChatMigrated():
            return WayClosed(f"the group is now {error.new_chat_id}")
        case Forbidden() | BadRequest() if says(error, GONE):
            return Undeliverable(error.message)
        case Forbidden() | BadRequest():
            return WayClosed(error.message)
        case NetworkError() if says(error, TOO_LARGE):
            return WayClosed(error.message)
        case TimedOut():
            return TimeoutError("Telegram did not answer in time")
        case NetworkError():
            return ConnectionError(error.message)
    return MarbleError(error.message)


def seconds_of(error: RetryAfter) -> float:
    """Return how long Telegram asks to wait."""
    asked = error.retry_after
    return float(asked) if isinstance(asked, int) else asked.total_seconds()
