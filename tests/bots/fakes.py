"""Stand-ins for the engine that do what a script says, without a model."""

import asyncio
import threading
from collections.abc import AsyncGenerator

from engine.errors import Cancelled
from engine.events import Event, Picture, Progress, Stage
from engine.metadata import encode_png
from engine.recipe import Recipe
from tests.factories import pixels


class FakeExecutor:
    """Draw plain pictures; wait before them while `gate` is closed; fail with `error` if set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.error: Exception | None = None

    async def run(self, recipe: Recipe, stop: threading.Event) -> AsyncGenerator[Event]:
        yield Progress(stage=Stage.DENOISE, step=0, total=recipe.steps)
        self.begun.set()
        while not self.gate.is_set():
            if stop.is_set():
                raise Cancelled
            await asyncio.sleep(0)
        if self.error:
            raise self.error
        for index in recipe.pictures:
            image = pixels(recipe.seed + index)
            yield Picture(index=index, width=8, height=8, png=encode_png(image, recipe, index))
