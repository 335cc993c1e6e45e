"""Write a recipe as the graph (API format) that makes the same pictures in ComfyUI.

Nodes in order: initial latents → first pass → pixels, upscaled → second pass → pixels.
"""

from dataclasses import replace
from typing import Final

from engine.formats.comfy.builder import GraphJson, Id, Link, Size, file_of
from engine.formats.comfy.flow_builder import FlowBuilder
from engine.formats.comfy.limits import no_graph_reasons
from engine.formats.graphs.latents import NEAREST, slices_like_marble
from engine.models.catalogue import Checkpoint
from engine.recipe.limits import NEGATIVE_SCORE, SCORE
from engine.recipe.parts import LANCZOS, LATENT, Upscale
from engine.recipe.recipe import Recipe

SOFT: Final = "bilinear"  # for masks, which must not ring as lanczos would


def to_graph(
    recipe: Recipe, checkpoint: Checkpoint | None = None, second: Checkpoint | None = None
) -> GraphJson:
    """Write a recipe as a graph; `ValueError` where none can express it (`no_graph_reasons`).

    checkpoint: the model that it names; without it, it is taken for a Stable Diffusion; second: its
    second one.
    """
    if reasons := no_graph_reasons(recipe, checkpoint, second):
        raise ValueError(f"no graph says this recipe: {reasons[0]}")
    return _Writer(recipe, checkpoint).write(second)


