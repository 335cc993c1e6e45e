"""Run the engine in a thread of this process: for tests, and where nothing else can be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from engine.errors import Lost
from engine.events import Key, Report
from engine.executors import Health
from engine.executors.base import CLOSED, QueueingExecutor
from engine.executors.config import EngineConfig
from engine.executors.loop import Loop
from engine.spec import Spec


class InProcessExecutor(QueueingExecutor):
    """Own one thread, in which the engine's loop runs."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__()
        self._engine = Loop(config, self._from_thread, self._take_counts, self._from_opened)
        self._thread = threading.Thread(target=self._engine.run, name="marble-engine", daemon=True)
        self._asyncio: asyncio.AbstractEventLoop | None = None
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Start the thread."""
        self._begin()

    async def ready(self) -> None:
        """Start the thread, and wait until it has made its pipeline."""
        self._begin()
        await self._ready.wait()

    async def close(self) -> None:
        """End the thread once the call that it works on is over."""
        self._engine.close()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)
        self._ready.set()  # for who waits: there will be none
        self._end_all(Lost(CLOSED))

    def health(self) -> Health:
        """Return whether the thread is alive."""
        alive, running = self._thread.is_alive(), len(self._passed)
        return Health(alive=alive, running=running, counts=self._counts)

    def _begin(self) -> None:
        if self._thread.ident is None:
            self._asyncio = asyncio.get_running_loop()
            self._thread.start()

    def _admit(self, spec: Spec) -> None:
        self._begin()
        self._engine.admit(spec)

    def _withdraw(self, key: Key) -> None:
        self._engine.cancel(key)

    def _from_thread(self, report: Report) -> None:
        self._call(lambda: self._receive(report))

    def _from_opened(self) -> None:
        self._call(self._ready.set)

    def _call(self, work: Callable[[], None]) -> None:
        """Let the event loop do something, from the engine's thread."""
        assert self._asyncio is not None
        if not self._asyncio.is_closed():
            self._asyncio.call_soon_threadsafe(work)

    def _take_counts(self, counts: dict[str, int]) -> None:
        self._counts = counts
