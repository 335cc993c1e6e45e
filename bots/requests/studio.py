"""The use cases, free of any platform: imagine, rerun, vary, upscale, zoom, pan, cancel, history.

What a person typed comes in as values of recipe fields (`bots.requests.options`); what they left
out is filled in from the model's own defaults. A job is committed before anybody is told of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from PIL.Image import Image

from bots.admission.gate import Admission, allow_all
from bots.requests import derive
from bots.requests.derive import change, of_picture, the_picture
from bots.requests.wishes import STYLE, find_style, size_like, sized, styled, worn
from bots.worker.worker import Worker
from engine.errors import MissingVae, UserError
from engine.events import News
from engine.files.stored import PictureFolder
from engine.models.catalogue import STARTER, Catalogue, Checkpoint
from engine.models.control_files import find_control
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pictures.image_header import read_image_header
from engine.pictures.images import read_image, read_stored_image, to_png
from engine.pictures.masks import channel_mask, colour_mask, read_mask, transparency_mask
from engine.pictures.start_image import read_start_image
from engine.recipe.limits import check_words
from engine.recipe.parts import LANCZOS, Upscale
from engine.recipe.prompt_tags import choose, take_loras
from engine.recipe.recipe import Recipe, random_seed
from engine.sentences import Sentence
from storage import Job, NewJob, Picture, parse_name
from storage.jobs.jobs import Jobs
from storage.jobs.picture_files import Pictures
from storage.people.styles import Styles

WORDS: Final = ("prompt", "negative_prompt")
ALPHA: Final = "alpha"  # a mask of what is transparent in the start image


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Say who asks, where, and how an answer reaches them (as their platform's adapter knows)."""

    person: str
    place: str
    reply: Mapping[str, Any] = field(default_factory=dict, repr=False)
    event: str | None = None
    later: bool = False  # leave the job to a process that serves


# Raises `UserError` for what may not be, or returns what holds as a job is committed.
Gate = Callable[[Recipe, Asker], Awaitable[Admission]]


class NothingYet(UserError):
    """Say that somebody who wants their last picture again has none."""

    def __init__(self) -> None:
        super().__init__(Sentence("nothing_yet"))


