"""The commands of `marble` that draw or show pictures, and `marble serve`."""

import asyncio
import logging
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bots.chat.answers import numbered_in
from bots.chat.suggestions import numbered
from bots.operations.settings import Settings
from bots.presentation.lines import best_note, device_note, match_text, name_of, parent_of
from bots.presentation.making_of import MakingOf, read_making_of
from bots.requests.derive import the_picture
from bots.requests.likeness import NAME, read_like
from bots.requests.options import Values, parse_values
from bots.requests.studio import BLENDED, Asker, Studio
from bots.requests.typed_options import read_request
from bots.requests.workflows import read_choices, values_of
from bots.service.app import App, open_app
from bots.terminal.arguments import number, options_of, out_of, upscale_of
from bots.terminal.console import Listing, open_console, styled
from bots.terminal.files import check_address, looks_like_file, picture_file, read_file
from bots.terminal.inputs import (
    A_PICTURE,
    IMAGINED,
    INPUTS,
    OTHERS,
    PICTURES,
    is_ours,
    read_direction,
    read_mask,
    read_source,
    read_sources,
    read_values,
)
from bots.terminal.output import headline, recipe_table, show_pictures
from bots.terminal.places import TERMINAL, person
from bots.terminal.progress import LiveProgress
from bots.terminal.recipe_files import note_ignored, read_workflow, reading_table
from bots.texts import EN
from engine.errors import LONGEST_PATH, OptionError, UserError, shorten
from engine.pictures.images import BYTES
from engine.recipe.limits import check_words, read_whole
from engine.sentences import Sentence
from storage import IllegalStep, Job, StaleEpoch, Status, TooLate

Make = Callable[..., Awaitable[Job]]  # a method of `Studio`
Work = Callable[["Session"], Awaitable[int | None]]

log = logging.getLogger(__name__)