class _Writer(FlowBuilder):
    """Add the nodes of a recipe in order."""

    def write(self, by: Checkpoint | None = None) -> GraphJson:
        """Return the graph; by: the model that finishes the first pass, if there is one."""
        recipe, upscale = self.recipe, self.recipe.upscale
        second = upscale if upscale and upscale.strength is not None else None
        start = self._start()
        texts = self.words()
        # Where a second pass follows, its noise is drawn for the whole batch, too.
        early = second is None and slices_like_marble(recipe.width, recipe.height)
        start = self._pick(start) if early else start
        if second and recipe.image and recipe.strength is None:
            made = self._pass(Id.SAMPLER, start, texts, second)
        else:
            texts = self._under_mask(texts)
            if recipe.refiner:
                made, texts = self._in_parts(start, texts, recipe.refiner, by)
            else:
                made = self._pass(Id.SAMPLER, start, texts)
            made = self._second(made, texts, second) if second else made
        image = self._decode(Id.DECODE, made if early else self._pick(made))
        if second is None:
            image = self._composite(image)
            image = self._upscale(image, upscale) if upscale else image
        self.add(Id.SAVE, "SaveImage", filename_prefix="marble", images=image)
        return self.graph

    def _start(self) -> Link:
        """Return the initial latents: empty ones, or a start image's."""
        recipe, size = self.recipe, (self.recipe.width, self.recipe.height)
        if recipe.image is None:
            sides = {"width": size[0], "height": size[1]}
            kind = self.flow.usual.latents if self.flow else "EmptyLatentImage"
            return self.add(Id.START, kind, **sides, batch_size=recipe.count)
        image = self.fit(Id.FIT, self.picture(Id.LOAD, recipe.image), size)
        first = recipe.upscale if recipe.strength is None else None  # upscaled, then denoised
        if first and first.by != LATENT:
            image = self._upscale(image, first)
        latents = self.add(Id.START, "VAEEncode", pixels=image, vae=self.vae)
        if first and first.by == LATENT:
            latents = self._upscale_latents(latents, first)
        if recipe.mask is not None:
            mask = self._mask(recipe.mask, size)
            latents = self.add(Id.SET_MASK, "SetLatentNoiseMask", samples=latents, mask=mask)
        if recipe.count > 1:
            latents = self.add(Id.REPEAT, "RepeatLatentBatch", samples=latents, amount=recipe.count)
        return latents

    def _mask(self, sha256: str, size: Size) -> Link:
        """Resize a mask in pixels like its picture; as latents it would be cropped differently."""
        image = self.fit(Id.FIT_MASK, self.picture(Id.MASK, sha256), size, SOFT)
        return self.add(Id.TO_MASK, "ImageToMask", channel="red", image=image)

    def _under_mask(self, texts: tuple[Link, Link]) -> tuple[Link, Link]:
        """Tell FLUX's fill models what is to be painted; its others do not mind."""
        if self.recipe.mask is None or self.family != "flux":
            return texts
        seen = {"pixels": (Id.FIT, 0), "vae": self.vae, "mask": (Id.TO_MASK, 0)}
        both = {"positive": texts[0], "negative": texts[1]}
        self.add(Id.FILL, "InpaintModelConditioning", **both, **seen, noise_mask=True)
        return (Id.FILL, 0), (Id.FILL, 1)

    def _composite(self, drawn: Link) -> Link:
        """Composite the drawn picture with the start image, which is kept outside its mask."""
        if self.recipe.mask is None:
            return drawn
        layers = {"destination": (Id.FIT, 0), "source": drawn, "mask": (Id.TO_MASK, 0)}
        place = {"x": 0, "y": 0, "resize_source": False}
        return self.add(Id.COMPOSITE, "ImageCompositeMasked", **place, **layers)

    def _pick(self, batch: Link) -> Link:
        """Take the one picture of a batch that is wanted, if one is."""
        if self.recipe.picture is None:
            return batch
        which = {"batch_index": self.recipe.picture, "length": 1}
        return self.add(Id.PICK, "LatentFromBatch", samples=batch, **which)

    def _pass(
        self, name: str, latents: Link, texts: tuple[Link, Link], detail: Upscale | None = None
    ) -> Link:
        """Add a sampler: the first pass, or the second one, on upscaled pictures."""
        recipe = self.recipe
        size = recipe.size if detail else (recipe.width, recipe.height)
        strength = detail.strength if detail else recipe.strength
        strength = 1.0 if strength is None else strength
        steps = recipe.second_pass_steps if detail else recipe.steps
        positive, negative = texts = self.controlled(texts, size, 1 if detail else 0)
        if self.custom:
            made = self.custom_pass(name, latents, texts, size, steps=steps, strength=strength)
            self.with_noise(name)
            return made
        made = self.add(
            name,
            "KSampler",
            seed=recipe.seed,
            steps=steps,
            cfg=self.cfg,
            sampler_name=self.sampler,
            scheduler=recipe.schedule,
            denoise=strength,
            model=self.shifted(Id.SECOND_SHIFT if name == Id.SECOND else Id.SHIFT, size),
            positive=positive,
            negative=negative,
            latent_image=latents,
        )
        self.with_noise(name)
        return made

    def _in_parts(
        self, latents: Link, texts: tuple[Link, Link], name: str, by: Checkpoint | None
    ) -> tuple[Link, tuple[Link, Link]]:
        """Add the first pass by two models; return its latents, and the second one's prompts.

        What is added then is the second model's.
        """
        recipe, size = self.recipe, (self.recipe.width, self.recipe.height)
        total = int(recipe.steps / (recipe.strength or 1))
        first = total - recipe.steps
        at = first + _takeover(recipe)
        made = self._part(Id.SAMPLER, latents, self.controlled(texts, size, 0), first, at, total)
        self.model, self.clip, vae = self.loader(Id.REFINER, name)
        self.vae = self.vae if recipe.vae else vae
        self.recipe = replace(recipe, loras=(), controls=(), patches=(), clip_skip=None)
        if rescale := recipe.guidance_rescale:
            self.model = self.add(
                Id.REFINER_RESCALE, "RescaleCFG", multiplier=rescale, model=self.model
            )
        given = recipe.aesthetic_score, recipe.negative_aesthetic_score
        told: list[dict[str, float]] = [{}, {}]
        if (by and by.family.is_refiner) or given != (SCORE, NEGATIVE_SCORE):
            sides = {"width": size[0], "height": size[1]}
            told = [{"ascore": score, **sides} for score in given]
        texts = (
            self.text(Id.REFINER_POSITIVE, recipe.prompt, **told[0]),
            self.text(Id.REFINER_NEGATIVE, recipe.negative_prompt, **told[1]),
        )
        return self._part(Id.REFINED, made, texts, at, total, total), texts

    def _part(
        self,
        name: str,
        latents: Link,
        texts: tuple[Link, Link],
        first: int,
        last: int,
        total: int,
    ) -> Link:
        """Add a sampler that runs some of all steps: the first adds noise, the last leaves none."""
        begins = name == Id.SAMPLER
        made = self.add(
            name,
            "KSamplerAdvanced",
            add_noise="enable" if begins else "disable",
            noise_seed=self.recipe.seed,
            steps=total,
            cfg=self.cfg,
            sampler_name=self.sampler,
            scheduler=self.recipe.schedule,
            start_at_step=first,
            end_at_step=last,
            return_with_leftover_noise="enable" if begins else "disable",
            model=self.model,
            positive=texts[0],
            negative=texts[1],
            latent_image=latents,
        )
        self.with_noise(name)
        return made

    def _second(self, made: Link, texts: tuple[Link, Link], upscale: Upscale) -> Link:
        if upscale.by == LATENT:
            latents = self._upscale_latents(made, upscale)
        else:
            pixels = self._upscale(self._composite(self._decode(Id.BETWEEN, made)), upscale)
            latents = self.add(Id.ENCODE, "VAEEncode", pixels=pixels, vae=self.vae)
        return self._pass(Id.SECOND, latents, texts, upscale)

    def _decode(self, name: str, latents: Link) -> Link:
        return self.add(name, "VAEDecode", samples=latents, vae=self.vae)

    def _upscale_latents(self, latents: Link, upscale: Upscale) -> Link:
        how = {"upscale_method": NEAREST, "scale_by": upscale.factor}
        return self.add(Id.UPSCALED_LATENTS, "LatentUpscaleBy", samples=latents, **how)

    def _upscale(self, image: Link, upscale: Upscale) -> Link:
        recipe, factor = self.recipe, upscale.factor
        if upscale.by != LANCZOS:
            file = {"model_name": file_of(upscale.by)}
            model = self.add(Id.UPSCALER, "UpscaleModelLoader", **file)
            image = self.add(
                Id.UPSCALED_BY_MODEL, "ImageUpscaleWithModel", upscale_model=model, image=image
            )
        elif (round(recipe.width * factor), round(recipe.height * factor)) == recipe.size:
            how = {"upscale_method": LANCZOS, "scale_by": factor}
            return self.add(Id.UPSCALED, "ImageScaleBy", image=image, **how)
        size = {"width": recipe.size[0], "height": recipe.size[1]}
        how = {"upscale_method": LANCZOS, "crop": "disabled"}
        return self.add(Id.UPSCALED, "ImageScale", image=image, **size, **how)


def _takeover(recipe: Recipe) -> int:
    """Return after how many of its steps a recipe's second model takes over."""
    done = (step for step in range(recipe.steps) if step / recipe.steps >= recipe.refiner_at)
    return min(max(next(done, recipe.steps), 1), recipe.steps - 1)
