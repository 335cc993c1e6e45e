"""What an executor draws."""

from dataclasses import dataclass
from typing import Any

from engine.recipe.recipe import Recipe

SPEC_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A job's recipe for an executor, and which claim of the job this is.

    alone: a worker died while it drew this job; it must not share a batch again.
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