class Session:
    """Draws and shows pictures for one person in a terminal.

    later: leave jobs to a process that serves. copy_to: where copies of pictures are written.
    """

    def __init__(self, app: App, *, later: bool, copy_to: Path | None) -> None:
        self.console = open_console()
        self._studio, self._workflows = app.studio, app.workflows
        self._asker = Asker(person=person(), place=TERMINAL, reply={"later": later}, later=later)
        self._storage, self._worker = app.storage, app.worker
        self._descriptions, self._likeness = app.descriptions, app.likeness
        mode = app.settings.terminal_pictures
        self._previews = mode != "off"
        self._show = partial(show_pictures, self.console, app.storage.pictures, mode, copy_to)
        self._last: str | None = None  # the latest job that was drawn here

    async def close_abandoned(self) -> None:
        """End the jobs of terminals that died: nobody waits there for their pictures."""
        for job in await self._storage.worker.requeue_lost():
            if job.adapter == TERMINAL and not job.reply.get("later"):
                reason = f"The terminal that asked for it ended; `marble rerun {job.id}` draws it."
                with suppress(StaleEpoch, IllegalStep):  # another process draws it already
                    await self._storage.jobs.failed(job.id, job.epoch, reason)

    async def imagine(self, choices: Sequence[Values], workflow: str | None = None) -> None:
        """Draw a prompt for each of several choices, and show them.

        Values come from `read_values`, here and below. workflow: of the owner's, by which it is
        drawn; then there is one choice.
        """
        kept = await self._keep_each(choices)
        if workflow is None:
            await self._draw_each(self._studio.imagine_each(kept, self._asker))
        else:
            await self._draw(self._workflows.draw(workflow, kept[0], self._asker))

    async def rerun(self, name: str | None, values: Values) -> None:
        """Draw a picture again, with some values changed, and show it.

        `name` is a job, one of its pictures, or a PNG file that carries its recipe; None is this
        person's latest.
        """
        if name and (file := picture_file(name)):
            return await self.run(file, values)
        if name:
            check_address(name, f"rerun takes {A_PICTURE}")
        if name and looks_like_file(name):
            short = shorten(name, LONGEST_PATH)
            raise UserError(f"There is no file {short}; rerun takes {A_PICTURE}.")
        values = await self._keep_inputs(values)
        await self._draw(self._studio.rerun(await self._named(name), values, self._asker))

    async def edit(self, name: str | None, values: Values, others: Sequence[str]) -> None:
        """Edit a picture by words, and show the result.

        name: one of our pictures, or a file; None is this person's latest. others: of further
        pictures that the words are about.
        """
        given = [await self._keep("--with", each) for each in others]
        if name and not is_ours(name):
            image = await self._keep("edit", name)
            await self._draw(self._studio.edit_image(image, values, self._asker, others=given))
            return
        name = await self._named(name)
        await self._draw(self._studio.edit(name, values, self._asker, others=given))

    async def blend(self, pictures: Sequence[str], values: Values) -> None:
        """Make one picture of several, and show it; pictures: ours by name, or files."""
        names = [each for each in pictures if is_ours(each)]
        others = [await self._keep("blend", each) for each in pictures if not is_ours(each)]
        await self._draw(self._studio.blend(names, others, values, self._asker))

    async def describe(self, source: str | None) -> None:
        """Say in words what a picture shows: one of ours, a file, or this person's latest."""
        if source and not is_ours(source):
            data = read_file(source, BYTES, f"describe takes {A_PICTURE}")
        else:
            picture = the_picture(*await self._studio.get(await self._named(source)))
            data = await asyncio.to_thread(self._storage.pictures.read, picture)
        found = await self._descriptions.suggest(data, self._asker.person)
        for line in numbered(found):
            self.console.print(styled(line, "none"), soft_wrap=True)

    async def run(self, file: Path, values: Values, result: str | None = None) -> None:
        """Draw what a workflow or picture file says, with some values changed, and show it.

        result: the node of a workflow that is meant, where several save or show a picture. Where
        nothing can be drawn, what the file says is shown.
        """
        values = await self._keep_inputs(values)
        read = await read_workflow(file, self._studio, self._storage.pictures, result)
        if read.refused is not None:
            self.console.print(reading_table(read))
        note_ignored(read.ignored, self.console)
        await self._draw(self._studio.draw_reading(read, values, self._asker))

    async def derive(self, make: Make, name: str | None, **how: Any) -> None:
        """Draw a picture from another one, and show it; None is this person's latest."""
        await self._draw(make(self._studio, await self._named(name), self._asker, **how))

    async def making_of(self, name: str | None) -> MakingOf:
        """Draw a picture again, show it, and return how it came about."""
        job, index = await self._studio.get(await self._named(name))
        first = the_picture(job, index)
        asked = await self._draw(self._studio.making_of(first.name, self._asker))
        made = await self._storage.jobs.get(asked.id)
        return await asyncio.to_thread(read_making_of, job, first, made, self._storage.pictures)

    async def show(self, name: str | None) -> None:
        """Show a job's recipe and pictures."""
        job, picture = await self._studio.get(await self._named(name))
        facts = job.recipe.to_dict() | {
            "status": job.status.value,
            "style": job.style,
            "made from": job.parent and parent_of(job),
            "error": job.error,
            "match": match_text(job, await self._storage.vectors.matches(job.id), picture),
        }
        self.console.print(recipe_table(facts))
        self._show([kept for kept in job.pictures if picture in (None, kept.index)])

    async def history(self, limit: int) -> None:
        """List this person's latest jobs, the newest first."""
        jobs = await self._storage.history.page(person=self._asker.person, limit=limit)
        if not jobs:
            self.console.print("No pictures yet. Try: marble imagine a marble scholar")
            return
        self._list((str(job.id), job) for job in jobs)

    async def alike(self, like: str, limit: int) -> None:
        """List everybody's pictures that are nearest to words or to another picture."""
        like = read_like(like)
        meant = the_picture(*await self._studio.get(like)) if NAME.fullmatch(like) else like
        found = await self._likeness.find(meant, limit, None)
        table = Listing("picture", "match", "when", "seed", "prompt")
        for each in found:
            when, recipe = _when(each.job), each.job.recipe
            match = f"{each.cosine:.3f}"
            table.add(each.picture.name, match, when, str(recipe.seed), recipe.prompt)
        self.console.print(table)

    async def favourite(self, name: str | None) -> None:
        """Add pictures to this person's favourites, or remove them where all are among them."""
        job, picture = await self._studio.get(await self._named(name))
        meant = [each.index for each in job.pictures if picture in (None, each.index)]
        if not meant:
            raise UserError(EN.not_yet)
        kept = await self._storage.favourites.toggle(self._asker.person, job.id, *meant)
        said = EN.favourite_added if kept else EN.favourite_removed
        self.console.print(said.format(name=name_of(job, picture)))

    async def favourites(self, limit: int) -> None:
        """List this person's favourites, the newest first."""
        kept = await self._storage.favourites.page(self._asker.person, limit=limit)
        if not kept:
            self.console.print("No favourites yet. Try: :star 12.3")
            return
        self._list((each.picture.name, each.job) for each in kept)

    def _list(self, entries: Iterable[tuple[str, Job]]) -> None:
        """Print names and their jobs."""
        table = Listing("id", "when", "status", "seed", "prompt")
        for name, job in entries:
            table.add(name, _when(job), job.status, str(job.recipe.seed), job.recipe.prompt)
        self.console.print(table)

    async def _named(self, name: str | None) -> str:
        """Return the name, or that of this person's latest job with pictures."""
        name = self._last if name is None else name
        if name is not None:
            return name
        for job in await self._storage.history.page(person=self._asker.person, limit=20):
            if job.status in (Status.RENDERED, Status.DELIVERED):
                return str(job.id)
        raise UserError(Sentence("nothing_yet"))

    async def _keep_each(self, choices: Sequence[Values]) -> list[Values]:
        """Return choices with stored pictures; those that several share are read and kept once."""
        known: dict[Hashable, Values] = {}
        kept = []
        for values in choices:
            typed: Values = {name: values[name] for name in PICTURES if name in values}
            key = tuple(typed.items())
            if key not in known:
                known[key] = await self._keep_inputs(typed)
            kept.append(values | known[key])
        return kept

    async def numbered(self, number: int) -> str:
        """Return the name of the picture of a number in this person's latest job."""
        job, _ = await self._studio.get(await self._named(None))
        return numbered_in(job, number)

    async def _keep_inputs(self, values: Values) -> Values:
        """Return values with the sha256 of stored pictures in place of what was typed for them."""
        kept = dict(values)
        if "controls" in values:
            controls = [
                replace(control, image=await self._keep("--control", file))
                for file, control in values["controls"]
            ]
            kept["controls"] = tuple(controls)
        if "image" in values:
            kept["image"] = await self._keep("--image", values["image"])
        if "mask" in values:
            mask = await self._mask(values["mask"])
            kept["mask"] = await self._studio.keep_mask(kept["image"], mask)
        return kept

    async def _keep(self, option: str, name: str) -> str:
        """Store a picture and return its sha256; one of ours is in the store already."""
        if is_ours(name):
            return the_picture(*await self._studio.get(name)).sha256
        return await self._studio.keep_image(read_file(name, BYTES, f"{option} takes {A_PICTURE}"))

    async def _mask(self, text: str) -> bytes | str:
        """Return a mask's picture, or the word for how it is found in the start image."""
        if is_ours(text):
            picture = the_picture(*await self._studio.get(text))
            return await asyncio.to_thread(self._storage.pictures.read, picture)
        return read_mask(text)

    async def _draw(self, asked: Awaitable[Job]) -> Job:
        """Wait for a job that is being committed, follow it, show its pictures, and return it."""
        job = await asked

        async def alone() -> Sequence[Job]:
            return [job]

        await self._draw_each(alone())
        return job

    async def _draw_each(self, asked: Awaitable[Sequence[Job]]) -> None:
        """Do that for several jobs; raises the first error when all are done."""
        jobs = await asked
        for said in self._asker.notes:
            self.console.print(styled(said, "dim"), soft_wrap=True)
        self._asker.notes.clear()
        errors, shown = [], 0
        for at, job in enumerate(jobs):
            try:
                shown += await self._follow(job, shown + 1)
            except UserError as error:
                errors.append(error)
            except asyncio.CancelledError:
                for other in jobs[at:]:
                    await asyncio.shield(self._cancel(other))
                raise
        if errors:
            raise errors[0]

    async def _follow(self, job: Job, first: int) -> int:
        """Follow a job and show its pictures; return how many, numbered from `first`."""
        if self._asker.later:
            self.console.print(
                f"Job {job.id} waits for `marble serve`; `marble show {job.id}` shows it then."
            )
            return 0
        # A model's note on its limits is printed before the first job of a person.
        note = self._studio.catalogue.get(job.recipe.checkpoint).notes.get("en")
        if note and len(await self._storage.history.page(person=job.person, limit=2)) == 1:
            self.console.print(styled(note, "dim"))
        with LiveProgress(self.console, previews=self._previews) as progress:
            async for news in self._worker.follow(job.id):
                progress.show(news)
        job = await self._storage.jobs.get(job.id)
        if job.status is not Status.RENDERED:
            raise UserError(job.error or f"Job {job.id} was cancelled.")
        self.console.print(headline(job))
        for note in filter(None, (best_note(job, EN), device_note(job, EN))):
            self.console.print(styled(note, "dim"), soft_wrap=True)
        self._last = str(job.id)
        try:
            self._show(job.pictures, first)
        finally:  # whether or not copies could be written
            await self._storage.jobs.delivered(job.id)
        return len(job.pictures)

    async def _cancel(self, job: Job) -> None:
        with suppress(TooLate):
            await self._worker.cancel(job.id)
            self.console.print(f"Job {job.id} was cancelled.")


