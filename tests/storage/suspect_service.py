"""A service for the tests of suspects: it draws what waits in its own process, until it is killed.

Its engine is the stub of tests/engine, so that a job whose prompt says so takes the process along.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path

from bots.service.app import take_in
from bots.worker.worker import Worker
from engine.events import Event
from engine.executors.config import EngineConfig
from engine.executors.inprocess import InProcessExecutor
from engine.queue.queue import Queue
from engine.queue.tasks import Limits
from engine.spec import Spec
from storage import Status, Storage
from storage.database import schema
from tests.bots.fakes import equal_task, no_caps

LOOK = 0.02  # seconds between looks for what a dead process left
LIMITS = Limits(running=100, waiting=100)
schema.head(), schema.known()  # read once, before the fork


class MortalExecutor(InProcessExecutor):
    """Kill the process when the engine begins its n-th job."""

    def __init__(self, config: EngineConfig, last: int | None) -> None:
        super().__init__(config)
        self._last = last
        self._begun = 0

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        first = True
        async for event in super().run(spec):
            self._begun += first
            first = False
            if self._begun == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
            yield event


async def _live(folder: Path, url: str | None, factory: str, last: int | None) -> None:
    async with (
        Storage.open(folder, url) as storage,
        MortalExecutor(EngineConfig(factory=factory, device="cpu"), last) as executor,
    ):
        queue = Queue(lambda: executor.slots, LIMITS)
        worker = Worker(storage, executor, queue, equal_task, no_caps)
        working = asyncio.create_task(worker.run(), name="worker")
        while not (await storage.history.stats()).jobs.keys() <= {Status.RENDERED, Status.FAILED}:
            await take_in(storage, worker)
            await asyncio.sleep(LOOK)
        working.cancel()
        await asyncio.wait([working])


def main(folder: Path, url: str | None, factory: str, last: int | None) -> None:
    """Live until killed, or until nothing is left to draw."""
    logging.disable(logging.CRITICAL)
    asyncio.run(_live(folder, url, factory, last))
