"""What looks on while a job is drawn.

A tap changes nothing of its job, which has calls of the network of its own, with as many rows as
any other's: so the picture is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from torch import Tensor

from engine.denoise.denoising import Denoising
from engine.events import Picture, Stage
from engine.pipeline.loaded_model import LoadedModel
from engine.recipe.recipe import Recipe


class Tap:
    """Looks on while one job is drawn; this one at nothing."""

    def spent(self, stage: Stage, seconds: float) -> None:
        """Take the seconds of a stage, or of a part of it."""

    def timed(self, stage: Stage) -> AbstractContextManager[None]:
        """Return what measures a stage, or a part of it."""
        return nullcontext()

    def began(self, loaded_model: LoadedModel, recipe: Recipe, picture: Denoising) -> None:
        """Look at a picture that a model begins, or goes on with; recipe: as it draws it."""

    def stepped(self, picture: Denoising) -> None:
        """Look at a picture after a call of the network."""

    def denoised(self, latents: Tensor) -> None:
        """Look at latents [1, C, h, w] before they are decoded."""

    def finished(self, picture: Picture) -> Picture:
        """Return what is handed over in a picture's place; called in any thread."""
        return picture


OpenTap = Callable[[], Tap]  # for a job whose making-of is asked for
UNTAPPED: Final = Tap()
