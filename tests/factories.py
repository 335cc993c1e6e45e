"""Make what tests need many of, with only what matters to the test spelled out."""

from typing import Any

from engine.recipe import Recipe

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