class Studio:
    """Take requests from any platform and turn them into jobs, and jobs into answers."""

    def __init__(
        self,
        catalogue: Catalogue,
        jobs: Jobs,
        worker: Worker,
        pictures: Pictures,
        styles: Styles,
        *,
        gate: Gate = allow_all,
    ) -> None:
        self._gate = gate  # asked before any job is committed
        self._styles = styles
        self._catalogue = catalogue
        self._loras = ModelFiles(catalogue.models_dir, ModelKind.LORA)
        self._controls = ModelFiles(catalogue.models_dir, ModelKind.CONTROLNET)
        self._jobs = jobs
        self._worker = worker
        self._pictures = pictures

    async def imagine(self, values: Mapping[str, Any], asker: Asker) -> Job:
        """Commit and start a job for new pictures, or raise `UserError`."""
        values, style = await self._styled(values, asker)
        if values.get("image") and not {"width", "height"} & values.keys():
            values = {**values, **await self._size_like(values)}
        return await self._submit(self.complete(values), asker, style=style)

    async def rerun(self, name: str, values: Mapping[str, Any], asker: Asker) -> Job:
        """Commit and start a job that repeats another, with some values changed.

        `name` is a job (`12`) or one picture of it (`12.3`). One picture of a grid repeated with
        another seed is a new single picture; with its own seed it stays what it was.
        """
        number, picture = parse_name(name)
        parent = await self._jobs.get(number)
        recipe = of_picture(parent, picture)
        kept = None if values.get("prompt", recipe.prompt) != recipe.prompt else parent.style
        values, style = await self._styled(values, asker, recipe, kept)
        recipe = self._changed(recipe, values)
        return await self._submit(recipe, asker, parent=number, parent_picture=picture, style=style)

    async def remake(self, recipe: Recipe, values: Mapping[str, Any], asker: Asker) -> Job:
        """Commit and start a job for a recipe from elsewhere, with some values changed.

        It wears the style whose words it holds, as the place knows them.
        """
        asked = STYLE in values
        check_words(recipe.prompt)
        values, style = await self._styled(values, asker, recipe)
        recipe = self._changed(recipe, values)
        if not asked:
            texts = {name: getattr(recipe, name) for name in WORDS}
            style = worn(texts, await self._styles.list(asker.place))
        return await self._submit(recipe, asker, style=style)

    async def vary(self, name: str, asker: Asker, *, strong: bool = False) -> Job:
        """Commit and start a job for another picture like one, subtly or strongly different."""
        job, kept = await self._start_from(name)
        recipe = derive.varied(job.recipe, kept, strong=strong)
        return await self._derive(recipe, asker, job, kept.index)

    async def upscale(
        self,
        name: str,
        asker: Asker,
        *,
        factor: float = 2.0,
        by: str = LANCZOS,
        strength: float | Literal["usual"] | None = "usual",
    ) -> Job:
        """Commit and start a job for a larger copy of a picture.

        strength: of the pass that draws detail into it (`usual`: the model's own; None: no pass).
        """
        job, kept = await self._start_from(name)
        model = self._catalogue.get(job.recipe.checkpoint)
        recipe = derive.enlarged(
            job.recipe,
            kept,
            factor=factor,
            by=by,
            strength=model.second_pass_strength if strength == "usual" else strength,
            native=(model.defaults.width, model.defaults.height),
        )
        return await self._derive(recipe, asker, job, kept.index)

    async def zoom(self, name: str, asker: Asker, *, factor: float = 2.0) -> Job:
        """Commit and start a job that shows a picture from `factor` times as far away."""
        job, kept = await self._start_from(name)
        return await self._derive(derive.zoomed(job.recipe, kept, factor), asker, job, kept.index)

    async def pan(self, name: str, asker: Asker, direction: str) -> Job:
        """Commit and start a job that continues a picture to one of `derive.DIRECTIONS`."""
        job, kept = await self._start_from(name)
        return await self._derive(
            derive.panned(job.recipe, kept, direction), asker, job, kept.index
        )

    async def keep_image(self, data: bytes) -> str:
        """Check a picture that somebody gave, store what counts of it, and return its sha256.

        It goes into a recipe as `image` within the hour, or is swept away. Raises `ImageError`.
        """
        return await asyncio.to_thread(lambda: self._keep(read_image(data)))

    async def keep_mask(self, image: str, given: bytes | str) -> str:
        """Make and store a mask for a kept start image, and return its sha256.

        given: a picture's bytes (white is painted), `ALPHA` (what is transparent in the start
        image), or a colour that was painted over it, by name or as #rrggbb. Raises `ImageError`.
        """

        def make() -> str:
            picture = read_stored_image(self._pictures.fetch(image))
            if isinstance(given, bytes):
                return self._keep(read_mask(given, picture))
            if given.lower() == ALPHA:
                return self._keep(transparency_mask(picture))
            return self._keep(colour_mask(picture, given))

        return await asyncio.to_thread(make)

    async def keep_channel(self, image: str, channel: str) -> str:
        """Make and store a mask of a kept picture's channel (`engine.pictures.masks.channel_mask`).

        Returns its sha256; raises `ImageError`.
        """

        def make() -> str:
            return self._keep(channel_mask(read_stored_image(self._pictures.fetch(image)), channel))

        return await asyncio.to_thread(make)

    async def cancel(self, job: int, *, by: str | None = None) -> Job:
        """End a job in whatever state; raises `TooLate` once its pictures are there.

        by: who ends it; the moderators' log tells of others' jobs.
        """
        return await self._worker.cancel(job, by=by)

    def follow(self, job: int) -> AsyncIterator[News]:
        """Yield a job's latest news until it is over: its place in line, then its progress."""
        return self._worker.follow(job)

    async def get(self, name: str) -> tuple[Job, int | None]:
        """Return the job of that name, and which of its pictures is meant (None: all)."""
        job, picture = await self._get(name)
        of_picture(job, picture)
        return job, picture

    @property
    def models_dir(self) -> Path | None:
        """Return the folder in which models and all that goes with them lie."""
        return self._catalogue.models_dir

    def model(self, name: str) -> Checkpoint:
        """Describe a model; raises `UnknownModel` or `BrokenModel`."""
        return self._catalogue.get(name)

    def models(self) -> list[str]:
        """Return the names of all models, the bundled one first."""
        return self._catalogue.names()

    def loras(self) -> list[str]:
        """Return the names of all LoRAs."""
        return self._loras.names()

    def vaes(self) -> list[str]:
        """Return the names of all VAEs that can take the place of a model's own."""
        return self._files(ModelKind.VAE).names()

    async def styles(self, place: str) -> list[str]:
        """Return the names of the styles that a place knows."""
        return [style.name for style in await self._styles.list(place)]

    def complete(self, values: Mapping[str, Any]) -> Recipe:
        """Fill what was not typed from the model's defaults and a fresh seed."""
        checkpoint = self._catalogue.get(values.get("checkpoint", STARTER))
        usual = checkpoint.defaults
        filled = {
            **asdict(usual),
            "seed": random_seed(),
            **sized(values, usual.width * usual.height),
            "checkpoint": checkpoint.name,
        }
        if values.get("image"):
            filled.setdefault("strength", derive.default_strength(values))
        return self._known(Recipe(**spoken(filled, filled["seed"])))

    def _known(self, recipe: Recipe) -> Recipe:
        """Return a recipe whose model, LoRAs and controls bear their full names.

        Raises `UserError` for what is not there, or not made for the model.
        """
        checkpoint = self._catalogue.get(recipe.checkpoint)
        if not (checkpoint.has_vae or recipe.vae):
            raise MissingVae(checkpoint.name, self.vaes())
        return replace(
            recipe,
            checkpoint=checkpoint.name,
            loras=tuple(
                replace(lora, name=self._loras.resolve(lora.name)) for lora in recipe.loras
            ),
            upscale=recipe.upscale and self._upscale(recipe.upscale),
            vae=recipe.vae and self._files(ModelKind.VAE).resolve(recipe.vae),
            controls=tuple(
                find_control(self._controls, each, checkpoint) for each in recipe.controls
            ),
        )

    def _upscale(self, upscale: Upscale) -> Upscale:
        upscalers = self._files(ModelKind.UPSCALER)
        upscalers.get(upscale.by)
        return replace(upscale, by=upscalers.resolve(upscale.by))

    def _files(self, kind: ModelKind) -> ModelFiles:
        return ModelFiles(self._catalogue.models_dir, kind)

    async def _styled(
        self,
        values: Mapping[str, Any],
        asker: Asker,
        recipe: Recipe | None = None,
        style: str | None = None,
    ) -> tuple[Mapping[str, Any], str | None]:
        """Return values whose words hold those of the style that was asked for, and its name.

        Words that were not typed are the recipe's; where no style was asked for, it is `style`.
        """
        if STYLE not in values:
            return values, style
        rest = {name: value for name, value in values.items() if name != STYLE}
        if values[STYLE] is None:
            return rest, None
        known = find_style(values[STYLE], await self._styles.list(asker.place))
        texts = {name: rest.get(name, getattr(recipe, name, "")) for name in WORDS}
        return {**rest, **styled(texts, known)}, known.name

    def _changed(self, recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
        values = sized(values, recipe.width * recipe.height)
        return self._known(change(recipe, spoken(values, values.get("seed", recipe.seed))))

    async def _get(self, name: str) -> tuple[Job, int | None]:
        number, picture = parse_name(name)
        return await self._jobs.get(number), picture

    async def _start_from(self, name: str) -> tuple[Job, Picture]:
        """Return the one picture that another is made from, and its job; raises `UserError`."""
        job, picture = await self._get(name)
        return job, the_picture(job, picture)

    def _keep(self, image: Image) -> str:
        return self._pictures.add(to_png(image))["sha256"]

    async def _size_like(self, values: Mapping[str, Any]) -> dict[str, int]:
        """Return a size in the shape of the start image, of as many pixels as the model likes."""
        usual = self._catalogue.get(values.get("checkpoint", STARTER)).defaults
        data = await asyncio.to_thread(self._pictures.fetch, values["image"])
        header = read_image_header(data)
        pixels = usual.width * usual.height
        width, height = size_like(header.width, header.height, pixels)
        return {"width": width, "height": height}

    async def _derive(self, recipe: Recipe, asker: Asker, parent: Job, picture: int | None) -> Job:
        recipe = self._known(recipe)
        return await self._submit(
            recipe, asker, parent=parent.id, parent_picture=picture, style=parent.style
        )

    async def _submit(
        self,
        recipe: Recipe,
        asker: Asker,
        parent: int | None = None,
        parent_picture: int | None = None,
        style: str | None = None,
    ) -> Job:
        if recipe.image:  # what cannot be drawn upon is said before anything waits
            await asyncio.to_thread(read_start_image, recipe, PictureFolder(self._pictures.folder))
        admission = await self._gate(recipe, asker)
        new = NewJob(
            recipe=recipe,
            person=asker.person,
            place=asker.place,
            reply=asker.reply,
            event=asker.event,
            parent=parent,
            parent_picture=parent_picture,
            style=style,
        )
        if asker.later:
            return await self._jobs.add(new, allow=admission.allow)
        with self._worker.admit(asker.person):
            job = await self._jobs.add(new, allow=admission.allow)
            self._worker.submit(job, admission.caps)
        return job


def spoken(values: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return values with what their words say beside themselves: choices made, LoRAs taken."""
    found = dict(values)
    for name in WORDS:
        if isinstance(text := found.get(name), str):
            found[name] = choose(text, seed)
    if isinstance(prompt := found.get("prompt"), str):
        found["prompt"], tagged = take_loras(prompt)
        check_words(found["prompt"])
        if tagged:
            found["loras"] = (*found.get("loras", ()), *tagged)
    return found
