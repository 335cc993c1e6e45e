"""A loaded model at work: the three stages on it, and what all of its jobs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from engine.decode.encode import encode, encode_tiled, inpainting_input, to_images, to_mask
from engine.decode.external_vae import ExternalVaes
from engine.decode.vae import Pixels, Previewer, decode, decode_tiled
from engine.denoise.control import ActiveControl, Controls
from engine.denoise.denoising import Denoising, PassInputs, evaluate
from engine.denoise.inpainting import latent_mask
from engine.device.backends import is_out_of_memory
from engine.device.finite import are_finite
from engine.device.out_of_memory import Ladder, Rung, Way
from engine.device.tensor_bytes import module_bytes
from engine.errors import NotFinite, OutOfMemory
from engine.events import Stage
from engine.finish.upscale import upscale_latents
from engine.loading.lora import Loras
from engine.loading.model import Model
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pictures.control_images import ControlImage
from engine.pictures.start_image import StartImage
from engine.pipeline.costs import Costs, Measure
from engine.pipeline.placement import PARTS, Placement
from engine.recipe.recipe import Recipe
from engine.text_encode.conditioning import Conditioning, TextEncoder

T = TypeVar("T")


class Resident:
    """One model's stages. Everything is called with gradients off, in one thread.

    `offloaded` keeps its modules in the machine's memory, and only the one at work on the device.
    """

    def __init__(
        self,
        model: Model,
        models_dir: Path | None,
        measure: Measure,
        ladder: Ladder,
        make_room: Callable[[int], object],
        *,
        offloaded: bool,
    ) -> None:
        self.model = model
        self.users = 0  # running jobs
        self.controls = Controls(ModelFiles(models_dir, ModelKind.CONTROLNET), make_room)
        self._loras = Loras(model, ModelFiles(models_dir, ModelKind.LORA), make_room)
        self._vaes = ExternalVaes(model, ModelFiles(models_dir, ModelKind.VAE), make_room)
        self._text = TextEncoder(model, ModelFiles(models_dir, ModelKind.EMBEDDING))
        self._ladder = ladder
        modules = partial(_modules, model, self._vaes, self.controls)
        name = model.checkpoint.name
        self._parts = Placement(model.device, modules, name, ladder.short, offloaded=offloaded)
        self.costs = Costs(model, measure, ladder, partial(_prepare, self._parts, self._loras))

    @property
    def size(self) -> int:
        """Return the bytes that it takes on the device, with all that is loaded to work with it.

        An offloaded model counts whole: it is to have room when it comes back.
        """
        own = (getattr(self.model, name) for names in PARTS.values() for name in names)
        modules = [*filter(None, own), *self.controls.modules]
        return module_bytes(modules) + self._vaes.size + self._loras.size + self._text.size

    def begin(
        self,
        recipe: Recipe,
        start_image: StartImage | None = None,
        control_images: Sequence[ControlImage] = (),
    ) -> list[Denoising]:
        """Encode a recipe's prompts, and start each of its pictures from its noise."""
        self._parts.settle()
        # A broken one is to be known before the work, not after it.
        self._load(partial(self._vaes.decoder, recipe.vae))
        texts = self._read(recipe)
        controls = self._active_controls(control_images, recipe.width, recipe.height)
        inputs = replace(self._first_inputs(recipe, start_image), controls=controls)
        return [Denoising(self.model, recipe, index, *texts, inputs) for index in recipe.pictures]

    def resume(
        self,
        recipe: Recipe,
        picture: int,
        made: Tensor | Pixels,
        control_images: Sequence[ControlImage] = (),
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
            latents = upscale_latents(made, height // scale, width // scale)
        else:
            latents = self.encode(made, recipe.vae)
        inputs = PassInputs(
            width=width,
            height=height,
            steps=recipe.second_pass_steps,
            latents=latents,
            strength=upscale.strength,
            tile=tile,
            # A tile knows its place no more than the words do: it is drawn without.
            controls=() if upscale.tile else self._active_controls(control_images, width, height),
            extra=self._beside(None, np.full(seen, 255, np.uint8), recipe.vae),
        )
        return Denoising(self.model, recipe, picture, *self._read(recipe), inputs)

    def _active_controls(
        self, control_images: Sequence[ControlImage], width: int, height: int
    ) -> tuple[ActiveControl, ...]:
        """Return the controls of a pass of that size in pixels; loads those that are not there."""

        def way() -> tuple[ActiveControl, ...]:
            return tuple(
                self.controls.activate(control_image, self.model, width, height)
                for control_image in control_images
            )

        return self._load(way)

    def _load(self, way: Callable[[], T]) -> T:
        """Load what works with the model, or raise `OutOfMemory`."""
        return self._ladder.climb(Stage.LOAD, [(None, way), (Rung.EMPTY_CACHE, way)])

    def _read(self, recipe: Recipe) -> tuple[Conditioning, Conditioning]:
        """Return the embeddings of the prompt and of the negative prompt."""

        def read() -> tuple[Conditioning, Conditioning]:
            self._parts.bring("text_encoder")
            self._loras.use(recipe.loras)
            positive, negative = (
                self._text.encode(words, recipe.clip_skip, key=recipe.loras)
                for words in (recipe.prompt, recipe.negative_prompt)
            )
            return positive, negative

        ways: list[Way[tuple[Conditioning, Conditioning]]] = [
            (None, read),
            (Rung.EMPTY_CACHE, read),
            (Rung.OFFLOAD, partial(self._parts.offload, read)),
        ]
        return self._ladder.climb(Stage.ENCODE, ways)

    def _first_inputs(self, recipe: Recipe, start_image: StartImage | None) -> PassInputs:
        """Return what the first pass begins on."""
        bare = PassInputs(width=recipe.width, height=recipe.height, steps=recipe.steps)
        if start_image is None:
            whole = np.full((recipe.height, recipe.width), 255, np.uint8)
            return replace(bare, extra=self._beside(None, whole, recipe.vae))
        assert recipe.strength is not None
        mask = np.full(start_image.pixels.shape[:2], 255, np.uint8)
        mask = mask if start_image.mask is None else start_image.mask
        extra = self._beside(start_image.pixels, mask, recipe.vae)
        # A U-Net for inpainting keeps to the picture by itself.
        held = start_image.mask is not None and extra is None
        return replace(
            bare,
            latents=self.encode(start_image.pixels, recipe.vae),
            strength=recipe.strength,
            mask=self._cover(mask) if held else None,
            extra=extra,
        )

    def _cover(self, mask: Pixels) -> Tensor:
        return latent_mask(to_mask(mask).to(self.model.device), self.model.latent_scale)

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
            self._parts.bring("vae")
            return encode(self._vaes.encoder(vae), images)

        tiled = partial(way, encode_tiled)
        ways: list[Way[Tensor]] = [
            (None, partial(way, encode)),
            (Rung.EMPTY_CACHE, partial(way, encode)),
            (Rung.TILED_ENCODE, tiled),
            (Rung.OFFLOAD, partial(self._parts.offload, tiled)),
        ]
        return self._ladder.climb(Stage.ENCODE, ways)

    def evaluate(self, batch: Sequence[Denoising], rows: int) -> list[Tensor | Exception]:
        """Answer a batch's requests in one call padded to `rows`: each `denoised`, [1, C, h, w].

        Where that fails each picture is tried alone, so that none fails by another's fault; with
        the same number of rows, so that none loses its last bits by it either. A picture whose
        values are no numbers gets `NotFinite`.
        """
        first = self._try(batch, rows, None, Rung.EMPTY_CACHE)
        if not isinstance(first, Exception):
            return _judged(batch, first)
        answers: list[Tensor | Exception] = [first]
        if len(batch) > 1:
            del first, answers[:]  # with the tensors of the frames that it came through
            answers += [self._alone(picture, rows) for picture in batch]
        return _judged(batch, self._narrowed(batch, rows, answers))

    def _narrowed(
        self, batch: Sequence[Denoising], rows: int, answers: Sequence[Tensor | Exception]
    ) -> list[Tensor | Exception]:
        """Return answers, tried again with a picture's own rows where `rows` had no room."""
        fits = any(isinstance(answer, Tensor) for answer in answers)
        found = list(answers)
        for number, picture in enumerate(batch):
            if isinstance(found[number], OutOfMemory):
                ways = Rung.BATCH_OF_ONE, Rung.OFFLOAD
                found[number] = self._alone(picture, picture.rows, *ways)
                # Only what fits with fewer rows says something of their number.
                if isinstance(found[number], Tensor) and picture.rows < rows:
                    self.costs.limit(picture, form=not fits)
        return found

    def _alone(self, picture: Denoising, rows: int, *rungs: Rung) -> Tensor | Exception:
        """Answer one picture's request in a call padded to `rows`, or return why not."""
        found = self._try([picture], rows, *rungs or (None,))
        return found if isinstance(found, Exception) else found[0]

    def _try(
        self, batch: Sequence[Denoising], rows: int, *rungs: Rung | None
    ) -> list[Tensor] | Exception:
        """Call the U-Net for a batch, on these rungs in turn; return what it says, or why not."""
        call = partial(self._call, batch, rows)
        offloaded = partial(self._parts.offload, call)
        ways = [(rung, offloaded if rung is Rung.OFFLOAD else call) for rung in rungs]
        try:
            return self._ladder.climb(Stage.DENOISE, ways)
        except OutOfMemory as error:
            # Its frames hold whoever asked, and those hold it: such a circle keeps the model.
            return error.with_traceback(None)
        except Exception as error:
            return error

    def _call(self, batch: Sequence[Denoising], rows: int) -> list[Tensor]:
        self._parts.bring("unet")
        self._loras.use(batch[0].loras)
        return evaluate(self.model, batch, rows)

    def preview(self, denoised: Tensor) -> bytes | None:
        """Return a small JPEG of latents [1, C, h, w], or None where memory is too short."""
        try:
            return self._preview(denoised)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def decode(self, latents: Tensor, vae: str | None = None) -> Pixels:
        """Decode latents [1, C, h, w] to pixels [H, W, 3], uint8, by its VAE or one named."""

        # One picture a call: what stands beside it would move its last bits.
        def way(decode: Callable[[Model, Tensor], Pixels]) -> Pixels:
            self._parts.bring("vae")
            return decode(self._vaes.decoder(vae), latents)

        tiled = partial(way, decode_tiled)
        ways: list[Way[Pixels]] = [
            (None, partial(way, decode)),
            (Rung.EMPTY_CACHE, partial(way, decode)),
            (Rung.TILED_DECODE, tiled),
            (Rung.OFFLOAD, partial(self._parts.offload, tiled)),
        ]
        return self._ladder.climb(Stage.DECODE, ways)

    @cached_property
    def _preview(self) -> Previewer:
        self._parts.bring("vae")
        return Previewer(self._vaes.for_previews(), self._vaes.load_tiny())


def _modules(model: Model, vaes: ExternalVaes, controls: Controls, part: str) -> list[Any]:
    """Return what a part of a model consists of, and what is loaded to work with it."""
    found = [getattr(model, name) for name in PARTS[part]]
    beside = {"unet": controls.modules, "vae": vaes.modules}.get(part, [])
    return [module for module in found if module is not None] + beside


def _prepare(parts: Placement, loras: Loras) -> None:
    """Let a U-Net be called as it is."""
    parts.bring("unet")
    loras.use(())


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
