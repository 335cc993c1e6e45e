"""The use cases, free of any platform: imagine, rerun, remake, edit, repaint, vary, upscale, zoom …

What a person typed comes in as values of recipe fields (`bots.requests.options`); what they left
out is filled in from the model's defaults. A job is committed before anybody is told of it.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final, Literal

from PIL.Image import Image

from bots.admission.gate import Admission
from bots.requests import derive
from bots.requests.aspect import size_like
from bots.requests.default_options import parse_saved
from bots.requests.derive import of_picture, the_picture
from bots.requests.options import BEST, TYPED_AS, typed_as
from bots.requests.recipe_builder import Built, RecipeBuilder, not_edited
from bots.requests.styles import STYLE, WORDS, find_style, style_in, styled
from bots.worker.worker import Worker
from engine.errors import UserError
from engine.formats.reading import Reading, called
from engine.models.catalogue import STARTER, Catalogue, Checkpoint
from engine.pictures.image_header import read_image_header
from engine.pictures.images import lay_over, read_image, read_stored_image, to_png
from engine.pictures.masks import (
    channel_mask,
    colour_mask,
    read_mask,
    soften,
    transparency_mask,
)
from engine.pictures.references import MEGAPIXEL
from engine.pictures.start_image import read_start_image
from engine.recipe.limits import Range, check_words
from engine.recipe.parts import LANCZOS, Margins
from engine.recipe.prompt_tags import plain
from engine.recipe.recipe import Recipe, random_seed
from engine.sentences import Sentence
from storage import Job, NewJob, Picture, Storage, parse_name

NEGATIVE: Final = "negative_prompt"
BLENDED: Final = Range(2, 5, 1)  # pictures that are made one
LEAST: Final = 2  # references of a model that can see them beside each other
BLEND: Final = "Blend these pictures into one."  # what such a model is told where nothing was typed
COUNT: Final = "count"
ALPHA: Final = "alpha"  # a mask of what is transparent in the start image


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, where, and how an answer reaches them (as their platform's adapter reads it)."""

    person: str
    place: str
    reply: Mapping[str, Any] = field(default_factory=dict, repr=False)
    # The same for further jobs of one request, where their answers go elsewhere.
    further_reply: Mapping[str, Any] | None = field(default=None, repr=False)
    event: str | None = None
    later: bool = False  # leave the job to a process that serves
    # What is said beside a job, added once it is committed: what the model lacks or rounds.
    notes: list[Sentence] = field(default_factory=list, repr=False, compare=False)


