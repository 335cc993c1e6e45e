"""The composition root: settings → storage → engine → studio; begun in order, ended in reverse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from bots.settings import Settings
from bots.studio import Studio
from bots.worker import Worker
from engine.checkpoints import Catalogue
from engine.executors.config import EngineConfig
from engine.executors.inprocess import InProcessExecutor
from engine.order import Limits
from engine.queue import Queue
from storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Hold what the adapters need."""

    settings: Settings
    storage: Storage
    studio: Studio


def limits_of(settings: Settings) -> Limits:
    """Return how much the queue takes."""
    return Limits(
        running=settings.running_per_person,
        waiting=settings.waiting_per_person,
        length=settings.queue_length,
    )


def engine_config(settings: Settings) -> EngineConfig:
    """Return what the engine is made from."""
    return EngineConfig(models_dir=settings.models_dir, device=settings.device)


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """Begin everything, and end it in good order whatever happens inside.

    Jobs that are still at work when it ends go back to the queue.
    """
    catalogue = Catalogue(settings.models_dir)
    async with (
        Storage.open(settings.data_dir, settings.database_url) as storage,
        InProcessExecutor(engine_config(settings)) as executor,
    ):
        queue = Queue(lambda: executor.slots, limits_of(settings))
        worker = Worker(storage.jobs, executor, queue)
        working = asyncio.create_task(worker.run(), name="marble-worker")
        try:
            yield App(
                settings=settings,
                storage=storage,
                studio=Studio(catalogue, storage.jobs, worker),
            )
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
