"""Vectors of pictures and texts, by CLIP's towers in a process of their own beside the tick."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageError, UserError
from engine.executors import wire
from engine.executors.helper import Helper, HelperBusy, HelperFailed
from engine.pictures.image_header import DAMAGED
from engine.sentences import Sentence

Vector = NDArray[np.float32]  # [width], of length 1

CLIP_MODEL: Final = "MARBLE_CLIP_MODEL"
PROGRAM: Final = "engine.executors.embedder"
WAIT: Final = 120.0  # seconds for its turn
MOST: Final = 4  # pictures in one question: a text that comes meanwhile waits for no more
BYTES: Final = 2**26  # of them, where there are several

log = logging.getLogger(__name__)


class TowersFailed(UserError):
    """The model or its process failed, at what it was asked or at anything."""

    def __init__(self) -> None:
        super().__init__(Sentence("clip_fails"))


class DamagedPicture(ImageError):
    """One of several pictures cannot be read: `number`, from 0."""

    def __init__(self, number: int) -> None:
        super().__init__(DAMAGED)
        self.number = number


class Embedding:
    """Turns pictures and texts into vectors, whose scalar product says how well they match.

    model: a folder, a name of the hub, `starter` (the bundled one), or None. Its process is started
    for the first question, again after it has died, and ends when nobody has asked for a while.
    """

    def __init__(self, model: str | None) -> None:
        self._helper = None if model is None else Helper(PROGRAM, model, threads=1)
        self._known: tuple[str, int] | None = None
        self._logged = ""  # why it failed last

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def name(self) -> str:
        """Return what is stored beside vectors, since only those of one model can be compared.

        Known after `start` or the first vector; it changes when the model's files do.
        """
        assert self._known, "not started"
        return self._known[0]

    @property
    def width(self) -> int:
        """Return how many numbers a vector has; known when `name` is."""
        assert self._known, "not started"
        return self._known[1]

    async def start(self) -> None:
        """Load the model, so that `name` and `width` are known; raises as `text` does."""
        await self.texts([])

    async def pictures(self, pictures: Sequence[bytes]) -> list[Vector]:
        """Return the vectors of picture files, in their order.

        Raises `DamagedPicture` for one that cannot be read, and what `text` raises.
        """
        found: list[Vector] = []
        for start, stop in _parts([len(each) for each in pictures]):
            part = pictures[start:stop]
            question = wire.Frame({"pictures": [len(each) for each in part]}, b"".join(part))
            found += await self._ask(question, start)
        return found

    async def text(self, text: str) -> Vector:
        """Return a text's vector. Raises `UserError`: no model, `TowersFailed`, or it is busy."""
        [found] = await self.texts([text])
        return found

    async def texts(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of texts, in their order; raises as `text` does."""
        return await self._ask(wire.Frame({"texts": list(texts)}))

    async def close(self) -> None:
        """End the process."""
        if self._helper:
            await self._helper.close()

    async def _ask(self, question: wire.Frame, first: int = 0) -> list[Vector]:
        """Return an answer's vectors; first: the number of its first picture."""
        if self._helper is None:
            raise UserError(Sentence("clip_off", setting=CLIP_MODEL))
        try:
            answer = await self._helper.ask(question, wait=WAIT)
        except HelperBusy:
            raise UserError(Sentence("clip_busy")) from None
        except HelperFailed as error:
            if self._logged != str(error):  # once, however often it is asked
                log.error("Pictures and texts could not be compared: %s", error)
            self._logged = str(error)
            raise TowersFailed from error
        self._logged = ""
        if "damaged" in answer.header:
            raise DamagedPicture(first + answer.header["damaged"])
        self._known = answer.header["name"], answer.header["width"]
        return list(np.frombuffer(answer.payload, np.float32).reshape(-1, self.width))


def _parts(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield from where to where pictures, of so many bytes each, are sent together."""
    start = total = 0
    for number, size in enumerate(sizes):
        if number > start and (number - start == MOST or total + size > BYTES):
            yield start, number
            start, total = number, 0
        total += size
    if sizes:
        yield start, len(sizes)
