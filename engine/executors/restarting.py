"""An engine that may die: it is started again, after a growing wait, and its jobs end as `Lost`.

The engine is elsewhere: in a child process (`engine.executors.child`) or on a machine of a cluster.
A subclass starts it and passes its frames on until it ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from engine.errors import EngineError, Lost
from engine.events import About, Ended, Event, Key, Picture, Progress, Stage
from engine.executors import Health, wire
from engine.executors.base import CLOSED, QueueingExecutor, end_task
from engine.executors.config import EngineConfig
from engine.sentences import fill
from engine.spec import Spec

log = logging.getLogger(__name__)

STARTS: Final = 3  # failed starts in a row after which waiting jobs end with an error
SILENCE: Final = 900.0  # seconds without a message about its jobs after which an engine is killed
COMPILING: Final = 4  # times `SILENCE`, where models are compiled at the first use of each size
LONGEST: Final = 30.0  # seconds between two starts
NOT_STARTING: Final = "the engine's process does not start; its messages tell why"


def wait_before(failures: int) -> float:
    """Return the seconds to wait before the next start, after so many deaths in a row."""
    return min(LONGEST, 0.1 * 4.0**failures)


class NotYet(Exception):
    """Say why there is no engine, for a cause outside of it; waiting jobs go on waiting."""


class Death(NamedTuple):
    """How an engine ended; outside: something else than its jobs may be to blame."""

    how: str
    outside: bool = False


class RestartingExecutor(QueueingExecutor):
    """Keeps one engine running: a task starts it when jobs need it, and again when it died.

    A subclass implements `name`, `_run_once` and `_send`; `_pid`: of the engine's process, if
    known.
    """

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
        self._held: tuple[str, ...] = ()
        self._about = About(device=config.device)
        self._beside: tuple[str, ...] = ()
        self._fault = ""
        self._last_message_at = 0.0  # or start of the engine, or of its first job
        self._pid: int | None = None
        self._running: asyncio.Task[None] | None = None
        self._start_requested = asyncio.Event()
        self._ready = asyncio.Event()
        self._settled = asyncio.Event()  # it is ready, or cannot be started
        self._ready_callers = 0  # that wait in `ready`
        self._failures = 0  # deaths since an engine last drew anything
        self._failed_starts = 0  # in a row
        self._restarts = 0

    @property
    @abstractmethod
    def name(self) -> str:
        """Return what messages call it; which device or machine it is on may be known later."""

    async def ready(self) -> None:
        """Start the engine; return when it takes jobs, failed to start too often or is closed."""
        self._ready_callers += 1
        try:
            if not self._takes_jobs() and not self._closed:
                await self._settled.wait()
        finally:
            self._ready_callers -= 1

    async def close(self) -> None:
        """Kill the engine, which has no state to save, for good."""
        self._closed = True
        try:
            if self._running:
                await end_task(self._running)
                self._running = None
        finally:
            self._settled.set()  # ends `ready`
            self._end_all(Lost(CLOSED, outside=True))

    def health(self) -> Health:
        """Return whether the engine takes jobs, how often it was restarted, and what it tells."""
        return Health(
            alive=self._ready.is_set(),
            restarts=self._restarts,
            failing=self._failed_starts >= STARTS,
            pid=self._pid,
            counts=self._counts,
            device=self._about.device,
            kind=self._about.kind,
            room=self._about.room,
            held=self._held,
            fault=self._fault,
            beside=self._beside,
        )

    def lose(self, death: Death) -> None:
        """End its jobs as lost."""
        name = f"{self.name[0].upper()}{self.name[1:]}"
        self._lose_all(f"{name} ended ({death.how}).", outside=death.outside)

    @abstractmethod
    async def _run_once(self) -> Death:
        """Start an engine, pass on its frames until it ends; return how.

        Raises `OSError` where it cannot be started, and `NotYet` where it is not to blame for that
        or for its end.
        """

    @abstractmethod
    def _send(self, header: dict[str, Any]) -> None:
        """Send a frame to the engine; if it has just died, its jobs end as lost anyway."""

    def _takes_jobs(self) -> bool:
        if not self._ready.is_set() and not self._closed:
            self._start_requested.set()
            if self._running is None:
                self._running = asyncio.create_task(self._keep_running(), name="marble-engine")
        return self._ready.is_set()

    def _admit(self, spec: Spec) -> None:
        if len(self._admitted) == 1:
            self._last_message_at = time.monotonic()
        self._send({"run": spec.to_dict()})

    def _stop(self, key: Key) -> None:
        self._send({"cancel": key})

    async def _keep_running(self) -> None:
        """Start an engine when jobs need one; when it dies, end its jobs as lost and wait."""
        while True:
            await self._start_requested.wait()
            self._start_requested.clear()
            try:
                death = await self._run_once()
            except NotYet as error:
                log.warning("%s takes no jobs: %s", self.name, error)
                self.lose(Death(str(error), outside=True))
            except OSError as error:  # no memory, too many processes or files: may pass
                self._count_death(Death(f"it cannot be started: {error}"))
            else:
                self._count_death(death)
            self._failures += 1
            self._held = ()
            self.on_change()
            wait = self._backoff(self._failures)
            log.info("%s may start again in %.1f s", self.name, wait)
            await asyncio.sleep(wait)
            if self._is_wanted():
                self._start_requested.set()

    def _count_death(self, death: Death) -> None:
        self._failed_starts += 1
        self._restarts += 1
        jobs = fill("{n} running {n:job|jobs}", n=len(self._admitted))
        log.error("%s ended (%s) with %s", self.name, death.how, jobs)
        self.lose(death)
        if self._failed_starts >= STARTS:
            self._settled.set()
            self._end_all(EngineError(NOT_STARTING))

    def _is_wanted(self) -> bool:
        """Whether jobs need an engine."""
        return bool(self._waiting or self._ready_callers)

    @asynccontextmanager
    async def _watched(self, kill: Callable[[], object]) -> AsyncIterator[None]:
        """Kill an engine that has jobs, or starts, and sends nothing for too long.

        After the block it takes no jobs.
        """
        self._last_message_at = time.monotonic()
        watchdog = asyncio.create_task(self._kill_silent(kill), name="marble-silence")
        try:
            yield
        finally:
            watchdog.cancel()
            self._ready.clear()
            self._settled.clear()
            self._pid = None
            self._fault = ""

    async def _kill_silent(self, kill: Callable[[], object]) -> None:
        while True:
            await asyncio.sleep(self._silence / 10)
            ready = self._ready.is_set()
            silence = self._silence if ready else max(self._silence, SILENCE)
            busy = self._admitted or not ready
            if busy and time.monotonic() - self._last_message_at > silence:
                log.error("the engine sent nothing for %.0f s and is killed", silence)
                kill()
                return

    def _take(self, frame: wire.Frame) -> None:
        """Take a frame of the engine: what is beside it, that it is ready, and so on."""
        self._last_message_at = time.monotonic()
        if "ready" in frame.header:
            self._failed_starts = 0
            self._fault = frame.header["fault"]
            if about := frame.header["about"]:
                self._about = About(**about)
            log.info("%s is ready", self.name)
            self._ready.set()
            self._settled.set()
            self.on_change()
            self._admit_waiting()
        elif "beside" in frame.header:
            self._beside = tuple(frame.header["beside"])
            self.on_change()
        elif "log" in frame.header:
            name, level, text = frame.header["log"]
            logging.getLogger(name).log(level, "%s: %s", self.health().device, text)
        elif "counts" in frame.header:
            self._counts, self._held = frame.header["counts"], tuple(frame.header["held"])
            self.on_change()
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
