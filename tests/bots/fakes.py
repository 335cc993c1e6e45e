"""Stand-ins for the engine that do what a script says, without a model."""

import asyncio
from collections.abc import AsyncGenerator, Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bots.admission.gate import Admission
from bots.operations.settings import load_settings
from bots.requests.studio import Asker
from bots.worker.queue_view import task_of
from engine.errors import Cancelled
from engine.events import Event, Picture, Progress, Stage
from engine.executors import Executor, Health
from engine.executors.embedding import DamagedPicture, Embedding, TowersFailed, Vector
from engine.formats.metadata import write_png
from engine.models import catalogue
from engine.models.catalogue import Checkpoint
from engine.queue.tasks import Caps, Task
from engine.recipe.recipe import Recipe
from engine.spec import Spec
from storage import Job
from tests.factories import pixels


async def allow_all(
    recipe: Recipe, asker: Asker, lacks: Container[str] = (), count: int = 1
) -> Admission:
    """Admit everything."""
    return Admission()


async def no_caps(person: str, place: str) -> Caps:
    """Limit nothing but the executor's slots."""
    return ()


def equal_task(job: Job, caps: Caps = ()) -> Task:
    """Give every job the same priority."""
    return task_of(load_settings({}, env_file=""), job, caps)


class FakeExecutor(Executor):
    """Draw plain pictures; wait before them while `gate` is closed; fail with `error` if set.

    A `deaf` one does not hear of cancelling, as one that does not know the job yet; one that is not
    `made` yet takes no jobs.
    """

    slots = 1

    def __init__(self) -> None:
        self.wanted, self.made = asyncio.Event(), asyncio.Event()
        self.made.set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.full = asyncio.Event()
        self.error: Exception | None = None
        self.errors: list[Exception] = []  # for one job each
        self.unloadable: list[Exception] = []  # for one job each, while it loads
        self.deaf = False
        self.loads = False
        self.preview: bytes | None = None  # a JPEG of each picture at its first step
        self.times = 1  # its pictures are of 8 × 8 pixels, or so many times as wide and high
        self.specs: list[Spec] = []
        self.cancelled: set[tuple[int, int]] = set()
        self.running = 0
        self.most = 0
        self.finished = 0

    async def __aexit__(self, *error: object) -> None:
        pass

    async def ready(self) -> None:
        self.wanted.set()
        await self.made.wait()

    def cancel(self, job: int, epoch: int) -> None:
        if not self.deaf:
            self.cancelled.add((job, epoch))

    def health(self) -> Health:
        return Health(alive=True, counts={"ticks": self.finished})

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        self.specs.append(spec)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            async for event in self._draw(spec):
                yield event
            self.finished += 1
        finally:
            self.running -= 1

    async def _draw(self, spec: Spec) -> AsyncGenerator[Event]:
        recipe = spec.recipe
        if self.loads:
            yield Progress(stage=Stage.LOAD, step=0, total=1)
            if self.unloadable:
                raise self.unloadable.pop(0)
        total, preview = recipe.steps, self.preview
        yield Progress(stage=Stage.DENOISE, step=0, total=total, preview=preview)
        self.begun.set()
        if self.running == self.slots:
            self.full.set()
        while not self.gate.is_set():
            if (spec.job, spec.epoch) in self.cancelled:
                raise Cancelled
            await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        if self.error:
            raise self.error
        for index in recipe.pictures:
            image = pixels(recipe.seed + index).repeat(self.times, 0).repeat(self.times, 1)
            side = len(image)
            yield Picture(index=index, width=side, height=side, png=write_png(image, recipe, index))


DISTILLED: Mapping[str, Any] = {
    "lacks": frozenset(
        {"negative_prompt", "guidance_scale", "guidance_rescale", "controls", "vae"}
    ),
    "multiple": 16,
}
EDITING: Mapping[str, Any] = {**DISTILLED, "references": 2, "weighs": False}


def editing_settings(folder: Path) -> dict[str, str]:
    """Make a folder of models in one; return the settings by which its `kontext` edits by words.

    It is the bundled model; the process must be `tests.forked.serve`.
    """
    models = folder / "models"
    models.mkdir()
    (models / "kontext").symlink_to(catalogue.STARTER_FOLDER)
    return {"MARBLE_MODELS_DIR": str(models), "MARBLE_TEST_EDITING": "kontext"}


def alter(patch: pytest.MonkeyPatch, **models: Mapping[str, Any]) -> None:
    """Let models in folders, by their names, have other properties than their files tell."""
    describe = catalogue.describe

    def altered(name: str, folder: Path, *parts: Any) -> Checkpoint:
        found, changes = describe(name, folder, *parts), dict(models.get(name, {}))
        if "guidance_scale" in changes.get("lacks", ()):
            changes["defaults"] = replace(found.defaults, guidance_scale=1.0)
        return replace(found, **changes)

    patch.setattr(catalogue, "describe", altered)


class FakeEmbedding(Embedding):
    """Gives vectors by the first byte of a file or text; raises where it is told to."""

    def __init__(self) -> None:
        super().__init__("scripted")
        self._known = ("scripted-1", 4)
        self.broken: set[bytes] = set()
        self.nan: set[bytes] = set()
        self.deadly: set[bytes] = set()
        self.fails = False
        self.asked: list[int] = []

    async def start(self) -> None:
        if self.fails:
            raise TowersFailed

    async def pictures(self, pictures: Sequence[bytes]) -> list[Vector]:
        await self.start()
        self.asked.append(len(pictures))
        if self.deadly & set(pictures):
            raise TowersFailed
        for number, picture in enumerate(pictures):
            if picture in self.broken:
                raise DamagedPicture(number)
        return [self._vector(picture, picture in self.nan) for picture in pictures]

    async def text(self, text: str) -> Vector:
        return self._vector(text.encode(), text == "nan")

    def _vector(self, data: bytes, is_nan: bool) -> Vector:
        found = np.random.default_rng(list(data[:200])).standard_normal(4)
        return np.array(found / np.linalg.norm(found) * (np.nan if is_nan else 1), np.float32)
