"""`marble serve` as systemd keeps it: started again whenever it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.fakes.process import Marble

RESTART: Final = 0.3  # seconds before it is started again
GRACE: Final = 10  # MARBLE_GRACE_SECONDS
LONGEST: Final = 60.0  # seconds after SIGTERM at which systemd would kill it
TOLD: Final = "told to stop"
EARLY: Final = "told to stop before it served"  # then SIGTERM ends it, as it ends any program
SERVES: Final = "Marble is running"
TWICE: Final = "told to stop twice"  # the second may come when all is closed and Python ends
KILLED: Final = "killed"


@dataclass(eq=False)
class Service:
    """Keep it running, and note how it ended each time; `starts` are counted."""

    marble: Marble
    starts: int = 0
    ends: list[tuple[str, int]] = field(default_factory=list)  # why, and the exit code
    drains: list[float] = field(default_factory=list)  # seconds from SIGTERM to the end
    engines: set[int] = field(default_factory=set)  # processes that the engine ever had
    up: asyncio.Event = field(default_factory=asyncio.Event)
    _runs: list[tuple[float, float | None]] = field(default_factory=list)  # by the time of day
    _why: str = ""
    _wanted: bool = True

    async def keep(self) -> None:
        """Keep it running until `stop`."""
        while self._wanted:
            self._why = ""
            before = self.marble.log.count(SERVES)
            await self.marble.start()
            self.starts += 1
            began = time.time()
            self._runs.append((began, None))
            self.up.set()
            code = await self.marble.ended(within=None)
            self.up.clear()
            self._runs[-1] = (began, time.time())
            if self._why == TOLD and self.marble.log.count(SERVES) == before:
                self._why = EARLY
            self.ends.append((self._why, code))
            await asyncio.sleep(RESTART)

    def kill(self) -> None:
        """End it as a power cut does."""
        self.note_engine()
        self._why = KILLED
        self.marble.send(signal.SIGKILL)

    async def drain(self, *, twice_after: float | None = None) -> None:
        """Ask it to end, perhaps twice, and wait for it."""
        self.note_engine()
        loop = asyncio.get_running_loop()
        began = loop.time()
        again = twice_after is not None or self._why in (TOLD, TWICE)
        self._why = TWICE if again else TOLD
        process = self.marble.pid
        self.marble.send(signal.SIGTERM)
        if twice_after is not None:
            await asyncio.sleep(twice_after)
            if self.marble.pid == process:  # not the next one
                self.marble.send(signal.SIGTERM)
        try:
            await self.marble.ended(within=LONGEST)
        except TimeoutError:
            self._why = "outlasted SIGTERM"
            self.marble.send(signal.SIGKILL)
            await self.marble.ended()
        if twice_after is None:
            self.drains.append(loop.time() - began)

    async def stop(self) -> None:
        """Ask it to end, for good."""
        self._wanted = False
        await self.drain()

    def note_engine(self) -> list[int]:
        """Return the processes that it has started and that run."""
        if not (parent := self.marble.pid):
            return []
        found = subprocess.run(
            ["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False
        )
        children = [int(line) for line in found.stdout.split()]
        self.engines.update(children)
        return children

    def processes(self) -> list[int]:
        """Return the service's process and those that it has started, as far as they run."""
        return [self.marble.pid, *self.note_engine()] if self.marble.pid else []

    def kill_engine(self, how: signal.Signals = signal.SIGKILL) -> bool:
        """Send the engine a signal; False where there is none."""
        children = self.note_engine()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, how)
        return bool(children)

    def absences(self, until: float) -> list[tuple[float, float]]:
        """Return from when to when no process was there, by the time of day."""
        begins = [began for began, _ in self._runs[1:]] + [until]
        ends = [until if ended is None else ended for _, ended in self._runs]
        return [span for span in zip(ends, begins, strict=True) if span[0] < span[1]]

    def left(self) -> list[int]:
        """Return the engines' processes that still run."""
        return [each for each in sorted(self.engines) if _runs(each)]


def _runs(process: int) -> bool:
    """Say whether it runs; one that ended and whose parent is gone may stay in the table."""
    try:
        about = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return about.rpartition(")")[2].split()[0] != "Z"