# Raises `UserError` for what is not allowed, or returns what is checked as the job is committed.
# The last are the fields that the recipe's model does not have, and how many jobs are counted.
RequestCheck = Callable[[Recipe, Asker, Container[str], int], Awaitable[Admission]]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A job to commit, what is said beside it, and its origin, as `Studio._submit` takes it."""

    built: Built
    notes: Iterable[Sentence] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)


DefaultCount = Callable[[str], Awaitable[int | None]]  # of pictures of a job in a place


async def no_default(place: str) -> None:
    """Leave it to the model how many pictures a job has."""


class Studio:
    """Takes requests from any platform and commits them as jobs."""

    def __init__(
        self,
        catalogue: Catalogue,
        storage: Storage,
        worker: Worker,
        *,
        gate: RequestCheck,
        default_count: DefaultCount = no_default,
        edit_model: str | None = None,
    ) -> None:
        """edit_model: the owner's model for edits by words."""
        self.catalogue = catalogue
        self.builder = RecipeBuilder(catalogue)
        self._gate = gate  # asked before any job is committed
        self._default_count = default_count
        self._storage = storage
        self._pictures = storage.pictures
        self._worker = worker
        self._edit_model = edit_model

    async def imagine(
        self, values: Mapping[str, Any], asker: Asker, saved_by: str | None = None
    ) -> Job:
        """Commit and start a job for new pictures, or raise `UserError`.

        saved_by: whose default options are used where nothing else was typed; without them, the
        place's own default count.
        """
        [job] = await self.imagine_each([values], asker, saved_by)
        return job

    async def imagine_each(
        self, choices: Sequence[Mapping[str, Any]], asker: Asker, saved_by: str | None = None
    ) -> list[Job]:
        """Commit and start a job for each of several choices as `imagine` does: all, or none.

        What is said beside them begins with how many there are.
        """
        saved = await self._usual(saved_by, asker.place, *choices)
        drafts = [await self._imagined(values, saved, asker) for values in choices]
        jobs = await self._commit(drafts, asker)
        several = [Sentence("permuted", count=len(jobs))] if len(jobs) > 1 else []
        said = (note for draft in drafts for note in (*draft.notes, *draft.built.notes))
        asker.notes[:] = [*several, *asker.notes, *dict.fromkeys(said)]
        return jobs

    async def _imagined(
        self, values: Mapping[str, Any], saved: Mapping[str, Any], asker: Asker
    ) -> _Draft:
        kept, typed = saved.keys() - values.keys(), values
        values = {**saved, **values}
        model = self.catalogue.get(values.get("checkpoint", STARTER))
        values, origin, notes = await self._origin(values, asker, model)
        if values.get("image") and not {"width", "height"} & values.keys():
            size = await self._size_of(values["image"])
            values = {**values, **_in_shape(size, _usual_pixels(model), model)}
        built = self.builder.complete(values, kept)
        return _Draft(built, [*notes, *_best_of_one(typed, built)], origin)

    async def rerun(self, name: str, values: Mapping[str, Any], asker: Asker) -> Job:
        """Commit and start a job that repeats another, with some values changed.

        `name` is a job (`12`) or one picture of it (`12.3`). One picture of a grid repeated with
        another seed is a new single picture; with its own seed it stays what it was.
        """
        parent, picture = await self.get(name)
        recipe = of_picture(parent, picture)
        return await self._change(parent, recipe, values, asker, picture)

    async def draw_reading(self, reading: Reading, values: Mapping[str, Any], asker: Asker) -> Job:
        """Commit and start a job for what a file says, with some values changed.

        What the file does not say is the model's own, and the notes name it. Raises `UserError`
        where nothing can be drawn from it, or where no model is named.
        """
        if reading.refused is not None:
            raise reading.refused
        named = values.get("checkpoint") or reading.values.get("checkpoint")
        if named is None:
            raise UserError(Sentence("reading_no_model", source=reading.source))
        model = self.catalogue.get(named)
        usual = {**asdict(model.defaults), "seed": random_seed(), "checkpoint": model.name}
        recipe = reading.completed({**usual, **values})
        notes = []
        if filled := [name for name in reading.missing if name not in values]:
            facts = {"option": ", ".join(filled), "called": called(filled), "model": model.name}
            notes.append(Sentence("reading_filled", **facts))
        return await self.remake(recipe, values, asker, notes)

    async def remake(
        self,
        recipe: Recipe,
        values: Mapping[str, Any],
        asker: Asker,
        said: Iterable[Sentence] = (),
    ) -> Job:
        """Commit and start a job for a recipe from elsewhere, with some values changed.

        Its style is the one of the place whose words are in it. said: what is said beside it.
        """
        typed = values
        if recipe.prompt.strip():  # one without words may be meant so
            check_words(recipe.prompt)
        model = self.catalogue.get(values.get("checkpoint", recipe.checkpoint))
        values, origin, notes = await self._origin(values, asker, model, recipe)
        built = self.builder.change(recipe, values, foreign=True)
        notes = [*said, *notes, *_best_of_one(typed, built)]
        if STYLE not in typed:
            texts = {name: getattr(built.recipe, name) for name in WORDS}
            origin["style"] = style_in(texts, await self._storage.styles.list(asker.place))
        return await self._submit(built, asker, notes, **origin)

    async def edit(
        self,
        name: str,
        values: Mapping[str, Any],
        asker: Asker,
        saved_by: str | None = None,
        others: Sequence[str] = (),
    ) -> Job:
        """Commit and start a job that edits one of our pictures by words.

        The picture's own model does that if it can, else the owner's model for edits, else the
        default one. Where none can, the picture's own draws anew from it, and the notes say so.
        saved_by: as for `imagine`; others: further pictures that the words are about, by sha256.
        """
        job, index = await self.get(name)
        picture = the_picture(job, index)
        origin: dict[str, Any] = {"parent": job.id, "parent_picture": picture.index}
        given = (picture.sha256, *others)
        return await self._edit(given, values, asker, saved_by, job.recipe, **origin)

    async def edit_image(
        self,
        image: str,
        values: Mapping[str, Any],
        asker: Asker,
        saved_by: str | None = None,
        others: Sequence[str] = (),
    ) -> Job:
        """Commit and start a job that edits a stored picture, as `edit` does."""
        return await self._edit((image, *others), values, asker, saved_by)

    async def blend(
        self,
        names: Sequence[str],
        others: Sequence[str],
        values: Mapping[str, Any],
        asker: Asker,
        saved_by: str | None = None,
    ) -> Job:
        """Commit and start a job that makes one picture of two to five.

        names: of ours; others: by sha256. A model that sees several references gets all of them,
        chosen as for `edit`. Another starts from all laid over each other, and draws the words of
        ours where nothing else was typed; the notes say so. saved_by: as for `imagine`.
        """
        found = [await self.get(name) for name in names]
        pictures = [the_picture(*each) for each in found]
        given = (*(picture.sha256 for picture in pictures), *others)
        check_blended(len(given))
        recipes = [job.recipe for job, _ in found]
        origin: dict[str, Any] = {}
        if found:
            origin = {"parent": found[0][0].id, "parent_picture": pictures[0].index}
        words = "" if others else ", ".join(dict.fromkeys(each.prompt for each in recipes))
        recipe = recipes[0] if recipes else None
        return await self._edit(given, values, asker, saved_by, recipe, blended=words, **origin)

    async def can_edit(
        self,
        values: Mapping[str, Any],
        asker: Asker,
        saved_by: str | None = None,
        recipe: Recipe | None = None,
    ) -> bool:
        """Return whether the model that `edit` would take edits by words.

        recipe: of the picture, if it is ours. Raises `UserError` for a model that is not there.
        """
        saved = await self._saved(saved_by, asker.place) if saved_by else {}
        return self._editor(values, saved, recipe).references > 0

    async def vary(self, name: str, asker: Asker, *, strong: bool = False) -> Job:
        """Commit and start a job for another picture like one, subtly or strongly different."""
        return await self._derive(name, asker, partial(derive.varied, strong=strong))

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

        def enlarged(recipe: Recipe, picture: Picture) -> Recipe:
            model = self.catalogue.get(recipe.checkpoint)
            return derive.enlarged(
                recipe,
                picture,
                factor=factor,
                by=by,
                strength=model.second_pass_strength if strength == "usual" else strength,
                native=(model.defaults.width, model.defaults.height),
                longest=model.family.longest,
            )

        return await self._derive(name, asker, enlarged)

    async def making_of(self, name: str, asker: Asker) -> Job:
        """Commit and start a job that draws a picture again and records how it comes about.

        Its file then carries an `engine.making_of.record.Record`.
        """
        job, index = await self.get(name)
        picture = the_picture(job, index)
        recipe = of_picture(job, picture.index)
        if not (recipe.is_denoised or recipe.second_pass_steps):
            raise UserError(Sentence("nothing_denoised", name=picture.name))
        return await self._submit(
            self.builder.change(recipe, {}),
            asker,
            parent=job.id,
            parent_picture=picture.index,
            style=job.style,
            making_of=True,
        )

    async def zoom(self, name: str, asker: Asker, *, factor: float = 2.0) -> Job:
        """Commit and start a job that shows a picture from `factor` times as far away."""
        return await self._derive(name, asker, partial(derive.zoomed, factor=factor))

    async def pan(self, name: str, asker: Asker, direction: str) -> Job:
        """Commit and start a job that continues a picture to one of `derive.DIRECTIONS`."""

        def panned(recipe: Recipe, picture: Picture) -> Recipe:
            multiple = self.catalogue.get(recipe.checkpoint).multiple
            return derive.panned(recipe, picture, direction, multiple)

        return await self._derive(name, asker, panned)

    async def repaint(self, name: str, mask: str, values: Mapping[str, Any], asker: Asker) -> Job:
        """Commit and start a job that draws a picture anew where a mask (by sha256) is white.

        values: what else changes, as for `rerun`.
        """

        def repainted(recipe: Recipe, picture: Picture) -> Recipe:
            return derive.repainted(recipe, picture, mask)

        return await self._derive(name, asker, repainted, values)

    async def extend(
        self, name: str, margins: Margins, values: Mapping[str, Any], asker: Asker
    ) -> Job:
        """Commit and start a job that continues a picture by margins, in pixels.

        values: what else changes, as for `rerun`.
        """

        def extended(recipe: Recipe, picture: Picture) -> Recipe:
            multiple = self.catalogue.get(recipe.checkpoint).multiple
            return derive.extended(recipe, picture, margins, multiple)

        return await self._derive(name, asker, extended, values)

    async def keep_image(self, data: bytes) -> str:
        """Check a picture that somebody sent, store its pixels, and return its sha256.

        It goes into a recipe as `image` within the hour, or is swept away. Raises `ImageError`.
        """
        return await asyncio.to_thread(lambda: self._keep(read_image(data)))

    async def keep_mask(self, image: str, given: bytes | str, feather: float = 0) -> str:
        """Make and store a mask for a stored start image, and return its sha256.

        given: a picture's bytes (white is painted), `ALPHA` (what is transparent in the start
        image), or a colour that was painted over it, by name or as #rrggbb. feather: pixels over
        which the edges of a picture's mask fade to either side. Raises `ImageError`.
        """

        def make() -> str:
            picture = read_stored_image(self._pictures.fetch(image))
            if isinstance(given, bytes):
                return self._keep(soften(read_mask(given, picture), feather))
            if given.lower() == ALPHA:
                return self._keep(transparency_mask(picture))
            return self._keep(colour_mask(picture, given))

        return await asyncio.to_thread(make)

    async def keep_channel(self, image: str, channel: str) -> str:
        """Make and store a mask of a picture's channel (`engine.pictures.masks.channel_mask`).

        Returns its sha256; raises `ImageError`.
        """

        def make() -> str:
            return self._keep(channel_mask(read_stored_image(self._pictures.fetch(image)), channel))

        return await asyncio.to_thread(make)

    async def get(self, name: str) -> tuple[Job, int | None]:
        """Return the job of that name, and which of its pictures is meant (None: all)."""
        number, picture = parse_name(name)
        job = await self._storage.jobs.get(number)
        of_picture(job, picture)
        return job, picture

    def lacks(self, recipe: Recipe) -> frozenset[str]:
        """Return the fields that a recipe's model lacks; of one that is gone, none is known."""
        with suppress(UserError):
            return self.catalogue.get(recipe.checkpoint).lacks
        return frozenset()

    async def styles(self, place: str) -> list[str]:
        """Return the names of the styles of a place and of those it lies in."""
        return [style.name for style in await self._storage.styles.list(place)]

    async def _edit(
        self,
        given: tuple[str, ...],
        values: Mapping[str, Any],
        asker: Asker,
        saved_by: str | None,
        recipe: Recipe | None = None,
        blended: str | None = None,
        **origin: Any,
    ) -> Job:
        """Commit and start a job that edits pictures by words, or starts from the only one.

        recipe: of the first, if it is ours. What its model drew it with is kept by that model, and
        saved options count for the model that they were saved for, but how many pictures there are
        for every model. blended: all pictures are made
        one; these are the words where the model starts from them and none were typed.
        """
        saved = await self._usual(saved_by, asker.place, values)
        model = self._editor(values, saved, recipe)
        own = recipe if recipe and recipe.checkpoint == model.name else None
        laid_over = blended is not None and model.references < LEAST
        if not laid_over:
            _check_edit(given, values, model)
        if blended is not None and not values.get("prompt"):
            values = {**values, "prompt": blended if laid_over else BLEND}
            if not values["prompt"]:
                raise UserError(Sentence("blend_words", model=model.name))
        usual = derive.manner(own) if own else saved if self._is_usual(model, saved) else {}
        usual = {name: usual[name] for name in usual.keys() - {"width", "height"}}
        usual |= {name: saved[name] for name in (COUNT, BEST) if name in saved}
        filled, more, notes = await self._origin({**usual, **values}, asker, model)
        size = await self._size_of(given[0])
        start: dict[str, Any]
        if laid_over:
            pixels = own.width * own.height if own else _usual_pixels(model)
            image = await asyncio.to_thread(self._lay_over, given)
            start = {"image": image, **_in_shape(size, pixels, model)}
            strength = plain(values.get("strength", derive.START_STRENGTH))
            notes.append(Sentence("blended", model=model.name, strength=strength))
        elif model.references:
            start = {"references": given, **_in_shape(size, min(MEGAPIXEL, math.prod(size)), model)}
        else:
            pixels = own.width * own.height if own else _usual_pixels(model)
            start = {"image": given[0], **_in_shape(size, pixels, model)}
            notes.append(not_edited(model, values.get("strength", derive.START_STRENGTH)))
        filled = {**start, **filled, "checkpoint": model.name}
        built = self.builder.complete(filled, usual.keys() - values.keys())
        notes += _best_of_one(values, built)
        return await self._submit(built, asker, notes, **more, **origin)

    def _editor(
        self, values: Mapping[str, Any], saved: Mapping[str, Any], recipe: Recipe | None
    ) -> Checkpoint:
        """Return the model for an edit, which may edit by words or not; raises `UserError`."""
        if "checkpoint" in values:
            return self.catalogue.get(values["checkpoint"])
        own, usual = recipe and recipe.checkpoint, saved.get("checkpoint", STARTER)
        for name in filter(None, (own, self._edit_model, usual)):
            with suppress(UserError):  # one that is gone
                if (model := self.catalogue.get(name)).references:
                    return model
        if own:
            with suppress(UserError):
                return self.catalogue.get(own)
        return self.catalogue.get(usual)

    def _is_usual(self, model: Checkpoint, saved: Mapping[str, Any]) -> bool:
        with suppress(UserError):
            return self.catalogue.get(saved.get("checkpoint", STARTER)).name == model.name
        return False

    async def _usual(
        self, saved_by: str | None, place: str, *asked: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the values that somebody saved, and the place's own count where they saved none.

        asked: what was typed for each job; where all of them say the count, no place is asked.
        """
        saved = await self._saved(saved_by, place) if saved_by else {}
        if COUNT not in saved and any(COUNT not in values for values in asked):
            count = await self._default_count(place)
            saved |= {} if count is None else {COUNT: count}
        return saved

    async def _saved(self, person: str, place: str) -> dict[str, Any]:
        """Return the values that somebody saved, without a style that another place keeps."""
        values = parse_saved(await self._storage.people.settings(person))
        if values.get(STYLE) and values[STYLE] not in await self.styles(place):
            del values[STYLE]
        return values

    async def _origin(
        self,
        values: Mapping[str, Any],
        asker: Asker,
        model: Checkpoint,
        recipe: Recipe | None = None,
        style: str | None = None,
        best: bool = False,
    ) -> tuple[Mapping[str, Any], dict[str, Any], list[Sentence]]:
        """Return values of recipe fields, with what else was asked for as `NewJob` takes it.

        style, best: where nothing else was asked for. The words hold those of the style; words that
        were not typed are the recipe's. A style's negative prompt is left out where the model has
        none, and said last.
        """
        rest = {name: value for name, value in values.items() if name not in (STYLE, BEST)}
        origin = {"style": values.get(STYLE, style), "best": values.get(BEST, best)}
        if values.get(STYLE) is None:
            return rest, origin, []
        known = find_style(values[STYLE], await self._storage.styles.list(asker.place))
        fields = [name for name in WORDS if name not in model.lacks]
        texts = {name: rest.get(name, getattr(recipe, name, "")) for name in fields}
        notes = []
        if known.negative and NEGATIVE in model.lacks:
            facts = {"option": NEGATIVE, "called": TYPED_AS[NEGATIVE], "model": model.name}
            notes.append(Sentence("style_left_out", style=known.name, **facts))
        return {**rest, **styled(texts, known)}, {**origin, "style": known.name}, notes

    def _lay_over(self, given: Iterable[str]) -> str:
        return self._keep(
            lay_over([read_stored_image(self._pictures.fetch(each)) for each in given])
        )

    def _keep(self, image: Image) -> str:
        return self._pictures.add(to_png(image))

    async def _size_of(self, image: str) -> tuple[int, int]:
        """Return the width and height of a stored picture, in pixels."""
        header = read_image_header(await asyncio.to_thread(self._pictures.fetch, image))
        return header.width, header.height

    async def _derive(
        self,
        name: str,
        asker: Asker,
        derived: Callable[[Recipe, Picture], Recipe],
        values: Mapping[str, Any] | None = None,
    ) -> Job:
        """Commit and start a job for a recipe that is made from a picture's; then values change."""
        job, index = await self.get(name)
        picture = the_picture(job, index)
        recipe = derived(job.recipe, picture)
        if values:
            return await self._change(job, recipe, values, asker, picture.index)
        built = self.builder.fit(recipe)
        return await self._submit(
            built, asker, parent=job.id, parent_picture=picture.index, style=job.style
        )

    async def _change(
        self,
        parent: Job,
        recipe: Recipe,
        values: Mapping[str, Any],
        asker: Asker,
        picture: int | None,
    ) -> Job:
        """Commit and start a job for a recipe of another job's with some values changed."""
        kept = None if values.get("prompt", recipe.prompt) != recipe.prompt else parent.style
        model = self.catalogue.get(values.get("checkpoint", recipe.checkpoint))
        changed, origin, notes = await self._origin(
            values, asker, model, recipe, style=kept, best=parent.best
        )
        built = self.builder.change(recipe, changed)
        notes += _best_of_one(values, built)
        return await self._submit(
            built, asker, notes, parent=parent.id, parent_picture=picture, **origin
        )

    async def _submit(
        self, built: Built, asker: Asker, notes: Iterable[Sentence] = (), **origin: Any
    ) -> Job:
        """Commit and start a job, and add to the asker's notes what is said beside it.

        origin: its parent, parent_picture, style, best and making_of (`NewJob`).
        """
        [job] = await self._commit([_Draft(built, origin=origin)], asker)
        asker.notes.extend((*notes, *built.notes))
        return job

    async def _commit(self, drafts: Sequence[_Draft], asker: Asker) -> list[Job]:
        """Commit and start jobs, all or none; their rates are counted once each may be drawn.

        Those that a killed process committed for the same event are returned as they are: to the
        gate they would be too many beside themselves.
        """
        if known := await self._committed(asker, len(drafts)):
            return known
        asked, caps, last = [], [], len(drafts) - 1
        for number, draft in enumerate(drafts):
            recipe = draft.built.recipe
            if recipe.image:  # a start image that cannot be used is refused before anything waits
                await asyncio.to_thread(read_start_image, recipe, self._pictures.store)
            lacks = self.catalogue.get(recipe.checkpoint).lacks
            count = len(drafts) if number == last else 0
            admission = await self._gate(recipe, asker, lacks, count)
            asked.append((_new_job(draft, asker, number), admission.allow))
            caps.append(admission.caps)
        if asker.later:
            return await self._storage.jobs.add_all(asked)
        with ExitStack() as reserved:
            for _ in drafts:
                reserved.enter_context(self._worker.queue.reserve(asker.person))
            jobs = await self._storage.jobs.add_all(asked)
            for job, groups in zip(jobs, caps, strict=True):
                self._worker.submit(job, groups)
        return jobs

    async def _committed(self, asker: Asker, most: int) -> list[Job]:
        """Return the jobs that the asker's event made before, and start those that wait."""
        jobs: list[Job] = []
        while len(jobs) < most and (event := _event_of(asker, len(jobs))):
            if (job := await self._storage.jobs.by_event(event)) is None:
                break
            jobs.append(job)
        for job in jobs:
            self._worker.submit(job, await self._worker.caps(job.person, job.place))
        return jobs


def check_blended(count: int) -> None:
    """Raise `UserError` for too few pictures to make one of, or too many."""
    if count not in BLENDED:
        raise UserError(Sentence("blend_so_many", count=count, most=int(BLENDED.high)))


def _best_of_one(typed: Mapping[str, Any], built: Built) -> list[Sentence]:
    """Return what is said where the best of one picture was asked for."""
    alone = len(built.recipe.pictures) == 1
    return [Sentence("best_of_one")] if typed.get(BEST) and alone else []


def _event_of(asker: Asker, number: int) -> str | None:
    """Return the event of one of a request's jobs, from 0."""
    return f"{asker.event}/{number + 1}" if asker.event and number else asker.event


def _new_job(draft: _Draft, asker: Asker, number: int) -> NewJob:
    """Return the job of a draft; number: which of one request's, from 0."""
    reply = asker.reply
    if number and asker.further_reply is not None:
        reply = asker.further_reply
    origin, recipe = dict(draft.origin), draft.built.recipe
    best = origin.pop("best", False) and len(recipe.pictures) > 1
    return NewJob(
        recipe=recipe,
        person=asker.person,
        place=asker.place,
        reply=reply,
        event=_event_of(asker, number),
        best=best,
        **origin,
    )


def _check_edit(given: Sequence[str], values: Mapping[str, Any], model: Checkpoint) -> None:
    """Raise `UserError` for more pictures than a model edits, and for options that it ignores."""
    if len(given) > 1 and not model.references:
        raise UserError(Sentence("with_not_edited", model=model.name, others=len(given) - 1))
    if len(given) > (most := model.references) > 0:
        said = Sentence("too_many_references", model=model.name, most=most, given=len(given))
        raise UserError(said)
    without = [typed_as(name, values[name]) for name in ("strength", "fit") if name in values]
    if without and model.references:
        called = ", ".join(without)
        raise UserError(Sentence("edit_takes_no", model=model.name, called=called))


def _in_shape(size: tuple[int, int], pixels: int, model: Checkpoint) -> dict[str, int]:
    """Return a size in the shape of another, with about so many pixels, as the model draws it."""
    width, height = size_like(*size, pixels, model.multiple)
    return {"width": width, "height": height}


def _usual_pixels(model: Checkpoint) -> int:
    return model.defaults.width * model.defaults.height
