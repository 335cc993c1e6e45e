"""A loaded model: its three stages, with the memory ladder, for all jobs that use it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from engine.decode.encode import encode, encode_whole, to_images, to_mask, without_painted
from engine.decode.external_vae import ExternalVaes
from engine.decode.tiled_vae import decode_in_tiles, encode_in_tiles
from engine.decode.vae import Pixels, Previewer, decode, decode_whole
from engine.denoise.areas import place
from engine.denoise.conditions import Conditions, needs_negative
from engine.denoise.control import ActiveControl, Controls
from engine.denoise.denoising import (
    Begun,
    Denoising,
    PassInputs,
    check_second_pass,
    evaluate,
    schedule_of,
    shape_of,
)
from engine.denoise.inpainting import latent_mask
from engine.denoise.noise import JobNoise
from engine.denoise.samplers import SAMPLERS
from engine.device.backends import is_out_of_memory
from engine.device.finite import are_finite
from engine.device.out_of_memory import Ladder, Rung, Way
from engine.device.tensor_bytes import module_bytes
from engine.errors import NotFinite, OutOfMemory
from engine.events import Stage
from engine.finish.upscale import upscale_latents
from engine.loading.lora import Loras
from engine.loading.model import Conditioning, Model
from engine.models.folders import ModelKind
from engine.models.model_files import WatchedFiles
from engine.models.parts import NETWORK
from engine.pictures.control_images import ControlImage
from engine.pictures.start_image import StartImage
from engine.pipeline.costs import Costs, Measure
from engine.pipeline.placement import PARTS, TEXT, VAE, Placement
from engine.recipe.conditions import calls_of, sides_of, texts_of, written
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence
from engine.text_encode.conditioning import CACHED, TextEncoder
from engine.text_encode.prompts import Piece

T = TypeVar("T")


class LoadedModel:
    """A loaded model, called in one thread with gradients off.

    models_dir: where its LoRAs, VAEs, embeddings and ControlNets are; make_room: called with the
    bytes of one of them before it is loaded; offloaded: keep its parts in main memory, and only the
    one that is used next on the device; in_turns: they never fit there together.
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
        in_turns: bool = False,
        by_groups: Collection[str] = (),
    ) -> None:
        self.model = model
        self.users = 0  # running jobs
        kinds = (ModelKind.CONTROLNET, ModelKind.LORA, ModelKind.VAE, ModelKind.EMBEDDING)
        self._files = [WatchedFiles(models_dir, kind) for kind in kinds]
        controls, loras, vaes, embeddings = self._files
        self.controls = Controls(controls, make_room)
        self._loras = Loras(model, loras, make_room)
        self._vaes = ExternalVaes(model, vaes, make_room)
        self._text = TextEncoder(model, embeddings)
        self._ladder = ladder
        self._make_room = make_room
        modules = partial(_modules, model, self._vaes, self.controls)
        name = model.checkpoint.name
        self._parts = Placement(
            model.device,
            modules,
            name,
            ladder.short,
            offloaded=offloaded,
            in_turns=in_turns,
            by_groups=by_groups,
        )
        prepare = partial(_prepare, self._parts, self._loras)
        self.costs = Costs(model, measure, ladder, prepare, by_groups=NETWORK in by_groups)

    @property
    def changed(self) -> bool:
        """Return whether LoRAs, VAEs, embeddings or ControlNets changed since they were read."""
        return any(files.changed for files in self._files)

    @property
    def size(self) -> int:
        """Return the bytes on the device of the model and of all that is loaded for it.

        An offloaded model counts in full, so that it has room when it is moved back; one that never
        is counts as its largest part.
        """
        sizes = {part: self._parts.size_of(part) for part in PARTS if part not in self._parts.away}
        its = max(sizes.values()) if self._parts.in_turns else sum(sizes.values())
        tiny = self._vaes.size - module_bytes(self._vaes.modules)  # which are in their part
        return its + tiny + self._loras.size + self._text.size

    @property
    def in_main_memory(self) -> int:
        """Return the bytes of its modules in main memory: of all, if offloaded."""
        parts = PARTS if self._parts.offloaded else self._parts.away
        return sum(module_bytes(self._parts.modules(part)) for part in parts)

    @property
    def text_size(self) -> int:
        """Return the bytes that its text encoders give back if they are sent away."""
        gone = self._parts.offloaded or TEXT in self._parts.away
        return 0 if gone else self._parts.size_of(TEXT)

    def send_text_away(self) -> None:
        """Move its text encoders to main memory until there are new words."""
        self._parts.send_away(TEXT)

    def begin(
        self,
        recipe: Recipe,
        start_image: StartImage | None = None,
        control_images: Sequence[ControlImage] = (),
        references: Sequence[Pixels] = (),
        area_masks: Mapping[str, Pixels] = {},
        begun: Sequence[Begun] = (),
    ) -> list[Denoising]:
        """Encode a recipe's prompts, and start each of its pictures from its noise.

        references: reference pictures as its model takes them, [H, W, 3]; area_masks: of its areas,
        by name, each [H, W]; begun: pictures that another model has begun, with which this one goes
        on, of a recipe as this model draws it.
        """
        check_second_pass(self.model, recipe)
        self._parts.move_back()
        # A broken VAE should fail the job before denoising, not after it.
        self._ladder.run(Stage.LOAD, partial(self._vaes.decoder, recipe.vae))
        controls = self._active_controls(control_images, recipe.width, recipe.height)
        if begun and not self.model.inpaints:  # the latents of a start image are in x
            inputs = PassInputs(width=recipe.width, height=recipe.height, steps=recipe.steps)
        else:
            inputs = self._first_inputs(recipe, start_image)
        inputs = replace(
            inputs,
            controls=controls,
            references=tuple(self.encode(each, recipe.vae) for each in references),
            noise=JobNoise(recipe),
        )
        conditions = self._encode_prompts(recipe, inputs, references, area_masks)
        nobody = [None] * len(recipe.pictures)
        return [
            Denoising(self.model, recipe, index, conditions, inputs, each)
            for index, each in zip(recipe.pictures, begun or nobody, strict=True)
        ]

    def begin_second_pass(
        self,
        recipe: Recipe,
        picture: int,
        made: Tensor | Pixels,
        control_images: Sequence[ControlImage] = (),
        references: Sequence[Pixels] = (),
        noise: JobNoise | None = None,
        area_masks: Mapping[str, Pixels] = {},
    ) -> Denoising:
        """Start a picture's second pass from the result of the first.

        made: its latents, [1, C, h, w], which are upscaled here, or upscaled pixels, [H, W, 3];
        references, area_masks: as in `begin`; noise: of this pass of the job (None: of this picture
        alone).
        """
        upscale = recipe.upscale
        assert upscale is not None
        assert upscale.strength is not None
        width, height = recipe.size
        scale = self.model.latent_scale
        tile = upscale.tile and upscale.tile // scale
        # Everything is masked, so that an inpainting model's input is the same for all tiles.
        size = [min(side, tile * scale) if tile else side for side in (height, width)]
        if isinstance(made, Tensor):
            latents = upscale_latents(made, *shape_of(self.model, width, height)[1:])
        else:
            latents = self.encode(made, recipe.vae)
        inputs = PassInputs(
            width=width,
            height=height,
            steps=recipe.second_pass_steps,
            latents=latents,
            strength=upscale.strength,
            tile=tile,
            # A ControlNet's image is of the whole picture, not of a tile.
            controls=() if upscale.tile else self._active_controls(control_images, width, height),
            extra=self._inpainting_input(None, np.full(size, 255, np.uint8), recipe.vae),
            references=tuple(self.encode(each, recipe.vae) for each in references),
            noise=noise,
        )
        conditions = self._encode_prompts(recipe, inputs, references, area_masks, second=True)
        recipe = replace(recipe, refiner=None)  # which is for the first pass
        return Denoising(self.model, recipe, picture, conditions, inputs)

    def _active_controls(
        self, control_images: Sequence[ControlImage], width: int, height: int
    ) -> tuple[ActiveControl, ...]:
        """Return the ControlNets of a pass of that size in pixels, loaded if need be."""

        def way() -> list[ActiveControl]:
            activate = partial(self.controls.activate, model=self.model, width=width, height=height)
            return [activate(image) for image in control_images]

        return tuple(self._ladder.run(Stage.LOAD, way))

    def _encode_prompts(
        self,
        recipe: Recipe,
        inputs: PassInputs,
        references: Sequence[Pixels],
        area_masks: Mapping[str, Pixels],
        *,
        second: bool = False,
    ) -> Conditions:
        """Return what a pass is asked; second: whether it is the second one."""
        each = SAMPLERS[recipe.sampler].evaluations
        sides = sides_of(recipe, calls_of(recipe, each, second=second))
        negative = needs_negative(self.model, recipe, sides)
        family, weighs = self.model.checkpoint.family, self.model.checkpoint.weighs

        def words_of(text: str, *, positive: bool) -> str:
            return family.system_prompt * positive + written(text, recipe, weighs=weighs)

        words = [words_of(text, positive=True) for text in texts_of(sides.positive)]
        if negative:
            words += [words_of(text, positive=False) for text in texts_of(sides.negative)]

        model = self.model
        placed = partial(
            place,
            size=shape_of(model, inputs.width, inputs.height)[1:],
            schedule=schedule_of(model.read_as(recipe.patches), recipe, inputs),
            masks={name: to_mask(mask) for name, mask in area_masks.items()},
            device=model.device,
            whole=max(1, family.multiple // model.latent_scale),
            tiled=inputs.tile is not None,
        )

        def way() -> Conditions:
            key = recipe.loras, recipe.references
            if not all(self._text.holds(each, recipe.clip_skip, key) for each in words):
                if TEXT in self._parts.away:
                    self._make_room(self._parts.size_of(TEXT))
                self._parts.move_to_device(TEXT)
            self._loras.use(recipe.loras)
            encoded = {
                each: self._text.encode(each, recipe.clip_skip, key, references)
                for each in dict.fromkeys(words)
            }
            if self._text.cached > CACHED:  # as its last prompts alone may be
                self._make_room(0)

            def of_side(text: str, *, zero: bool = False, positive: bool) -> Conditioning:
                found = encoded[words_of(text, positive=positive)]
                return found.zeros() if zero else found

            other = partial(of_side, positive=False) if negative else None
            return Conditions.encoded(sides, partial(of_side, positive=True), other, placed)

        offloaded = partial(self._parts.offload, way)
        return self._ladder.run(Stage.ENCODE, way, (Rung.OFFLOAD, offloaded))

    def _first_inputs(self, recipe: Recipe, start_image: StartImage | None) -> PassInputs:
        """Return the inputs of the first pass."""
        bare = PassInputs(width=recipe.width, height=recipe.height, steps=recipe.steps)
        if start_image is None:
            whole = np.full((recipe.height, recipe.width), 255, np.uint8)
            return replace(bare, extra=self._inpainting_input(None, whole, recipe.vae))
        assert recipe.strength is not None
        pixels, mask = start_image.pixels, start_image.mask
        whole = np.full(pixels.shape[:2], 255, np.uint8)
        extra = self._inpainting_input(pixels, whole if mask is None else mask, recipe.vae)
        latents = self.encode(pixels, recipe.vae)
        inputs = replace(bare, latents=latents, strength=recipe.strength, extra=extra)
        if (
            mask is None or extra is not None
        ):  # an inpainting network keeps the unmasked part itself
            return inputs
        painted = to_mask(mask).to(self.model.device)
        return replace(inputs, mask=latent_mask(painted, self.model.latent_scale))

    def _inpainting_input(
        self, pixels: Pixels | None, mask: Pixels, vae: str | None
    ) -> Tensor | None:
        """Return the further input channels of an inpainting network, None for others."""
        if not self.model.inpaints:
            return None
        images = None if pixels is None else to_images(pixels)
        seen, painted = without_painted(images, to_mask(mask))
        return self.model.inpainting_input(self._encode(seen, vae), painted)

    def encode(self, pixels: Pixels, vae: str | None = None) -> Tensor:
        """Encode pixels [H, W, 3], uint8, to latents [1, C, h, w], by its VAE or one named."""
        return self._encode(to_images(pixels), vae)

    def _encode(self, images: Tensor, vae: str | None) -> Tensor:
        def way(mean_of: Callable[[Any, Tensor], Tensor] = encode_whole) -> Tensor:
            return encode(self._vaes.encoder(vae), images, mean_of)

        return self._by_vae(Stage.ENCODE, way, partial(way, encode_in_tiles), Rung.TILED_ENCODE)

    def _by_vae(
        self, stage: Stage, whole: Callable[[], T], tiled: Callable[[], T], rung: Rung
    ) -> T:
        """Call a VAE on the whole picture, or in tiles where memory is short."""

        def on_device(way: Callable[[], T]) -> T:
            self._parts.move_to_device(VAE)
            return way()

        in_tiles = partial(on_device, tiled)
        offloaded = partial(self._parts.offload, in_tiles)
        ways: list[Way[T]] = [(rung, in_tiles), (Rung.OFFLOAD, offloaded)]
        return self._ladder.run(stage, partial(on_device, whole), *ways)

    def evaluate(self, batch: Sequence[Denoising], rows: int) -> list[Tensor | Exception]:
        """Return each picture's `denoised`, [1, C, h, w], from one call padded to `rows`.

        If that fails each picture gets a call of its own, so that no error ends other jobs; with
        the same number of rows, so that the last bits stay the same. A picture whose values are not
        finite gets `NotFinite`.
        """
        first = self._try(batch, rows, None, Rung.EMPTY_CACHE)
        if not isinstance(first, Exception):
            return _finite(batch, first)
        answers: list[Tensor | Exception] = [first]
        if len(batch) > 1:
            del first, answers[:]  # with the tensors of its traceback's frames
            answers += [self._alone(picture, rows) for picture in batch]
        return _finite(batch, self._with_fewer_rows(batch, rows, answers))

    def _with_fewer_rows(
        self, batch: Sequence[Denoising], rows: int, answers: Sequence[Tensor | Exception]
    ) -> list[Tensor | Exception]:
        """Return the answers; those that ran out of memory retried with the picture's own rows."""
        fits = any(isinstance(answer, Tensor) for answer in answers)
        found = list(answers)
        for number, picture in enumerate(batch):
            if isinstance(found[number], OutOfMemory):
                ways = Rung.BATCH_OF_ONE, Rung.OFFLOAD
                found[number] = self._alone(picture, picture.rows, *ways)
                # Only success with fewer rows shows that their number was the cause.
                if isinstance(found[number], Tensor) and picture.rows < rows:
                    self.costs.limit(picture, form=not fits)
        return found

    def _alone(self, picture: Denoising, rows: int, *rungs: Rung) -> Tensor | Exception:
        """Return one picture's `denoised` from a call padded to `rows`, or the error."""
        found = self._try([picture], rows, *rungs or (None,))
        return found if isinstance(found, Exception) else found[0]

    def _try(
        self, batch: Sequence[Denoising], rows: int, *rungs: Rung | None
    ) -> list[Tensor] | Exception:
        """Call the network for a batch, on these rungs in turn; return predictions or the error."""
        call = partial(self._call, batch, rows)
        offloaded = partial(self._parts.offload, call)
        ways = [(rung, offloaded if rung is Rung.OFFLOAD else call) for rung in rungs]
        try:
            return self._ladder.climb(Stage.DENOISE, ways)
        except OutOfMemory as error:
            # Its frames refer to the error: such a circle would keep the model in memory.
            return error.with_traceback(None)
        except Exception as error:
            return error

    def _call(self, batch: Sequence[Denoising], rows: int) -> list[Tensor]:
        self._parts.move_to_device(NETWORK)
        self._loras.use(batch[0].loras)
        return evaluate(self.model, batch, rows)

    def pieces(self, words: str) -> list[Piece] | None:
        """Return the tokens of a text as its encoder reads it, None where it has no windows."""
        return self._text.pieces(words)

    @property
    def lora_layers(self) -> dict[str, int]:
        """Return how many layers of each part the LoRAs that are on the model change."""
        return self._loras.layers_changed

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

        # One picture a call: others in it would change its last bits.
        def way(images_of: Callable[[Any, Tensor], Tensor] = decode_whole) -> Pixels:
            return decode(self._vaes.decoder(vae), latents, images_of)

        return self._by_vae(Stage.DECODE, way, partial(way, decode_in_tiles), Rung.TILED_DECODE)

    @cached_property
    def _preview(self) -> Previewer:
        prepare = partial(self._parts.move_to_device, VAE)
        return Previewer(self._vaes.for_previews(), self._vaes.load_tiny(), prepare)


def _modules(model: Model, vaes: ExternalVaes, controls: Controls, part: str) -> list[Any]:
    """Return the modules of a part of a model, with its ControlNets or external VAEs."""
    found = {
        TEXT: [*model.encoders.values()],
        NETWORK: [model.network, *controls.modules],
        VAE: [model.vae, *vaes.modules],
    }
    return found[part]


def _prepare(parts: Placement, loras: Loras) -> None:
    """Move the network to the device, without LoRAs."""
    parts.move_to_device(NETWORK)
    loras.use(())


def _finite(
    batch: Sequence[Denoising], answers: Sequence[Tensor | Exception]
) -> list[Tensor | Exception]:
    """Return a batch's answers, with an error in place of each that is not finite."""
    finite = iter(are_finite([answer for answer in answers if isinstance(answer, Tensor)]))
    return [
        NotFinite(Sentence("not_finite_step", step=picture.step + 1, total=picture.total))
        if isinstance(answer, Tensor) and not next(finite, True)
        else answer
        for picture, answer in zip(batch, answers, strict=True)
    ]
