"""Albums, which Telegram sends as one message a picture: one answer is enough for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from telegram import Message

REMEMBERED: Final = 1_000  # albums


class Albums:
    """Know of each album whether it has words, and whether it was answered."""

    def __init__(self) -> None:
        self._settled: dict[str, None] = {}  # by their ids, the oldest first

    def note(self, body: Mapping[str, Any]) -> None:
        """Look at an update as it comes in: words of one picture speak for all of its album."""
        message = body.get("message") or {}
        if message.get("media_group_id") and message.get("caption"):
            self._settle(message["media_group_id"])

    def needs_answer(self, message: Message) -> bool:
        """Say whether an album is still to be answered; it is not from then on."""
        album = message.media_group_id
        return album is not None and self._settle(album)

    def _settle(self, album: str) -> bool:
        """Note an album and return whether that is news."""
        news = album not in self._settled
        self._settled[album] = None
        if len(self._settled) > REMEMBERED:
            del self._settled[next(iter(self._settled))]
        return news
