"""Make what tests need many of, with only what matters to the test spelled out."""

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.recipe.recipe import Recipe
from storage import Job, NewJob, Storage
from storage.jobs.place_tree import line_of
from storage.records import Line

SMALL: dict[str, Any] = {
    "prompt": "a marble scholar",
    "seed": 7,
    "steps": 4,
    "guidance_scale": 4.0,
    "width": 64,
    "height": 64,
    "sampler": "euler",
    "schedule": "normal",
    "checkpoint": "starter",
}


def make_recipe(**changes: Any) -> Recipe:
    """Return a small valid recipe with some values changed."""
    return Recipe(**{**SMALL, **changes})


def pixels(seed: int, width: int = 8, height: int = 8) -> npt.NDArray[np.uint8]:
    """Return random pixels, uint8 [height, width, 3]."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


async def line_in(storage: Storage, place: str) -> Line:
    """Return a place and what it lies in, each with its own settings."""
    return await storage.database.read(lambda c: line_of(c, place))


async def add_claimed(storage: Storage, new: NewJob) -> Job:
    """Add a job and claim it for this process."""
    job = await storage.worker.claim((await storage.jobs.add(new)).id)
    assert job is not None
    return job
