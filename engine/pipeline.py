"""Encode → denoise → decode: a recipe in, events out."""

from collections.abc import Callable, Iterator
from typing import Final

import torch

from engine.conditioning import TextEncoder
from engine.decode import Previewer, decode
from engine.denoise import Denoising, evaluate
from engine.errors import Cancelled
from engine.events import Event, Picture, Progress, Stage
from engine.loading import Model
from engine.metadata import encode_png
from engine.recipe import Recipe

PREVIEW_EVERY: Final = 4  # steps


class Pipeline:
    """Run recipes on one loaded model, one job at a time."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._text = TextEncoder(model)
        self._preview = Previewer(model)

    @torch.inference_mode()
    def run(
        self, recipe: Recipe, *, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Event]:
        """Yield progress and then the pictures; raise `Cancelled` once `stopped()` says so.

        `stopped` is asked before every call of the U-Net and before every decoding.
        """
        yield Progress(stage=Stage.ENCODE, step=0, total=1)
        pictures = self._begin(recipe)
        yield Progress(stage=Stage.DENOISE, step=0, total=pictures[0].total)
        while any(picture.request for picture in pictures):
            yield from self._tick(pictures, stopped)
        for picture in pictures:
            _check(stopped)
            yield Progress(stage=Stage.DECODE, step=picture.picture, total=recipe.count)
            yield self._finish(recipe, picture)

    def _begin(self, recipe: Recipe) -> list[Denoising]:
        positive = self._text.encode(recipe.prompt)
        negative = self._text.encode(recipe.negative_prompt)
        return [
            Denoising(self.model, recipe, index, positive, negative) for index in recipe.pictures
        ]

    def _tick(self, pictures: list[Denoising], stopped: Callable[[], bool]) -> Iterator[Progress]:
        """Bring every picture one evaluation further."""
        before = pictures[0].step
        for picture in pictures:
            # One picture a call: the number of rows in a call moves the last bits of each row, and
            # a picture must come out the same alone and beside others.
            _check(stopped)
            picture.advance(evaluate(self.model, [picture])[0])
        first = pictures[0]
        if first.step > before:
            yield Progress(
                stage=Stage.DENOISE,
                step=first.step,
                total=first.total,
                preview=self._guess(first),
            )

    def _guess(self, picture: Denoising) -> bytes | None:
        wanted = picture.step % PREVIEW_EVERY == 0 and picture.step < picture.total
        return self._preview(picture.denoised) if wanted and picture.denoised is not None else None

    def _finish(self, recipe: Recipe, picture: Denoising) -> Picture:
        pixels = decode(self.model, picture.latents)
        return Picture(
            index=picture.picture,
            width=pixels.shape[1],
            height=pixels.shape[0],
            png=encode_png(pixels, recipe, picture.picture),
        )


def _check(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise Cancelled