def _when(job: Job) -> str:
    return job.created_at.astimezone().strftime("%Y-%m-%d %H:%M %Z")


async def in_session(arguments: Namespace, settings: Settings, work: Work) -> int | None:
    """Open everything for some work in a session; a bad --out raises `UserError` before."""
    copy_to, later = out_of(arguments), getattr(arguments, "later", False)
    async with open_app(settings) as app:
        session = Session(app, later=later, copy_to=copy_to)
        await session.close_abandoned()
        return await work(session)


async def imagine(arguments: Namespace, settings: Settings) -> None:
    """Draw a prompt."""
    # All that can be wrong with the words themselves is said before anything is opened.
    given = options_of(arguments)
    asked = read_imagine(" ".join(arguments.prompt), given)
    await in_session(arguments, settings, lambda session: session.imagine(*asked))


async def rerun(arguments: Namespace, settings: Settings) -> None:
    """Draw a job or one of its pictures again."""
    values = _read(arguments.prompt, arguments)
    await in_session(arguments, settings, lambda session: session.rerun(arguments.id, values))


async def run(arguments: Namespace, settings: Settings) -> None:
    """Draw a ComfyUI workflow."""
    values, file, result = _read(None, arguments), Path(arguments.file), arguments.result
    await in_session(arguments, settings, lambda session: session.run(file, values, result))


