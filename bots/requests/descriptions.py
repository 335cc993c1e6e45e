"""What pictures show in words, by the owner's image-to-text model in a process of its own.

Where there is none, the bundled towers choose among all captions of the bundled model's world.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.executors import wire
from engine.executors.embedding import Embedding
from engine.executors.helper import Helper, HelperBusy, HelperFailed
from engine.pictures.images import flatten, read_image, to_png
from engine.sentences import Sentence
from engine.starter.captions import plain_captions

DESCRIBE_MODEL: Final = "MARBLE_DESCRIBE_MODEL"
PROGRAM: Final = "engine.executors.describing"
SIDE: Final = 1024  # pixels; models see fewer
MOST: Final = 10  # pictures that may wait
# Seconds for its turn: with the helper's for an answer less than the 15 minutes for which Discord
# takes one.
WAIT: Final = 600.0
NEAREST: Final = 4  # captions of the bundled world

Matrix = NDArray[np.float32]  # [captions, width]

log = logging.getLogger(__name__)


class Descriptions:
    """Describes pictures, one at a time.

    model: a folder, a name of the hub, or None; towers: the bundled ones, where there is no model.
    """

    def __init__(self, model: str | None, towers: Embedding | None = None) -> None:
        self._helper = None if model is None else Helper(PROGRAM, model)
        self._towers = towers
        self._captions: dict[str, tuple[list[str], Matrix]] = {}
        self._waiting = set[str]()  # who asked for those that wait or are described

    async def suggest(self, data: bytes, person: str, language: str = "en") -> list[str]:
        """Return what a picture file shows in words, the likeliest first.

        language: of the bundled world's captions; a model has its own.

        Raises `UserError`: `ImageError` for the file, and where there is no model, it does not
        work, many pictures wait or wait for too long, or another one of that person's does.
        """
        self.check()
        if person in self._waiting:
            raise UserError(Sentence("describe_one"))
        if len(self._waiting) >= MOST:
            raise UserError(Sentence("describe_busy"))
        self._waiting.add(person)
        try:
            png = await asyncio.to_thread(_to_small_png, data)
            words = await self._words(png, language)
        finally:
            self._waiting.discard(person)
        if not words:
            raise UserError(Sentence("describe_nothing"))
        return words

    def check(self) -> None:
        """Raise `UserError` where nothing here describes pictures."""
        if self._helper is None and self._towers is None:
            raise UserError(Sentence("describe_unset", setting=DESCRIBE_MODEL))

    async def close(self) -> None:
        """End the process."""
        if self._helper:
            await self._helper.close()

    async def _words(self, png: bytes, language: str) -> list[str]:
        if self._helper:
            return await _ask(self._helper, png)
        assert self._towers
        if language not in self._captions:
            captions = plain_captions(language)
            self._captions[language] = captions, np.stack(await self._towers.texts(captions))
        captions, vectors = self._captions[language]
        [seen] = await self._towers.pictures([png])
        return [captions[number] for number in np.argsort(-(vectors @ seen))[:NEAREST]]


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
