"""What pictures show in words, by the owner's image-to-text model in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from engine.errors import UserError
from engine.executors import wire
from engine.executors.child import child_environment
from engine.pictures.images import flatten, read_image, to_png
from engine.sentences import Sentence

DESCRIBE_MODEL: Final = "MARBLE_DESCRIBE_MODEL"
PROGRAM: Final = "engine.executors.describing"
SIDE: Final = 1024  # pixels; models see fewer
MOST: Final = 10  # pictures that may wait
# Seconds for its turn, and for one, in which the model may be loaded: together they are less than
# the 15 minutes for which Discord takes an answer.
WAIT: Final = 600.0
PATIENCE: Final = 180.0
IDLE: Final = 600.0  # seconds after the last one, when the process ends and its memory is free

log = logging.getLogger(__name__)


class Descriptions:
    """Describes pictures, one at a time; model: a folder, a name of the hub, or None."""

    def __init__(self, model: str | None) -> None:
        self._model = model
        self._process: Process | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()
        self._waiting = set[str]()  # who asked for those that wait or are described

    async def suggest(self, data: bytes, person: str) -> list[str]:
        """Return what a picture file shows in words, the likeliest first.

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
            words = await self._ask_in_turn(png)
        finally:
            self._waiting.discard(person)
        if not words:
            raise UserError(Sentence("describe_nothing"))
        return words

    def check(self) -> None:
        """Raise `UserError` where the owner has set no model."""
        if self._model is None:
            raise UserError(Sentence("describe_unset", setting=DESCRIBE_MODEL))

    async def close(self) -> None:
        """End the process."""
        if self._idle:
            self._idle.cancel()
        if process := self._process:
            self._end()
            await process.wait()

    async def _ask_in_turn(self, png: bytes) -> list[str]:
        try:
            async with asyncio.timeout(WAIT):
                await self._turn.acquire()
        except TimeoutError:
            raise UserError(Sentence("describe_busy")) from None
        try:
            return await self._ask(png)
        finally:
            self._turn.release()

    async def _ask(self, png: bytes) -> list[str]:
        if self._idle:
            self._idle.cancel()
        answer: Mapping[str, Any]
        try:
            process = self._process or await self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            async with asyncio.timeout(PATIENCE):
                process.stdin.write(wire.Frame({}, png).to_bytes())
                await process.stdin.drain()
                answer = (await wire.receive(process.stdout)).header
        except EOFError:
            self._end()
            answer = {"error": "its process ended"}
        except OSError as error:
            self._end()
            answer = {"error": str(error) or "it took too long"}
        except asyncio.CancelledError:  # its answer would be taken for the next one's
            self._end()
            raise
        self._idle = asyncio.get_running_loop().call_later(IDLE, self._end)
        if "error" in answer:
            log.error("A picture could not be described: %s", answer["error"])
            raise UserError(Sentence("describe_fails"))
        words: list[str] = answer["words"]
        return words

    async def _start(self) -> Process:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", PROGRAM, str(self._model)),
            stdin=PIPE,
            stdout=PIPE,
            env=child_environment(),
        )
        return self._process

    def _end(self) -> None:
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._process = None


def _to_small_png(data: bytes) -> bytes:
    image = flatten(read_image(data))
    image.thumbnail((SIDE, SIDE))
    return to_png(image)
