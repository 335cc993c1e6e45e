"""What an executor is given to draw."""

from dataclasses import dataclass
from typing import Any

from engine.recipe.recipe import Recipe

SPEC_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Say what an executor is to draw: a job's recipe, and which claim of the job this is.

    `alone` marks a job that took a worker with it before: it must not share a batch again.
    """

    job: int
    epoch: int
    recipe: Recipe
    alone: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as they cross to another process."""
        return {
            "version": SPEC_VERSION,
            "job": self.job,
            "epoch": self.epoch,
            "recipe": self.recipe.to_dict(),
            "alone": self.alone,
        }
