"""A loaded model at work: the three stages on it, and what all of its jobs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from torch import Tensor

from engine.buckets import UNMEASURED, Buckets
from engine.conditioning import TextEncoder
from engine.decode import Pixels, Previewer, decode
from engine.denoise import Denoising, evaluate
from engine.loading import Model
from engine.recipe import Recipe

Shape = tuple[int, int, int]  # one latent's: C, h, w
Measure = Callable[[Model, Shape], Buckets]


def unmeasured(model: Model, shape: Shape) -> Buckets:
    """Take every row to cost the same, so that exact mode runs a picture a call."""
    return UNMEASURED


class Resident:
    """Hold one model's stages. Everything is called with gradients off, in one thread."""

    def __init__(self, model: Model, measure: Measure = unmeasured) -> None:
        self.model = model
        self._text = TextEncoder(model)
        self._measure = measure
        self._buckets: dict[Shape, Buckets] = {}

    @cached_property
    def size(self) -> int:
        """Return the bytes that its weights take."""
        modules = (self.model.unet, self.model.vae, self.model.text_encoder)
        return sum(weight.nbytes for module in modules for weight in module.parameters())

    def shape(self, recipe: Recipe) -> Shape:
        """Return the shape of one of a recipe's latents."""
        scale = self.model.latent_scale
        return self.model.latent_channels, recipe.height // scale, recipe.width // scale

    def buckets(self, recipe: Recipe) -> Buckets:
        """Return what calls cost at a recipe's size."""
        shape = self.shape(recipe)
        if shape not in self._buckets:
            self._buckets[shape] = self._measure(self.model, shape)
        return self._buckets[shape]

    def begin(self, recipe: Recipe) -> list[Denoising]:
        """Encode a recipe's prompts, and start each of its pictures from its noise."""
        positive = self._text.encode(recipe.prompt)
        negative = self._text.encode(recipe.negative_prompt)
        return [
            Denoising(self.model, recipe, index, positive, negative) for index in recipe.pictures
        ]

    def evaluate(self, batch: Sequence[Denoising], rows: int) -> list[Tensor]:
        """Answer a batch's requests in one call padded to `rows`: each `denoised`, [1, C, h, w]."""
        return evaluate(self.model, batch, rows)

    def preview(self, denoised: Tensor) -> bytes:
        """Return a small JPEG of latents [1, C, h, w]."""
        return self._preview(denoised)

    def decode(self, latents: Tensor) -> Pixels:
        """Decode one picture's latents [1, C, h, w] to pixels [H, W, 3], uint8."""
        # One picture a call: what stands beside it would move its last bits.
        return decode(self.model, latents)

    @cached_property
    def _preview(self) -> Previewer:
        return Previewer(self.model)
