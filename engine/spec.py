"""A job as executors draw it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from engine.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A job's recipe, and the epoch of its claim.

    alone: a process died while it drew this job, which therefore must not run beside other jobs;
    engine: which engine of a pool draws it (`Health.engines`; empty: any).
    making_of: its one picture is drawn with a tap that records how it came about.
    """

    job: int
    epoch: int
    recipe: Recipe
    alone: bool = False
    engine: str = ""
    making_of: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, for another process."""
        return {**asdict(self), "recipe": self.recipe.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the values of `to_dict`."""
        return cls(**{**data, "recipe": Recipe.from_dict(data["recipe"])})
