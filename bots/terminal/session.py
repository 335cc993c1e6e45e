"""A person at a terminal: what they ask for, and how they are answered."""

import asyncio
import getpass
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from rich.console import Console
from rich.table import Table

from bots.app import App
from bots.derive import the_picture
from bots.studio import Asker, NothingYet
from bots.terminal.controls import NO_CONTROL, TypedControl
from bots.terminal.escaping import escape
from bots.terminal.passport import note, read_workflow
from bots.terminal.pictures import show
from bots.terminal.progress import LiveProgress
from engine.errors import OptionError, UserError
from engine.images import BYTES
from engine.metadata import encode_as, read_recipe
from storage import IllegalStep, Job, Picture, StaleEpoch, Status, TooLate

PLACE: Final = "terminal"
NAME: Final = r"#?\d{1,18}(\.\d+)?"  # of a picture of ours
FORMS: Final[Mapping[str, Literal["JPEG", "WEBP"]]] = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
}
CARRIERS: Final = (".png", *FORMS)


class JobFailed(UserError):
    """Say why a job brought no picture."""


class Session:
    """Answer one person in a terminal; `console` shows what a pipe may also read."""

    def __init__(self, app: App, console: Console, *, later: bool = False) -> None:
        self._app = app
        self._console = console
        self._asker = Asker(person=person(), place=PLACE, reply={"later": later}, later=later)
        self.last: str | None = None

    async def recover(self) -> None:
        """Close the jobs of terminals that died; nobody is left there to hand a picture to."""
        for job in await self._app.storage.requeue_lost():
            if job.adapter == PLACE and not job.reply.get("later"):
                reason = f"The terminal that asked for it ended; `marble rerun {job.id}` draws it."
                with suppress(StaleEpoch, IllegalStep):  # somebody took it at once: it is drawn
                    await self._app.storage.jobs.failed(job.id, job.epoch, reason)

    async def imagine(self, values: Mapping[str, Any], copy_to: Path | None = None) -> Job:
        """Draw what was described and show it."""
        job = await self._app.studio.imagine(values, self._asker)
        return await self._answer(job, copy_to)

    async def rerun(
        self, name: str | None, values: Mapping[str, Any], copy_to: Path | None = None
    ) -> Job:
        """Draw a picture again, with some values changed, and show it.

        `name` is a job, one of its pictures, or a PNG file that carries its recipe; None is this
        person's latest.
        """
        if name and (file := picture_file(name)):
            reading = read_recipe(file.read_bytes())
            note(reading.ignored, self._console)
            job = await self._app.studio.remake(reading.recipe, values, self._asker)
        else:
            job = await self._app.studio.rerun(await self.named(name), values, self._asker)
        return await self._answer(job, copy_to)

    async def run(self, file: Path, values: Mapping[str, Any], copy_to: Path | None = None) -> Job:
        """Draw what a ComfyUI workflow says, with some values changed, and show it."""
        read = await read_workflow(file, self._app.studio, self._app.storage.pictures)
        note(read.ignored, self._console)
        job = await self._app.studio.remake(read.recipe, values, self._asker)
        return await self._answer(job, copy_to)

    async def vary(
        self, name: str | None, *, strong: bool = False, copy_to: Path | None = None
    ) -> Job:
        """Draw a picture like another one, and show it."""
        named = await self.named(name)
        job = await self._app.studio.vary(named, self._asker, strong=strong)
        return await self._answer(job, copy_to)

    async def upscale(
        self, name: str | None, how: Mapping[str, Any], *, copy_to: Path | None = None
    ) -> Job:
        """Make a picture larger, and show it."""
        job = await self._app.studio.upscale(await self.named(name), self._asker, **how)
        return await self._answer(job, copy_to)

    async def zoom(self, name: str | None, factor: float, *, copy_to: Path | None = None) -> Job:
        """Show a picture from further away."""
        job = await self._app.studio.zoom(await self.named(name), self._asker, factor=factor)
        return await self._answer(job, copy_to)

    async def pan(self, name: str | None, direction: str, *, copy_to: Path | None = None) -> Job:
        """Continue a picture to one side, and show it."""
        job = await self._app.studio.pan(await self.named(name), self._asker, direction)
        return await self._answer(job, copy_to)

    async def given(
        self, image: str | None, mask: str | None, controls: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Return the recipe values of a start image, a mask and controls, as they were typed.

        Pictures are files, or named as ours are.
        """
        if image is None and mask is not None:
            raise OptionError("--mask", mask, "used together with --image")
        values: dict[str, Any] = {}
        if controls is not None:
            typed = [TypedControl.read(text) for text in controls if text != NO_CONTROL]
            values["controls"] = tuple(
                [each.control(await self._keep("--control", each.file)) for each in typed]
            )
        if image is not None:
            values["image"] = await self._keep("--image", image)
        if mask is not None:
            data = file_bytes(mask)
            if data is None and re.fullmatch(NAME, mask):
                data = await self._stored(mask)
            if data is None and re.search(r"[./\\]|^$", mask):
                raise OptionError("--mask", mask, "a file that is there, alpha, or a colour")
            given = mask if data is None else data
            values["mask"] = await self._app.studio.keep_mask(values["image"], given)
        return values

    async def _keep(self, option: str, name: str) -> str:
        """Keep a picture that is named by its file or as ours are; return its sha256."""
        studio = self._app.studio
        data = file_bytes(name)
        if data is None:
            if not re.fullmatch(NAME, name):
                raise OptionError(option, name, "a picture file, or a picture's name like 12.3")
            return the_picture(*await studio.get(name)).sha256  # it is in the store already
        return await studio.keep_image(data)

    async def _stored(self, name: str) -> bytes:
        picture = the_picture(*await self._app.studio.get(name))
        return await asyncio.to_thread(self._app.storage.pictures.read, picture)

    async def show(self, name: str | None, copy_to: Path | None = None) -> None:
        """Show what a job's pictures were made from, and the pictures."""
        job, picture = await self._app.studio.get(await self.named(name))
        self._console.print(_recipe_table(job))
        self._show_pictures(
            [kept for kept in job.pictures if picture in (None, kept.index)], copy_to
        )

    async def history(self, limit: int) -> None:
        """List this person's latest jobs, the newest first."""
        jobs = await self._app.storage.history.page(person=self._asker.person, limit=limit)
        if not jobs:
            self._console.print("Nothing yet. Try: marble imagine a marble scholar")
            return
        table = Table(box=None, pad_edge=False)
        for heading in ("id", "when", "status", "seed", "prompt"):
            table.add_column(heading, no_wrap=heading != "prompt")
        for job in jobs:
            when = job.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
            table.add_row(
                str(job.id), when, job.status, str(job.recipe.seed), escape(job.recipe.prompt)
            )
        self._console.print(table)

    async def named(self, name: str | None) -> str:
        """Return the name, or that of this person's latest job with pictures."""
        if name is not None:
            return name
        if self.last:
            return self.last
        for job in await self._app.storage.history.page(person=self._asker.person, limit=20):
            if job.status in (Status.RENDERED, Status.DELIVERED):
                return str(job.id)
        raise NothingYet

    async def _answer(self, job: Job, copy_to: Path | None) -> Job:
        if self._asker.later:
            self._console.print(
                f"Job {job.id} waits for `marble serve`; `marble show {job.id}` shows it then."
            )
            return job
        await self._say_note(job)
        try:
            with LiveProgress(self._console, previews=self._previews) as progress:
                async for news in self._app.studio.follow(job.id):
                    progress.show(news)
        except asyncio.CancelledError:
            await asyncio.shield(self._cancel(job))
            raise
        job = await self._app.storage.jobs.get(job.id)
        if job.status is not Status.RENDERED:
            raise JobFailed(job.error or f"Job {job.id} was cancelled.")
        self._console.print(_headline(job))
        self._show_pictures(job.pictures, copy_to)
        self.last = str(job.id)
        return await self._app.storage.jobs.delivered(job.id)

    async def _cancel(self, job: Job) -> None:
        try:
            await self._app.studio.cancel(job.id)
        except TooLate:
            return
        self._console.print(f"Job {job.id} was cancelled.")

    @property
    def _previews(self) -> bool:
        return self._app.settings.terminal_pictures != "off"

    async def _say_note(self, job: Job) -> None:
        """Tell somebody new, once, what a model is not made for, where it says so."""
        note = self._app.studio.model(job.recipe.checkpoint).notes.get("en")
        if note and len(await self._app.storage.history.page(person=job.person, limit=2)) == 1:
            self._console.print(f"[dim]{escape(note)}[/dim]")

    def _show_pictures(self, pictures: Sequence[Picture], copy_to: Path | None) -> None:
        for number, picture in enumerate(pictures):
            path = self._app.storage.pictures.path(picture)
            png = _read(path, picture)
            show(png, sys.stdout, mode=self._app.settings.terminal_pictures)
            if copy_to:
                path = numbered(copy_to, number)
                path.write_bytes(as_named(png, path))
            self._console.print(f"  {picture.name}  {escape(str(_near(path)))}", soft_wrap=True)


class PictureLost(UserError):
    """Say that a picture's file cannot be read."""


def _read(path: Path, picture: Picture) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PictureLost(
            f"The file of picture {picture.name} cannot be read ({error.strerror}: {path}); "
            f"`marble rerun {picture.name}` draws it again."
        ) from None


def file_bytes(name: str) -> bytes | None:
    """Return a file's bytes, one more than any picture may have at most; None if it is no file."""
    path = Path(name)
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(BYTES + 1)
    except (OSError, ValueError) as error:
        raise OptionError("the picture", name, f"a file that can be read ({error})") from None


def as_named(png: bytes, path: Path) -> bytes:
    """Return a picture in the form that a file's name asks for; PNG where it asks for none."""
    kind = FORMS.get(path.suffix.lower())
    return encode_as(png, kind) if kind else png


def picture_file(name: str) -> Path | None:
    """Return the file that a name means, or None where it names a job or picture of ours."""
    path = Path(name)
    return path if path.suffix.lower() in CARRIERS and path.is_file() else None


def person() -> str:
    """Return who sits at this terminal, as jobs and the moderators' log name them."""
    return f"{PLACE}:{user_name()}"


def user_name() -> str:
    """Return who sits at this terminal, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return "somebody"


def numbered(path: Path, number: int) -> Path:
    """Return the path for the picture of that number from 0: a.png, a-2.png, a-3.png."""
    return path if number == 0 else path.with_name(f"{path.stem}-{number + 1}{path.suffix}")


def _near(path: Path) -> Path:
    """Return the path as seen from here, where it is below."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def _headline(job: Job) -> str:
    recipe = job.recipe
    facts = (
        "×".join(map(str, recipe.size)),
        f"{recipe.steps} steps",
        f"{recipe.sampler} {recipe.schedule}",
        f"guidance {recipe.guidance_scale:g}",
        f"seed {recipe.seed}",
        recipe.checkpoint,
    )
    return f"[bold]{job.id}[/bold]  {escape(recipe.prompt)}\n[dim]{escape(' · '.join(facts))}[/dim]"


def _recipe_table(job: Job) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    facts = job.recipe.to_dict() | {"status": job.status.value}
    if job.parent is not None:
        number = "" if job.parent_picture is None else f".{job.parent_picture + 1}"
        facts["made from"] = f"{job.parent}{number}"
    if job.error:
        facts["error"] = job.error
    for name, value in facts.items():
        if name != "version" and value not in ("", None):
            table.add_row(name.replace("_", " "), escape(str(value)))
    return table