async def edit(arguments: Namespace, settings: Settings) -> None:
    """Edit a picture by words."""
    name, words = read_source(arguments.prompt)
    values, others = read_edit(words, options_of(arguments))
    await in_session(arguments, settings, lambda session: session.edit(name, values, others))


async def blend(arguments: Namespace, settings: Settings) -> None:
    """Make one picture of several."""
    pictures, values = read_blend(arguments.prompt, options_of(arguments))
    await in_session(arguments, settings, lambda session: session.blend(pictures, values))


async def describe(arguments: Namespace, settings: Settings) -> None:
    """Say in words what a picture shows."""
    await in_session(arguments, settings, lambda session: session.describe(arguments.id))


async def vary(arguments: Namespace, settings: Settings) -> None:
    """Draw a picture like another one."""
    await _derive(arguments, settings, Studio.vary, strong=arguments.strong)


async def upscale(arguments: Namespace, settings: Settings) -> None:
    """Make a picture larger."""
    await _derive(arguments, settings, Studio.upscale, **upscale_of(arguments))


async def zoom(arguments: Namespace, settings: Settings) -> None:
    """Show a picture from further away."""
    factor = number("--factor", arguments.factor)
    await _derive(arguments, settings, Studio.zoom, factor=factor)


async def pan(arguments: Namespace, settings: Settings) -> None:
    """Continue a picture to one side."""
    words = [word for word in (arguments.id, arguments.direction) if word is not None]
    names, direction = read_direction(words)
    arguments.id = next(iter(names), None)
    await _derive(arguments, settings, Studio.pan, direction=direction)


