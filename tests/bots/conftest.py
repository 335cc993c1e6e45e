"""A studio on a real database, with a scripted engine."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bots.requests.studio import Asker, Studio
from bots.worker.worker import Worker
from engine.models.catalogue import Catalogue
from engine.queue.queue import Queue
from engine.queue.tasks import Limits
from storage import Storage
from tests.bots.fakes import FakeExecutor, allow_all, equal_task, no_caps
from tests.models import make_model

LIMITS = Limits(running=2, waiting=6, length=100)
ADA = Asker(person="terminal:ada", place="terminal")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what the command does to the log of its process, which here is that of all tests."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder that holds one tiny model named `tiny`."""
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "tiny")
    save_file({"a": torch.zeros(1)}, folder_of(folder, "loras") / "Ink_v2.safetensors")
    return folder


def folder_of(models: Path, place: str) -> Path:
    (models / place).mkdir()
    return models / place


@dataclass(frozen=True)
class House:
    """Hold a studio with everything below it."""

    storage: Storage
    executor: FakeExecutor
    worker: Worker
    studio: Studio
    working: asyncio.Task[None]


@pytest.fixture
async def house(tmp_path: Path, models: Path) -> AsyncIterator[House]:
    """Yield a studio at work; its catalogue's bundled model is the tiny one."""
    executor = FakeExecutor()
    async with Storage.open(tmp_path / "data") as storage:
        queue = Queue(lambda: executor.slots, LIMITS)
        worker = Worker(storage, executor, queue, equal_task, no_caps, publish_every=0)
        working = asyncio.create_task(worker.run(), name="worker")
        catalogue = Catalogue(models, starter=models / "tiny")
        studio = Studio(catalogue, storage, worker, gate=allow_all)
        yield House(storage, executor, worker, studio, working)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
