"""Run the engine in a process of its own: a crash there never takes the gateways down.

The child is started when the first job comes, and again, after a wait that grows, when it has died;
what it ran then ends as `Lost`. Both sides hold an end of one socket: whoever dies closes it, which
the other sees at once, so that no process is left behind.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from engine.errors import EngineError, Lost
from engine.events import Ended, Event, Key, Picture, Progress, Report, Stage
from engine.executors import Health, wire
from engine.executors.base import CLOSED, QueueingExecutor
from engine.executors.config import EngineConfig
from engine.spec import Spec

log = logging.getLogger(__name__)

ROOT: Final = Path(__file__).parents[2]  # where the package `engine` is found
STARTS: Final = 3  # failed starts in a row after which waiting jobs are told
SILENCE: Final = 900.0  # seconds without a word about its jobs after which a child counts as hung
COMPILING: Final = 4  # times that, where models are compiled at the first use of each size
LONGEST: Final = 30.0  # seconds between two starts
# Threads that spin while they wait for each other cost nearly nothing on an idle processor, and on
# one that others use nearly everything: a picture took 18 s instead of 0.5.
PATIENCE: Final = {"OMP_WAIT_POLICY": "PASSIVE"}
NOT_STARTING: Final = "the engine's process does not start; its messages tell why"


def wait_before(failures: int) -> float:
    """Return the seconds to wait before the next start, after so many deaths in a row."""
    return min(LONGEST, 0.1 * 4.0**failures)


class ChildExecutor(QueueingExecutor):
    """Own one child process and the task that watches it."""

    def __init__(
        self,
        config: EngineConfig,
        *,
        backoff: Callable[[int], float] = wait_before,
        silence: float = SILENCE,
    ) -> None:
        super().__init__()
        self._config = config
        self._backoff = backoff
        self._silence = silence * (COMPILING if config.compile else 1)
        self._heard_at = 0.0  # when the child last said something, began or was given a first job
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None  # there while the child takes jobs
        self._watching: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._ready = asyncio.Event()
        self._settled = asyncio.Event()  # it is ready, or known not to start
        self._expected = 0  # how many wait for it to be ready
        self._failures = 0  # deaths since the last child that drew anything
        self._stillborn = 0  # deaths in a row before it was ready
        self._restarts = 0

    async def start(self) -> None:
        """Start the child, and return when it takes jobs; raises `EngineError` if it does not."""
        await self.ready()
        if not self._ready.is_set():
            raise EngineError(NOT_STARTING)

    async def ready(self) -> None:
        """Start the child; return when it takes jobs, failed to start too often or is closed."""
        self._expected += 1
        try:
            if self._hold():
                await self._settled.wait()
        finally:
            self._expected -= 1

    async def close(self) -> None:
        """Kill the child; it has nothing that would have to be saved."""
        if self._watching:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        self._settled.set()  # for who waits: there will be none
        self._end_all(Lost(CLOSED))

    def health(self) -> Health:
        """Return whether the child takes jobs, and how often it had to be started again."""
        return Health(
            alive=self._ready.is_set(),
            running=len(self._passed),
            restarts=self._restarts,
            failing=self._stillborn >= STARTS,
            pid=self._process.pid if self._process else None,
            counts=self._counts,
        )

    def _want(self) -> None:
        self._wanted.set()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="marble-child")

    def _hold(self) -> bool:
        if not self._ready.is_set():
            self._want()
        return not self._ready.is_set()

    def _admit(self, spec: Spec) -> None:
        if len(self._passed) == 1:
            self._heard_at = time.monotonic()
        self._send({"run": spec.to_dict()})

    def _withdraw(self, key: Key) -> None:
        self._send({"cancel": key})

    def _send(self, header: dict[str, Any]) -> None:
        # A child that is about to be found dead takes nothing; then its jobs end as lost anyway.
        if self._writer and not self._writer.is_closing():
            self._writer.write(wire.Frame(header).to_bytes())

    async def _watch(self) -> None:
        """Keep a child alive for as long as there is work for it."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                how = await self._live()
            except OSError as error:  # no memory, too many processes or files: it may pass
                how = f"it cannot be started: {error}"
            self._count_death()
            log.error("the engine's process ended (%s) with %d jobs", how, len(self._passed))
            self._lose_all(f"The engine's process ended ({how}).")
            if self._stillborn >= STARTS:
                self._settled.set()
                self._end_all(EngineError(NOT_STARTING))
            wait = self._backoff(self._failures)
            log.info("the engine's process may start again in %.1f s", wait)
            await asyncio.sleep(wait)
            if self._held or self._expected:
                self._wanted.set()

    def _count_death(self) -> None:
        self._failures += 1
        self._stillborn += 1
        self._restarts += 1

    async def _live(self) -> str:
        """Start a child and listen to it until it ends; return how it ended. Raises `OSError`."""
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        with closing(writer):
            with theirs:
                process = self._process = _spawn(theirs)
            log.info("the engine's process starts")
            self._heard_at = time.monotonic()
            watching = asyncio.create_task(self._watch_silence(process), name="marble-silence")
            try:
                self._writer = writer
                self._send({"config": self._config.to_dict(), "level": log.getEffectiveLevel()})
                with suppress(EOFError, ConnectionError):
                    await self._listen(reader)
            except Exception:  # words that are not the protocol's: nothing it says can be trusted
                log.exception("the engine's process said what makes no sense")
            finally:
                watching.cancel()
                self._ready.clear()
                self._settled.clear()
                self._process = self._writer = None
                process.kill()
                code = await asyncio.shield(asyncio.to_thread(process.wait))
        return _describe(code)

    async def _watch_silence(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a child that hangs: its jobs are then lost, and tried again as after any death."""
        while True:
            await asyncio.sleep(self._silence / 10)
            ready = self._ready.is_set()
            silence = self._silence if ready else max(self._silence, SILENCE)
            busy = self._passed or not ready
            if busy and time.monotonic() - self._heard_at > silence:
                log.error("the engine said nothing for %.0f s and is killed", silence)
                process.kill()
                return

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            frame = await wire.receive(reader)
            self._heard_at = time.monotonic()
            if "ready" in frame.header:
                self._stillborn = 0
                log.info("the engine's process is ready")
                self._ready.set()
                self._settled.set()
                self._pass_on()
            elif "log" in frame.header:
                name, level, text = frame.header["log"]
                logging.getLogger(name).log(level, "%s", text)
            elif "counts" in frame.header:
                self._counts = frame.header["counts"]
            else:
                self._hear(wire.unpack(frame))

    def _hear(self, report: Report) -> None:
        if _has_drawn(report.news):
            self._failures = 0
        self._receive(report)


def _has_drawn(news: Event | Ended) -> bool:
    """Return whether news show that the engine works, whatever ends it later.

    Who kills a working engine again and again is a job, which quarantine stops; waiting ever longer
    before each start is for an engine that cannot draw at all.
    """
    match news:
        case Progress():
            return news.stage is Stage.DENOISE and news.step > 0
        case Ended():
            return news.error is None
    return isinstance(news, Picture)


def _spawn(end: socket.socket) -> subprocess.Popen[bytes]:
    # Not asyncio's: before Python 3.12 its `kill` may take the exit code from its own watcher.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        # -P: whatever lies in the working folder is no module of ours.
        [sys.executable, "-P", "-m", "engine.executors.main", str(end.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[end.fileno()],
        env={**PATIENCE, **os.environ, "PYTHONPATH": path},
        # Ctrl-C at the terminal is for the parent, which then ends its child in good order.
        start_new_session=True,
    )


def _describe(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
