"""Albums, which Telegram sends as one message a picture: one answer is enough for all."""

from __future__ import annotations

from typing import Final

from bots.telegram.messages import ParsedMessage

REMEMBERED: Final = 1_000  # albums


class Albums:
    """The albums that have a caption or were answered; the oldest are forgotten."""

    def __init__(self) -> None:
        self._settled: dict[str, None] = {}  # by their ids, the oldest first

    def note(self, message: ParsedMessage) -> None:
        """Note a message as it comes in: the caption of one picture is that of its album."""
        if not message.wordless:
            self._settle(message.album)

    def needs_answer(self, message: ParsedMessage) -> bool:
        """Return whether a message's album is still to be answered; it is not from then on."""
        return self._settle(message.album)

    def _settle(self, album: str | None) -> bool:
        """Note an album and return whether it is new."""
        if album is None or album in self._settled:
            return False
        self._settled[album] = None
        if len(self._settled) > REMEMBERED:
            del self._settled[next(iter(self._settled))]
        return True
