"""Engines to put behind `MARBLE_EXECUTOR=module:factory`: they answer at once, without a model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

from engine.events import Event, Picture, Progress, Stage
from engine.executors import Health, ManagedExecutor, Spec
from engine.executors.config import EngineConfig
from engine.metadata import encode_png
from tests.factories import pixels


class InstantExecutor(ManagedExecutor):
    """Draw noise of the right size that depends on the seed alone."""

    slots = 8

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def drain(self, seconds: float) -> bool:
        return True

    def health(self) -> Health:
        return Health(alive=True, running=0)

    def cancel(self, job: int, epoch: int) -> None:
        pass

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        recipe = spec.recipe
        yield Progress(stage=Stage.DENOISE, step=recipe.steps, total=recipe.steps)
        for index in recipe.pictures:
            image = pixels(recipe.seed + index, recipe.width // 8, recipe.height // 8)
            png = encode_png(image, recipe, index)
            yield Picture(index=index, width=image.shape[1], height=image.shape[0], png=png)


def instant(config: EngineConfig) -> ManagedExecutor:
    """Return an engine that answers at once."""
    return InstantExecutor()
