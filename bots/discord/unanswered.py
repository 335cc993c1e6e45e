"""Interactions that were acknowledged and are not answered yet, in a file of their own.

Discord shows "thinking" after the acknowledgement until the interaction's token is used. What a
process leaves unanswered when it is killed is answered by the next one, as long as the token is
valid. An entry is removed when it is answered, or with its token after 15 minutes. Exports and the
log hold no tokens; the reply address of a job does, for its result.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from engine.files.private import FILE, make_folder, sync_folder

NAME: Final = "discord-unanswered.jsonl"
BRIEF: Final = 1.0  # seconds that an acknowledgement, due within three, waits for a slow disk
LOOK: Final = 60.0  # seconds between looks for tokens that ended
SPENT: Final = 200  # entries without use in a file, after which it is rewritten

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingInteraction:
    """What it takes to answer an interaction; `until` is in seconds since 1970."""

    event: str
    application: int
    token: str = field(repr=False)
    language: str
    until: float

    def line(self) -> str:
        """Return it as it stands in the file."""
        return json.dumps({each.name: getattr(self, each.name) for each in fields(self)})


class Unanswered:
    """Stores interactions while they are unanswered; many that come at once share one write."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._open: dict[str, PendingInteraction] = {}
        self._lines: list[str] = []
        self._urgent: list[asyncio.Future[None]] = []
        self._spent = 0
        self._something = asyncio.Event()
        self._closing = False
        self._left: dict[str, PendingInteraction] | None = None

    async def left(self) -> tuple[PendingInteraction, ...]:
        """Return the interactions that earlier processes left unanswered."""
        if self._left is None:
            self._left = await asyncio.to_thread(_read, self._path)
            self._open |= self._left
            self._spent += 1  # whatever else the file holds
            self._something.set()
        now = time.time()
        return tuple(q for key, q in self._left.items() if key in self._open and q.until > now)

    def keep(self, pending: PendingInteraction) -> asyncio.Future[None]:
        """Store an interaction; the future ends once it is on disk, or after `BRIEF` seconds."""
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        self._open[pending.event] = pending
        self._lines.append(pending.line())
        if not self._urgent:  # those that come at once are written at once, and wait no longer
            loop.call_later(BRIEF, _end, self._urgent)
        self._urgent.append(written)
        self._something.set()
        return written

    def answered(self, event: str) -> None:
        """Remove an interaction; unknown ones are ignored."""
        if self._open.pop(event, None):
            self._lines.append(json.dumps({"event": event}))
            self._spent += 1
            self._something.set()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write all changes inside the block, and once more at its end."""
        self._closing = False
        task = asyncio.create_task(self._write_on(), name="discord-unanswered")
        try:
            yield
        finally:  # a write under way is not cut off: it would undo the last one
            self._closing = True
            self._something.set()
            await task

    async def _write_on(self) -> None:
        while not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._something.wait()
            self._something.clear()
            await self._write()
        await self._write()

    async def _write(self) -> None:
        """Append new entries, or rewrite the file where most of it is out of date."""
        for event in [event for event, each in self._open.items() if each.until < time.time()]:
            self.answered(event)
        lines, self._lines = self._lines, []
        urgent, self._urgent = self._urgent, []
        anew = self._spent > (SPENT + len(self._open) if self._open else 0)
        try:
            if anew:
                self._spent = 0
                lines = [each.line() for each in self._open.values()]
                await asyncio.to_thread(_replace, self._path, lines)
            elif lines:
                await asyncio.to_thread(_append, self._path, lines, durable=bool(urgent))
        except OSError as error:
            log.warning("acknowledged interactions cannot be saved to %s: %s", self._path, error)
        finally:
            _end(urgent)


def _end(written: Iterable[asyncio.Future[None]]) -> None:
    for each in written:
        if not each.done():
            each.set_result(None)


def _read(path: Path) -> dict[str, PendingInteraction]:
    """Return the unanswered interactions of a file, whatever else is in it; blocks."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("unanswered interactions cannot be read from %s: %s", path, error)
        return {}
    found: dict[str, PendingInteraction] = {}
    for line in text.splitlines():
        with suppress(ValueError, TypeError, KeyError):  # a line that a power cut tore
            values: Mapping[str, Any] = json.loads(line)
            if "token" in values:
                found[values["event"]] = PendingInteraction(**values)
            else:
                found.pop(values["event"], None)
    return found


def _append(path: Path, lines: Iterable[str], *, durable: bool) -> None:
    make_folder(path.parent)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, FILE)
    with open(handle, "ab") as file:
        # A line before them may be torn: they begin on one of their own.
        file.write("".join(f"\n{line}" for line in lines).encode())
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _replace(path: Path, lines: Iterable[str]) -> None:
    """Rewrite a file, atomically."""
    make_folder(path.parent)
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    _append(part, lines, durable=True)
    part.replace(path)
    sync_folder(path.parent)
