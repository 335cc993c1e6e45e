"""A storage to work with, and the things that go into it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.events import Picture as Drawn
from engine.recipe import Recipe
from storage import NewJob, Storage

STANDARD: dict[str, Any] = {
    "prompt": "a marble scholar holding a book",
    "seed": 5,
    "steps": 20,
    "guidance_scale": 5.0,
    "width": 64,
    "height": 64,
    "sampler": "euler",
    "schedule": "normal",
    "checkpoint": "starter",
}
MakeJob = Callable[..., NewJob]


def a_recipe(**changes: Any) -> Recipe:
    """Make a valid recipe."""
    return Recipe(**{**STANDARD, **changes})


def a_job(prompt: str = STANDARD["prompt"], **changes: Any) -> NewJob:
    """Make a valid request."""
    recipe = changes.pop("recipe", None) or a_recipe(prompt=prompt)
    standard = {"person": "terminal:ada", "place": "terminal", "reply": {"chat": 1}}
    return NewJob(recipe=recipe, **{**standard, **changes})


def drawn(*contents: bytes) -> list[Drawn]:
    """Make pictures whose bytes are not worth decoding."""
    return [
        Drawn(index=index, width=64, height=64, png=content)
        for index, content in enumerate(contents or (b"png",))
    ]


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """Open a storage in a fresh folder."""
    async with Storage.open(tmp_path / "data") as storage:
        yield storage
