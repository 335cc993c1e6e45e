"""A program of Marble's in a process of its own beside the tick, which answers questions in turn.

It is started for the first question, started again after it has died, and ended when nobody has
asked for a while, so that its memory is free. `answer_all` is the program's side of it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

from engine.errors import UserError, first_line
from engine.executors import wire
from engine.executors.child import child_environment

PATIENCE: Final = 180.0  # seconds for an answer, in which a model may be loaded
IDLE: Final = 600.0  # seconds after the last answer
ENDING: Final = 5.0  # seconds for the end of a process that was killed
THREADS: Final = max(1, (os.cpu_count() or 1) // 2)  # the tick and the chats need theirs


class HelperBusy(Exception):
    """Others' questions took too long."""


class HelperFailed(Exception):
    """There is no answer; its text says why."""


class HelperSilent(HelperFailed):
    """The answer took too long."""


class Helper:
    """Asks one program (`python -m program argument`), one question at a time, in order.

    threads: of its arithmetic; patience: seconds for an answer; stderr: where its errors go, as
    `subprocess` takes it.
    """

    def __init__(
        self,
        program: str,
        argument: str = "",
        *,
        threads: int = THREADS,
        patience: float = PATIENCE,
        stderr: int | None = None,
    ) -> None:
        self._command = (sys.executable, "-P", "-m", program, argument)
        self._patience = patience
        self._stderr = stderr
        self._environment = {"OMP_NUM_THREADS": str(threads)}
        self._process: Process | None = None
        self._last: Process | None = None  # it may have been killed and not ended yet
        self._idle: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()

    async def ask(self, question: wire.Frame, *, wait: float) -> wire.Frame:
        """Return the answer to a question.

        wait: seconds for its turn. Raises `HelperBusy` after them; `HelperSilent` where the answer
        takes too long, and `HelperFailed` where the program answers with an error, ends, or cannot
        be started.
        """
        try:
            async with asyncio.timeout(wait):
                await self._turn.acquire()
        except TimeoutError:
            raise HelperBusy from None
        try:
            return await self._ask(question)
        finally:
            self._turn.release()

    async def close(self) -> None:
        """End the process; one that a driver keeps from ending is left behind."""
        if self._idle:
            self._idle.cancel()
        self._end()
        if self._last:
            with suppress(TimeoutError):
                async with asyncio.timeout(ENDING):
                    await self._last.wait()

    async def _ask(self, question: wire.Frame) -> wire.Frame:
        if self._idle:
            self._idle.cancel()
        try:
            process = await self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            async with asyncio.timeout(self._patience):
                process.stdin.write(question.to_bytes())
                await process.stdin.drain()
                answer = await wire.receive(process.stdout)
        except EOFError:
            self._end()
            raise HelperFailed("its process ended") from None
        except TimeoutError:
            self._end()
            raise HelperSilent("it took too long") from None
        except OSError as error:
            self._end()
            raise HelperFailed(str(error)) from error
        except asyncio.CancelledError:  # its answer would be taken for the next one's
            self._end()
            raise
        self._idle = asyncio.get_running_loop().call_later(IDLE, self._end)
        if "error" in answer.header:
            raise HelperFailed(answer.header["error"])
        return answer

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            environment = {**self._environment, **child_environment()}
            self._last = self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=self._stderr,
                env=environment,
                # Ctrl-C at the terminal must reach the parent only, which then ends its child.
                start_new_session=True,
            )
        return self._process

    def _end(self) -> None:
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._process = None


def answer_all(
    answer: Callable[[wire.Frame], wire.Frame], questions: BinaryIO, answers: BinaryIO
) -> None:
    """Answer questions until there are no more; an error is an answer, too."""
    while True:
        try:
            question = wire.read(questions)
        except EOFError:
            return
        try:
            frame = answer(question)
        except UserError as error:
            frame = wire.Frame({"error": str(error)})
        except Exception as error:
            frame = wire.Frame({"error": first_line(error)})
        answers.write(frame.to_bytes())
        answers.flush()


@contextmanager
def output_for_answers() -> Iterator[BinaryIO]:
    """Take a program's output for its answers alone: what a library prints goes to its errors."""
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)
        yield output
