"""Telegram's errors as the house knows them; no text here carries the token."""

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

from bots.delivery import AdapterStopped, TryLater, Undeliverable, WayClosed
from bots.telegram.pace import seconds_of
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
CLOSED: Final = (
    "message to edit not found",
    "message can't be edited",
    "message_id_invalid",
    "message to be replied not found",
    "message thread not found",
    "topic_closed",
    "not enough rights",
    "file is too big",
    "request entity too large",
)
GONE: Final = ("chat not found", "user is deactivated", "peer_id_invalid", "group chat was deleted")
# Errors of the connection that come before a request is sent.
UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Contested(MarbleError):
    """Say that another program takes this bot's updates."""

    def __init__(self) -> None:
        super().__init__(
            "another program asks Telegram for this bot's updates; stop it, or give Marble a bot "
            "of its own"
        )


def says(error: TelegramError, sentences: tuple[str, ...]) -> bool:
    """Say whether an error is one of a kind."""
    told = error.message.lower()
    return any(sentence in told for sentence in sentences)


def never_sent(error: TelegramError) -> bool:
    """Say whether a request cannot have reached Telegram."""
    return isinstance(error.__cause__, UNSENT)


def explain(error: TelegramError) -> Exception:
    """Return the error as delivery and supervision understand it."""
    match error:
        case RetryAfter():
            return TryLater(seconds_of(error))
        case InvalidToken():
            return AdapterStopped(REFUSED)
        case Conflict():
            return Contested()
        case ChatMigrated():
            return WayClosed(f"the group is now {error.new_chat_id}")
        case Forbidden():
            return Undeliverable(error.message)
        case BadRequest() if says(error, GONE):
            return Undeliverable(error.message)
        case BadRequest():
            return WayClosed(error.message)
        case TimedOut():
            return TimeoutError("Telegram did not answer in time")
        case NetworkError():
            return ConnectionError(error.message)
    return MarbleError(error.message)
