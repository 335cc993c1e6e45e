"""Draw one small picture with a model, and measure each stage."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from engine.device.backends import most_memory, pick_device
from engine.errors import EngineError
from engine.events import Ended, Progress, Stage
from engine.executors.config import EngineConfig
from engine.executors.opening import open_pipeline
from engine.models.catalogue import Checkpoint
from engine.pipeline.pipeline import Pipeline
from engine.recipe.recipe import Recipe
from engine.spec import Spec

PROMPT: Final = "a marble scholar holding a book"
SIDE: Final = 512  # pixels at most
STEPS: Final = 4  # at most


@dataclass(frozen=True, slots=True)
class Measured:
    """What a stage took: seconds, and the most memory until its end, in bytes.

    That is the device's memory on CUDA, elsewhere the process's.
    """

    stage: Stage
    seconds: float
    memory: int


def try_out(checkpoint: Checkpoint, config: EngineConfig) -> list[Measured]:
    """Draw a small picture as `marble serve` would, or raise the `MarbleError` that it ends with.

    Returns each stage in order; that of denoising includes measuring calls, where the device does
    not know their cost yet.
    """
    with closing(open_pipeline(config)) as pipeline:
        return _measure(pipeline, checkpoint, config)


def _measure(pipeline: Pipeline, checkpoint: Checkpoint, config: EngineConfig) -> list[Measured]:
    pipeline.admit(Spec(job=0, epoch=1, recipe=small_recipe(checkpoint)))
    begun, stages = time.monotonic(), dict[Stage, float]()
    memory: dict[Stage, int] = {}
    last = Stage.LOAD
    error: BaseException | None = EngineError("nothing was drawn")
    while pipeline.busy:
        for report in pipeline.tick():
            now = time.monotonic()
            stages[last] = stages.get(last, 0.0) + now - begun
            memory[last] = most_memory(pick_device(config.device))
            begun = now
            if isinstance(report.news, Progress):
                last = report.news.stage
            elif isinstance(report.news, Ended):
                error = report.news.error
    if error:
        raise error
    return [Measured(stage, seconds, memory[stage]) for stage, seconds in stages.items()]


def small_recipe(checkpoint: Checkpoint) -> Recipe:
    """Return a recipe of a small picture in few steps, by the model's own defaults."""
    its = checkpoint.defaults
    side = min(SIDE, its.width, its.height) // checkpoint.multiple * checkpoint.multiple
    return Recipe(
        prompt=PROMPT,
        seed=1,
        steps=min(STEPS, its.steps),
        guidance_scale=its.guidance_scale,
        width=side,
        height=side,
        sampler=its.sampler,
        schedule=its.schedule,
        checkpoint=checkpoint.name,
    )
