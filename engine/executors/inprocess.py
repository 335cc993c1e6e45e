"""The engine in a thread of this process, for tests and where no process can be started."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial

from engine.errors import Lost
from engine.events import About, Key, Report
from engine.executors import Health
from engine.executors.base import CLOSED, QueueingExecutor
from engine.executors.config import EngineConfig
from engine.executors.loop import Loop
from engine.spec import Spec


class InProcessExecutor(QueueingExecutor):
    """Runs the engine's loop in one thread."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__()
        self._device = config.device
        self._asyncio = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._engine = Loop(
            config,
            report=partial(self._call_soon, self._receive),
            opened=partial(self._call_soon, self._opened),
        )
        self._thread = threading.Thread(target=self._engine.run, name="marble-engine", daemon=True)

    async def ready(self) -> None:
        """Start the thread; return when it has made its pipeline."""
        self._begin()
        await self._ready.wait()

    async def close(self) -> None:
        """End the thread after its current tick."""
        self._closed = True
        self._engine.close()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)
        self._ready.set()  # ends `ready`
        self._end_all(Lost(CLOSED, outside=True))

    def health(self) -> Health:
        """Return whether the thread is alive, and what its engine tells."""
        about = self._engine.about or About(device=self._device)
        return Health(
            alive=self._thread.is_alive(),
            counts=self._engine.counts,
            device=about.device,
            kind=about.kind,
            room=about.room,
            held=tuple(self._engine.held),
            fault=self._engine.fault,
        )

    def _opened(self) -> None:
        self._ready.set()
        self.on_change()

    def _begin(self) -> None:
        if self._thread.ident is None:
            self._thread.start()

    def _admit(self, spec: Spec) -> None:
        self._begin()
        self._engine.admit(spec)

    def _stop(self, key: Key) -> None:
        self._engine.cancel(key)

    def _call_soon(self, function: Callable[..., None], *arguments: Report) -> None:
        """Call a function on the event loop, from the engine's thread."""
        if not self._asyncio.is_closed():
            self._asyncio.call_soon_threadsafe(function, *arguments)
