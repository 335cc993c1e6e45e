"""Marble's own commands that owners start from a page: one at a time, each in its own process.

They load torch, read whole models or write a whole database, which a process that serves never does
itself. What a command says is kept in memory until the next one of its kind.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from bots.admission.roles import Role, Roles
from engine.errors import UserError
from engine.executors.base import end_task
from engine.executors.child import child_environment
from engine.sentences import Sentence

log = logging.getLogger(__name__)

DOCTOR: Final = "doctor"
CHECK: Final = "check"
GET: Final = "get"
BACKUP: Final = "backup"
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    DOCTOR: ("doctor",),
    CHECK: ("models", "check", "--"),
    GET: ("models", "get", "--"),
    BACKUP: ("db", "backup", "--"),
}
FAILED: Final = 1  # exit code of a command that could not be done
LINES: Final = 500  # that are kept of what a command says
CHUNK: Final = 2**16  # bytes that are read at once
LONGEST: Final = 2_000  # characters of a line that are kept
# The hub's client draws its progress bars only in a terminal, unless it is told a position.
BARS: Final = {"TQDM_POSITION": "-1"}
_ENDS: Final = re.compile(rb"[\r\n]+")
_PERCENT: Final = re.compile(r"(\d{1,3})%")


@dataclass(slots=True, kw_only=True)
class Command:
    """A command that runs or ran: what about, by whom, what it said, and how it ended.

    note: the latest line of its standard error, where progress and errors stand. code: its exit
    code, `FAILED` where it could not be run; None while it runs, and where it was cancelled.
    """

    kind: str
    about: str
    by: str
    began: datetime
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LINES))
    note: str = ""
    ended: datetime | None = None
    code: int | None = None

    @property
    def percent(self) -> int | None:
        """Return how much of a file was fetched, where that is told."""
        found = _PERCENT.search(self.note)
        return min(100, int(found[1])) if found else None


class Commands:
    """Runs one command at a time; latest: the last one of each kind."""

    def __init__(self, roles: Roles) -> None:
        self.latest: dict[str, Command] = {}
        self._roles = roles
        self._task: asyncio.Task[None] | None = None
        self._running: Command | None = None

    @property
    def running(self) -> Command | None:
        """Return the command that runs."""
        return self._running

    def start(self, kind: str, *arguments: str, by: str) -> Command:
        """Start a command of `COMMANDS`, with names as they are typed.

        Raises `UserError` for who is no owner, and while another command runs.
        """
        self._roles.require(Role.OWNER, by)
        if self._running:
            raise UserError(Sentence("one_command"))
        command = Command(kind=kind, about=" ".join(arguments), by=by, began=datetime.now(UTC))
        self._running = self.latest[kind] = command
        words = (*COMMANDS[kind], *arguments)
        self._task = asyncio.create_task(_run(command, words), name=f"marble-{kind}")
        self._task.add_done_callback(self._ended)
        return command

    async def cancel(self, *, by: str) -> bool:
        """End the command that runs; return False where none does.

        Raises `UserError` for who is no owner.
        """
        self._roles.require(Role.OWNER, by)
        found = self._running is not None
        await self.close()
        return found

    async def close(self) -> None:
        """End the command that runs, with its process."""
        if self._task:
            await end_task(self._task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        assert self._running
        self._running.ended = datetime.now(UTC)
        self._running = None


async def _run(command: Command, words: tuple[str, ...]) -> None:
    try:
        await _follow(command, words)
    except OSError as error:  # no more processes or memory
        command.note, command.code = str(error), FAILED
    except Exception:  # that nobody expected: it was not cancelled
        log.exception("the command %s failed", command.kind)
        command.code = FAILED


async def _follow(command: Command, words: tuple[str, ...]) -> None:
    """Run a command of Marble's, and keep what it says, until it ends or this is cancelled."""

    def note(line: str) -> None:
        command.note = line

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "bots", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**child_environment(), **BARS},
        start_new_session=True,  # what it starts ends with it
    )
    try:
        assert process.stdout
        assert process.stderr
        await asyncio.gather(
            _read(process.stdout, command.lines.append), _read(process.stderr, note)
        )
        command.code = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _read(stream: asyncio.StreamReader, keep: Callable[[str], object]) -> None:
    """Keep each line of a stream; a progress bar writes its lines over one another."""
    rest = b""
    while chunk := await stream.read(CHUNK):
        *lines, rest = _ENDS.split(rest + chunk)
        rest = rest[-CHUNK:]
        for line in lines:
            _keep(line, keep)
    _keep(rest, keep)


def _keep(line: bytes, keep: Callable[[str], object]) -> None:
    if text := line.decode("utf-8", "replace").rstrip():
        keep(text[:LONGEST])
