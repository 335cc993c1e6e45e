"""A loaded model at work: the three stages on it, and what all of its jobs share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from math import prod
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor

from engine.buckets import UNMEASURED, Buckets
from engine.canvas import Canvas
from engine.conditioning import Conditioning, TextEncoder
from engine.control import Controls, Steer
from engine.decode import Pixels, Previewer, decode, decode_tiled
from engine.denoise import Denoising, Ground, Shape, evaluate
from engine.encode import encode, encode_tiled, inpainting_input, to_images, to_mask
from engine.enlarge import stretch
from engine.errors import NotFinite, OutOfMemory
from engine.events import Stage
from engine.finite import are_finite
from engine.hints import Hint
from engine.inpainting import cover
from engine.ladder import Ladder, Rung, Way, empty_cache, ran_out
from engine.loading import Model
from engine.lora import Loras
from engine.other_vae import Vaes
from engine.places import Kind
from engine.probe import Call
from engine.recipe import Recipe
from engine.shelves import Shelf, controls

Measure = Callable[[torch.device, str, Call], Buckets]
T = TypeVar("T")

NO_CONTROLS: Final = controls(None)
# What tells calls of other costs apart: a latent's shape, and how many controls are at work.
Form = tuple[Shape, int]

# What works at one time, by its first module; controls work with the U-Net.
PARTS: Final = {
    "text_encoder": ("text_encoder", "text_encoder_2"),
    "unet": ("unet",),
    "vae": ("vae",),
}


def unmeasured(device: torch.device, what: str, call: Call) -> Buckets:
    """Take every row to cost the same, so that exact mode runs a picture a call."""
    return UNMEASURED


class Resident:
    """Hold one model's stages. Everything is called with gradients off, in one thread.

    `offloaded` keeps its modules in the machine's memory, and only the one at work on the device.
    """

    def __init__(
        self,
        model: Model,
        measure: Measure = unmeasured,
        ladder: Ladder | None = None,
        *,
        offloaded: bool = False,
        loras: Shelf | None = None,
        vaes: Shelf | None = None,
        embeddings: Shelf | None = None,
        controls: Controls | None = None,
    ) -> None:
        self.model = model
        self._loras = Loras(model, loras or Shelf(None, Kind.LORA))
        self._vaes = Vaes(model, vaes or Shelf(None, Kind.VAE))
        self.controls = controls or Controls(NO_CONTROLS)
        self.users = 0  # jobs at work on it
        self._text = TextEncoder(model, embeddings)
        self._measure = measure
        self._ladder = ladder or Ladder()
        self.cramped = False  # batches ran out of memory: from now on a picture a call
        self._offloaded = offloaded
        self._present: str | None = None  # the part on the device, when offloaded
        self.measured: dict[Form, Buckets] = {}  # what calls cost, by size and controls

    @property
    def size(self) -> int:
        """Return the bytes that its weights take, and those of the controls it has loaded."""
        modules = (module for part in PARTS for module in self._modules(part))
        return sum(weight.nbytes for module in modules for weight in module.parameters())

    def _modules(self, part: str) -> list[torch.nn.Module]:
        found = (getattr(self.model, name) for name in PARTS[part])
        modules = [module for module in found if module is not None]
        return modules + self.controls.modules if part == "unet" else modules

    def buckets(self, sample: Denoising) -> Buckets:
        """Return what calls for a picture cost, and for all others of its shape."""
        form: Form = sample.shape, len(sample.steers)
        if form not in self.measured and not self.cramped:
            self._try_to_measure(form, sample)
        if self.cramped:
            return self._guess(form).single(sample.rows)
        return self.measured[form]

    def _try_to_measure(self, form: Form, sample: Denoising) -> None:
        shape, controls = form
        what = f"{self._form} | {self.model.dtype} | {'×'.join(map(str, shape))}"
        what += f" | {controls} controls" if controls else ""
        call = partial(self._call, [sample])
        measure = partial(self._measure, self.model.device, what, call)
        ways: list[Way[Buckets]] = [(None, measure), (Rung.EMPTY_CACHE, measure)]
        try:
            self.measured[form] = self._ladder.climb(Stage.DENOISE, ways)
        except OutOfMemory:
            self.cramped = True  # the picture itself may still fit, by other ways

    def _guess(self, form: Form) -> Buckets:
        """Return what calls cost at a size, by the elements of one that was measured if need be.

        A device's time is shared between models by these figures, so their scale has to be right.
        """
        if form in self.measured or not self.measured:
            return self.measured.get(form, UNMEASURED)
        other, buckets = next(iter(self.measured.items()))
        ratio = prod(form[0]) / prod(other[0])
        return Buckets({rows: seconds * ratio for rows, seconds in buckets.seconds.items()})

    def begin(
        self, recipe: Recipe, canvas: Canvas | None = None, hints: Sequence[Hint] = ()
    ) -> list[Denoising]:
        """Encode a recipe's prompts, and start each of its pictures from its noise."""
        self._vaes.lend(recipe.vae)  # a broken one is to be known before the work, not after it
        texts = self._read(recipe)
        steers = self._steers(hints, recipe.width, recipe.height)
        ground = replace(self._ground(recipe, canvas), steers=steers)
        return [Denoising(self.model, recipe, index, *texts, ground) for index in recipe.pictures]

    def resume(
        self, recipe: Recipe, picture: int, made: Tensor | Pixels, hints: Sequence[Hint] = ()
    ) -> Denoising:
        """Begin a picture's second pass on what the first one made.

        made: its latents, [1, C, h, w], to be stretched, or enlarged pixels, [H, W, 3].
        """
        upscale = recipe.upscale
        assert upscale is not None
        assert upscale.strength is not None
        width, height = recipe.size
        scale = self.model.latent_scale
        tile = upscale.tile and upscale.tile // scale
        # A pass is painted everywhere, so that all of its tiles see the same beside them.
        seen = [min(side, tile * scale) if tile else side for side in (height, width)]
        if isinstance(made, Tensor):
            latents = stretch(made, height // scale, width // scale)
        else:
            latents = self.encode(made, recipe.vae)
        ground = Ground(
            width=width,
            height=height,
            steps=recipe.detail_steps,
            latents=latents,
            strength=upscale.strength,
            tile=tile,
            # A tile knows its place no more than the words do: it is drawn without.
            steers=() if upscale.tile else self._steers(hints, width, height),
            extra=self._beside(None, np.full(seen, 255, np.uint8), recipe.vae),
        )
        return Denoising(self.model, recipe, picture, *self._read(recipe), ground)

    def _steers(self, hints: Sequence[Hint], width: int, height: int) -> tuple[Steer, ...]:
        """Return the controls of a pass of that size in pixels; loads those that are not there."""

        def way() -> tuple[Steer, ...]:
            return tuple(self.controls.steer(hint, self.model, width, height) for hint in hints)

        ways: list[Way[tuple[Steer, ...]]] = [(None, way), (Rung.EMPTY_CACHE, way)]
        return self._ladder.climb(Stage.LOAD, ways)

    def _read(self, recipe: Recipe) -> tuple[Conditioning, Conditioning]:
        """Return the embeddings of the prompt and of the negative prompt."""

        def read() -> tuple[Conditioning, Conditioning]:
            self._bring("text_encoder")
            self._loras.use(recipe.loras)
            positive, negative = (
                self._text.encode(words, recipe.clip_skip, key=recipe.loras)
                for words in (recipe.prompt, recipe.negative_prompt)
            )
            return positive, negative

        ways: list[Way[tuple[Conditioning, Conditioning]]] = [
            (None, read),
            (Rung.EMPTY_CACHE, read),
            (Rung.OFFLOAD, partial(self._offloading, read)),
        ]
        return self._ladder.climb(Stage.ENCODE, ways)

    def _ground(self, recipe: Recipe, canvas: Canvas | None) -> Ground:
        """Return what the first pass begins on."""
        bare = Ground(width=recipe.width, height=recipe.height, steps=recipe.steps)
        if canvas is None:
            whole = np.full((recipe.height, recipe.width), 255, np.uint8)
            return replace(bare, extra=self._beside(None, whole, recipe.vae))
        assert recipe.strength is not None
        mask = np.full(canvas.pixels.shape[:2], 255, np.uint8)
        mask = mask if canvas.mask is None else canvas.mask
        extra = self._beside(canvas.pixels, mask, recipe.vae)
        # A U-Net for inpainting keeps to the picture by itself.
        held = canvas.mask is not None and extra is None
        return replace(
            bare,
            latents=self.encode(canvas.pixels, recipe.vae),
            strength=recipe.strength,
            mask=self._cover(mask) if held else None,
            extra=extra,
        )

    def _cover(self, mask: Pixels) -> Tensor:
        return cover(to_mask(mask).to(self.model.device), self.model.latent_scale)

    def _beside(self, pixels: Pixels | None, mask: Pixels, vae: str | None) -> Tensor | None:
        """Return what the U-Net sees beside x, if it is one for inpainting."""
        if not self.model.inpaints:
            return None
        images = None if pixels is None else to_images(pixels)
        return inpainting_input(images, to_mask(mask), partial(self._encode, vae=vae))

    def encode(self, pixels: Pixels, vae: str | None = None) -> Tensor:
        """Encode pixels [H, W, 3], uint8, to latents [1, C, h, w], by its VAE or one named."""
        return self._encode(to_images(pixels), vae)

    def _encode(self, images: Tensor, vae: str | None) -> Tensor:
        def way(encode: Callable[[Model, Tensor], Tensor]) -> Tensor:
            self._bring("vae")
            return encode(self._vaes.lend_to_encode(vae), images)

        tiled = partial(way, encode_tiled)
        ways: list[Way[Tensor]] = [
            (None, partial(way, encode)),
            (Rung.EMPTY_CACHE, partial(way, encode)),
            (Rung.TILED_ENCODE, tiled),
            (Rung.OFFLOAD, partial(self._offloading, tiled)),
        ]
        return self._ladder.climb(Stage.ENCODE, ways)

    def evaluate(self, batch: Sequence[Denoising], rows: int) -> list[Tensor | Exception]:
        """Answer a batch's requests in one call padded to `rows`: each `denoised`, [1, C, h, w].

        Where that fails each picture is tried alone, so that none fails by another's fault. A
        picture whose values are no numbers gets `NotFinite`.
        """
        together = partial(self._call, batch, rows)
        ways: list[Way[list[Tensor]]] = [(None, together), (Rung.EMPTY_CACHE, together)]
        try:
            return _judged(batch, self._ladder.climb(Stage.DENOISE, ways))
        except OutOfMemory:
            self.cramped = True
        except Exception as error:
            if len(batch) == 1:
                return [error]
        return _judged(batch, [self._alone(picture, rows) for picture in batch])

    def _alone(self, picture: Denoising, rows: int) -> Tensor | Exception:
        ways: list[Way[list[Tensor]]] = [(None, partial(self._call, [picture], rows))]
        if self.cramped:
            one = partial(self._call, [picture], picture.rows)
            ways = [(Rung.BATCH_OF_ONE, one), (Rung.OFFLOAD, partial(self._offloading, one))]
        try:
            return self._ladder.climb(Stage.DENOISE, ways)[0]
        except Exception as error:
            return error

    def _call(self, batch: Sequence[Denoising], rows: int) -> list[Tensor]:
        self._bring("unet")
        self._loras.use(batch[0].loras)
        return evaluate(self.model, batch, rows)

    def preview(self, denoised: Tensor) -> bytes | None:
        """Return a small JPEG of latents [1, C, h, w], or None where memory is too short."""
        try:
            return self._preview(denoised)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            return None

    def decode(self, latents: Tensor, vae: str | None = None) -> Pixels:
        """Decode latents [1, C, h, w] to pixels [H, W, 3], uint8, by its VAE or one named."""

        # One picture a call: what stands beside it would move its last bits.
        def way(decode: Callable[[Model, Tensor], Pixels]) -> Pixels:
            self._bring("vae")
            return decode(self._vaes.lend(vae), latents)

        tiled = partial(way, decode_tiled)
        ways: list[Way[Pixels]] = [
            (None, partial(way, decode)),
            (Rung.EMPTY_CACHE, partial(way, decode)),
            (Rung.TILED_DECODE, tiled),
            (Rung.OFFLOAD, partial(self._offloading, tiled)),
        ]
        return self._ladder.climb(Stage.DECODE, ways)

    @cached_property
    def _preview(self) -> Previewer:
        self._bring("vae")
        return Previewer(self._vaes.for_previews(), self._vaes.tiny())

    @cached_property
    def _form(self) -> str:
        """Return what tells models of one form and size from others."""
        form = json.dumps(dict(self.model.unet.config), sort_keys=True, default=str)
        return hashlib.sha256(form.encode()).hexdigest()[:16]

    def _offloading(self, way: Callable[[], T]) -> T:
        self._offloaded = True
        return way()

    def _bring(self, part: str) -> None:
        """See that a part is on the device, when not all of them can be."""
        if not self._offloaded or self._present == part:
            return
        self._present = None  # until all is done: a move that fails leaves a part in two places
        for other in PARTS:
            if other != part:
                self._move(other, torch.device("cpu"))
        self._move(part, self.model.device)
        self._present = part
        empty_cache()

    def _move(self, part: str, device: torch.device) -> None:
        for module in self._modules(part):
            module.to(device)


def _judged(
    batch: Sequence[Denoising], answers: Sequence[Tensor | Exception]
) -> list[Tensor | Exception]:
    """Return a batch's answers, with an error in the place of each that is no number."""
    finite = iter(are_finite([answer for answer in answers if isinstance(answer, Tensor)]))
    return [
        NotFinite.in_step(picture.step + 1, picture.total)
        if isinstance(answer, Tensor) and not next(finite, True)
        else answer
        for picture, answer in zip(batch, answers, strict=True)
    ]
