"""What pictures show in words, by the owner's image-to-text model in a process of its own."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from engine.errors import UserError
from engine.executors import wire
from engine.executors.helper import Helper, HelperBusy, HelperFailed
from engine.pictures.images import flatten, read_image, to_png
from engine.sentences import Sentence

DESCRIBE_MODEL: Final = "MARBLE_DESCRIBE_MODEL"
PROGRAM: Final = "engine.executors.describing"
SIDE: Final = 1024  # pixels; models see fewer
MOST: Final = 10  # pictures that may wait
# Seconds for its turn: with the helper's for an answer less than the 15 minutes for which Discord
# takes one.
WAIT: Final = 600.0

log = logging.getLogger(__name__)


class Descriptions:
    """Describes pictures, one at a time; model: a folder, a name of the hub, or None."""

    def __init__(self, model: str | None) -> None:
        self._helper = None if model is None else Helper(PROGRAM, model)
        self._waiting = set[str]()  # who asked for those that wait or are described

    async def suggest(self, data: bytes, person: str) -> list[str]:
        """Return what a picture file shows in words, the likeliest first.

        Raises `UserError`: `ImageError` for the file, and where there is no model, it does not
        work, many pictures wait or wait for too long, or another one of that person's does.
        """
        helper = self._ready()
        if person in self._waiting:
            raise UserError(Sentence("describe_one"))
        if len(self._waiting) >= MOST:
            raise UserError(Sentence("describe_busy"))
        self._waiting.add(person)
        try:
            png = await asyncio.to_thread(_to_small_png, data)
            words = await _ask(helper, png)
        finally:
            self._waiting.discard(person)
        if not words:
            raise UserError(Sentence("describe_nothing"))
        return words

    def check(self) -> None:
        """Raise `UserError` where the owner has set no model."""
        self._ready()

    async def close(self) -> None:
        """End the process."""
        if self._helper:
            await self._helper.close()

    def _ready(self) -> Helper:
        if self._helper is None:
            raise UserError(Sentence("describe_unset", setting=DESCRIBE_MODEL))
        return self._helper


async def _ask(helper: Helper, png: bytes) -> list[str]:
    try:
        answer = await helper.ask(wire.Frame({}, png), wait=WAIT)
    except HelperBusy:
        raise UserError(Sentence("describe_busy")) from None
    except HelperFailed as error:
        log.error("A picture could not be described: %s", error)
        raise UserError(Sentence("describe_fails")) from error
    words: list[str] = answer.header["words"]
    return words


def _to_small_png(data: bytes) -> bytes:
    image = flatten(read_image(data))
    image.thumbnail((SIDE, SIDE))
    return to_png(image)
