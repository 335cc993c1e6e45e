"""An engine that answers at once, for whole processes: `MARBLE_EXECUTOR=tests.fakes.instant:make`.

It does what the prompt says: "wait" stays at its first step until a file `gate` lies in the data
folder, "preview" shows one and then waits so, "slowly" waits so behind the first picture, "fail"
ends with a sentence for people, "break" with an error that nobody expected, "tear" with a model
that cannot be loaded. Pictures are noise that only their seed decides.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Self

from PIL import Image

from engine.errors import BrokenModel, Cancelled, EngineError, UserError
from engine.events import Event, Picture, Progress, Stage
from engine.executors import Executor, Health
from engine.executors.config import EngineConfig
from engine.formats.metadata import write_png
from engine.making_of.record import put_into
from engine.spec import Spec
from tests.factories import make_record, pixels

LOOK = 0.01  # seconds between looks for the gate
BEAT = 0.01  # seconds between measurements of the lag


class InstantExecutor(Executor):
    """Draw noise."""

    slots = 64

    def __init__(self, gate: Path) -> None:
        self._gate = gate
        self._cancelled: set[tuple[int, int]] = set()

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def ready(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def health(self) -> Health:
        return Health(alive=True)

    def cancel(self, job: int, epoch: int) -> None:
        self._cancelled.add((job, epoch))

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        async for event in self._draw(spec, (spec.job, spec.epoch)):
            yield event

    async def _draw(self, spec: Spec, key: tuple[int, int]) -> AsyncGenerator[Event]:
        recipe = spec.recipe
        words = recipe.prompt.split()
        preview = _jpeg() if "preview" in words else None
        yield Progress(stage=Stage.DENOISE, step=1, total=recipe.steps, preview=preview)
        if {"wait", "preview"} & {*words}:
            await self._wait(key)
        if "fail" in words:
            raise UserError("The marble cracked.")
        if "tear" in words:
            raise BrokenModel("starter", "it is torn.")
        if "break" in words:
            raise EngineError("inner words")
        for number, index in enumerate(recipe.pictures):
            if number == 1 and "slowly" in words:
                await self._wait(key)
            image = pixels(recipe.seed % 2**32 + index, recipe.width, recipe.height)
            png = write_png(image, recipe, index)
            if spec.making_of:
                png = put_into(png, make_record(png, recipe.prompt))
            yield Picture(index=index, width=recipe.width, height=recipe.height, png=png)

    async def _wait(self, key: tuple[int, int]) -> None:
        while not self._gate.exists():
            if key in self._cancelled:
                raise Cancelled
            await asyncio.sleep(LOOK)


def make(config: EngineConfig) -> InstantExecutor:
    assert config.notes is not None
    executor = InstantExecutor(config.notes.parent / "gate")
    executor.slots = int(os.environ.get("TESTS_SLOTS", executor.slots))
    return executor


def _jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), "gray").save(out, "JPEG")
    return out.getvalue()


class WatchedExecutor(InstantExecutor):
    """Draw at once, and measure how long its event loop keeps others waiting."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "gate")
        self._file = folder / "lag.json"
        self._lags: list[float] = []
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watch = asyncio.create_task(self._measure(), name="lag")
        return self

    async def close(self) -> None:
        if self._watch:
            self._watch.cancel()
        lags = sorted(self._lags)
        found = {f"p{part}": lags[len(lags) * part // 100] * 1000 for part in (50, 90, 99)}
        self._file.write_text(json.dumps(found))

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(BEAT)
            self._lags.append(loop.time() - before - BEAT)


class BrokenExecutor(InstantExecutor):
    """Fail where the process cannot go on."""

    @property
    def slots(self) -> int:  # type: ignore[override]
        raise RuntimeError("no slots")


def make_broken(config: EngineConfig) -> BrokenExecutor:
    return BrokenExecutor(Path())


def make_watched(config: EngineConfig) -> WatchedExecutor:
    assert config.notes is not None
    return WatchedExecutor(config.notes.parent)
