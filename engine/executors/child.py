"""The engine in a child process: a crash of the engine does not end this process.

The child is started with the first job. When it dies, its jobs end as `Lost` and it is started
again, after a growing wait. The two processes share a socket pair: the death of either closes it,
so that the other notices at once and no process is left behind.
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
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from engine.errors import EngineError, Lost
from engine.events import Ended, Event, Key, Picture, Progress, Stage
from engine.executors import Health, wire
from engine.executors.base import CLOSED, QueueingExecutor
from engine.executors.config import EngineConfig
from engine.spec import Spec

log = logging.getLogger(__name__)

ROOT: Final = Path(__file__).parents[2]  # folder of the package `engine`
STARTS: Final = 3  # failed starts in a row after which waiting jobs end with an error
SILENCE: Final = 900.0  # seconds without a message about its jobs after which a child is killed
COMPILING: Final = 4  # times `SILENCE`, where models are compiled at the first use of each size
LONGEST: Final = 30.0  # seconds between two starts
# Threads that spin while they wait for each other are very slow on a processor that others use: a
# picture took 18 s instead of 0.5.
THREADS: Final = {"OMP_WAIT_POLICY": "PASSIVE"}
NOT_STARTING: Final = "the engine's process does not start; its messages tell why"


def wait_before(failures: int) -> float:
    """Return the seconds to wait before the next start, after so many deaths in a row."""
    return min(LONGEST, 0.1 * 4.0**failures)


class ChildExecutor(QueueingExecutor):
    """Runs the engine in one child process, and a task that restarts it."""

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
        self._counts: Mapping[str, int] = {}
        self._last_message_at = 0.0  # or start of the child, or of its first job
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None  # while there is a child
        self._running: asyncio.Task[None] | None = None
        self._start_requested = asyncio.Event()
        self._ready = asyncio.Event()
        self._settled = asyncio.Event()  # it is ready, or cannot be started
        self._ready_callers = 0  # that wait in `ready`
        self._failures = 0  # deaths since a child last drew anything
        self._failed_starts = 0  # in a row
        self._restarts = 0

    async def ready(self) -> None:
        """Start the child; return when it takes jobs, failed to start too often or is closed."""
        self._ready_callers += 1
        try:
            if not self._takes_jobs():
                await self._settled.wait()
        finally:
            self._ready_callers -= 1

    async def close(self) -> None:
        """Kill the child, which has no state to save."""
        if self._running:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
            self._running = None
        self._settled.set()  # ends `ready`
        self._end_all(Lost(CLOSED))

    def health(self) -> Health:
        """Return whether the child takes jobs, and how often it was restarted."""
        return Health(
            alive=self._ready.is_set(),
            restarts=self._restarts,
            failing=self._failed_starts >= STARTS,
            pid=self._process.pid if self._process else None,
            counts=self._counts,
        )

    def _takes_jobs(self) -> bool:
        if not self._ready.is_set():
            self._start_requested.set()
            if self._running is None:
                self._running = asyncio.create_task(self._keep_running(), name="marble-child")
        return self._ready.is_set()

    def _admit(self, spec: Spec) -> None:
        if len(self._admitted) == 1:
            self._last_message_at = time.monotonic()
        self._send({"run": spec.to_dict()})

    def _stop(self, key: Key) -> None:
        self._send({"cancel": key})

    def _send(self, header: dict[str, Any]) -> None:
        # If the child has just died, its jobs end as lost anyway.
        if self._writer and not self._writer.is_closing():
            self._writer.write(wire.Frame(header).to_bytes())

    async def _keep_running(self) -> None:
        """Start a child when jobs need one; when it dies, end its jobs as lost and wait."""
        while True:
            await self._start_requested.wait()
            self._start_requested.clear()
            try:
                how = await self._run_child()
            except OSError as error:  # no memory, too many processes or files: may pass
                how = f"it cannot be started: {error}"
            self._failures += 1
            self._failed_starts += 1
            self._restarts += 1
            log.error(
                "the engine's process ended (%s) with %d running jobs", how, len(self._admitted)
            )
            self._lose_all(f"The engine's process ended ({how}).")
            if self._failed_starts >= STARTS:
                self._settled.set()
                self._end_all(EngineError(NOT_STARTING))
            wait = self._backoff(self._failures)
            log.info("the engine's process may start again in %.1f s", wait)
            await asyncio.sleep(wait)
            if self._waiting or self._ready_callers:
                self._start_requested.set()

    async def _run_child(self) -> str:
        """Start a child, receive its messages until it ends; return how. Raises `OSError`."""
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        with closing(writer):
            with theirs:
                process = self._process = _spawn(theirs)
            log.info("the engine's process starts")
            self._last_message_at = time.monotonic()
            watchdog = asyncio.create_task(self._kill_silent(process), name="marble-silence")
            try:
                self._writer = writer
                self._send({"config": self._config.to_dict(), "level": log.getEffectiveLevel()})
                with suppress(EOFError, ConnectionError):
                    await self._receive_all(reader)
            except Exception:  # the stream can no longer be read
                log.exception("the engine's process sent an invalid message")
            finally:
                watchdog.cancel()
                self._ready.clear()
                self._settled.clear()
                self._process = self._writer = None
                process.kill()
                code = await asyncio.shield(asyncio.to_thread(process.wait))
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    async def _kill_silent(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a child that has jobs, or starts, and sends no message for too long."""
        while True:
            await asyncio.sleep(self._silence / 10)
            ready = self._ready.is_set()
            silence = self._silence if ready else max(self._silence, SILENCE)
            busy = self._admitted or not ready
            if busy and time.monotonic() - self._last_message_at > silence:
                log.error("the engine sent nothing for %.0f s and is killed", silence)
                process.kill()
                return

    async def _receive_all(self, reader: asyncio.StreamReader) -> None:
        while True:
            frame = await wire.receive(reader)
            self._last_message_at = time.monotonic()
            if "ready" in frame.header:
                self._failed_starts = 0
                log.info("the engine's process is ready")
                self._ready.set()
                self._settled.set()
                self._admit_waiting()
            elif "log" in frame.header:
                name, level, text = frame.header["log"]
                logging.getLogger(name).log(level, "%s", text)
            elif "counts" in frame.header:
                self._counts = frame.header["counts"]
            else:
                report = wire.unpack(frame)
                if _has_drawn(report.news):
                    self._failures = 0
                self._receive(report)


def _has_drawn(news: Event | Ended) -> bool:
    """Whether a report shows that the engine can draw.

    The growing wait is for engines that cannot. A job that ends a working engine repeatedly is
    stopped by its quarantine.
    """
    if isinstance(news, Progress):
        return news.stage is Stage.DENOISE and news.step > 0
    return isinstance(news, Picture) or news.error is None


def _spawn(end: socket.socket) -> subprocess.Popen[bytes]:
    # Not asyncio's: before Python 3.12 its `kill` may lose the exit code.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        # -P: do not import modules from the working folder.
        [sys.executable, "-P", "-m", "engine.executors.main", str(end.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[end.fileno()],
        env={**THREADS, **os.environ, "PYTHONPATH": path},
        # Ctrl-C at the terminal must reach the parent only, which then ends its child.
        start_new_session=True,
    )