async def _derive(arguments: Namespace, settings: Settings, make: Make, **how: Any) -> None:
    await in_session(arguments, settings, lambda session: session.derive(make, arguments.id, **how))


async def history(arguments: Namespace, settings: Settings) -> None:
    """List the latest jobs."""
    text = arguments.limit
    if (limit := read_whole(text, 1, 1000)) is None:
        raise OptionError("limit", text, "a whole number between 1 and 1000")
    if (like := arguments.like) is not None:
        await in_session(arguments, settings, lambda session: session.alike(like, limit))
        return
    await in_session(arguments, settings, lambda session: session.history(limit))


async def show(arguments: Namespace, settings: Settings) -> None:
    """Show a job's recipe and pictures."""
    await in_session(arguments, settings, lambda session: session.show(arguments.id))


async def serve(arguments: Namespace, settings: Settings) -> None:
    """Draw for everybody until interrupted."""
    from bots.service import serve  # no other command needs what it imports

    if sys.stderr.isatty():
        sys.stderr.write("Marble is running. Ctrl-C stops it after running jobs, twice at once.\n")
    log.info("Marble is running")
    with suppress(asyncio.CancelledError):  # the way in which serving ends
        await serve.serve(settings)


def read_imagine(
    text: str, given: Iterable[tuple[str, str]] = ()
) -> tuple[list[Values], str | None]:
    """Return the values of each picture, and the workflow by which it is drawn, if one is named.

    given: options beside the text. Raises `UserError`.
    """
    read = partial(read_request, given=list(given), more=IMAGINED)
    choices, workflow = read_choices(text, read)
    return [values_of(each, workflow, read_values) for each in choices], workflow


def read_edit(words: str, given: Iterable[tuple[str, str]] = ()) -> tuple[Values, list[str]]:
    """Return the values of an edit and the names of further pictures; raises `UserError`."""
    text, typed = read_request(words, given, [OTHERS])
    check_words(text)
    others = [file for name, file in typed if name == OTHERS.name]
    rest = ((name, value) for name, value in typed if name != OTHERS.name)
    return {"prompt": text} | parse_values(rest), others


def read_blend(
    words: Sequence[str], given: Iterable[tuple[str, str]] = ()
) -> tuple[list[str], Values]:
    """Return the pictures of a blend and its values; raises `UserError`."""
    pictures, text = read_sources(words)
    if len(pictures) not in BLENDED:
        raise UserError("Name two to five pictures (12.3, or files), like `blend 12.3 cat.png`.")
    text, typed = read_request(text, given)
    return pictures, parse_values(typed) | ({"prompt": text} if text else {})


def _read(prompt: str | None, arguments: Namespace) -> Values:
    """Return the values that were typed, those within a prompt, too."""
    typed = options_of(arguments)
    if prompt is None:
        return read_values(typed)
    text, typed = read_request(prompt, typed, INPUTS)
    check_words(text)
    return {"prompt": text} | read_values(typed)
