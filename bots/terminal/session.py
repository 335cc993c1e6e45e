"""A person at a terminal: what they ask for, and how they are answered."""

import asyncio
import getpass
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bots.requests.studio import Asker, NothingYet
from bots.service.app import App
from bots.terminal.answers import headline, recipe_table, show_pictures
from bots.terminal.console import Listing, styled
from bots.terminal.given import A_PICTURE, Given
from bots.terminal.names import CARRIERS
from bots.terminal.passport import note, read_workflow
from bots.terminal.progress import LiveProgress
from engine.errors import UserError, shorten
from engine.events import Verdict
from storage import IllegalStep, Job, Picture, StaleEpoch, Status, TooLate

PLACE: Final = "terminal"


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
            return await self.run(file, values, copy_to)
        if name and looks_like_file(name):
            raise UserError(f"There is no file {shorten(name)}; rerun takes {A_PICTURE}.")
        job = await self._app.studio.rerun(await self.named(name), values, self._asker)
        return await self._answer(job, copy_to)

    async def run(self, file: Path, values: Mapping[str, Any], copy_to: Path | None = None) -> Job:
        """Draw what a workflow or a picture file says, with some values changed, and show it."""
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

    async def given(self, typed: Given) -> Mapping[str, Any]:
        """Keep the pictures that were typed and return the recipe's values."""
        return await typed.values(self._app.studio, self._app.storage.pictures)

    async def show(self, name: str | None, copy_to: Path | None = None) -> None:
        """Show what a job's pictures were made from, and the pictures."""
        job, picture = await self._app.studio.get(await self.named(name))
        self._console.print(recipe_table(job))
        self._show_pictures(
            [kept for kept in job.pictures if picture in (None, kept.index)], copy_to
        )

    async def history(self, limit: int) -> None:
        """List this person's latest jobs, the newest first."""
        jobs = await self._app.storage.history.page(person=self._asker.person, limit=limit)
        if not jobs:
            self._console.print("Nothing yet. Try: marble imagine a marble scholar")
            return
        table = Listing("id", "when", "status", "seed", "prompt")
        for job in jobs:
            when = job.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
            table.add(str(job.id), when, job.status, str(job.recipe.seed), job.recipe.prompt)
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
        self._console.print(headline(job))
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
            self._console.print(styled(note, "dim"))

    def _show_pictures(self, pictures: Sequence[Picture], copy_to: Path | None) -> None:
        mode = self._app.settings.terminal_pictures
        store = self._app.storage.pictures
        show_pictures(self._console, store, pictures, mode=mode, copy_to=copy_to)
        for each in pictures:  # whoever sits here owns them: they are told, and shown everything
            if each.verdict is Verdict.UNSAFE:
                finding = f"The safety check finds {each.name} unsafe."
                self._console.print(styled(finding, "dim"))


def picture_file(name: str, *others: str) -> Path | None:
    """Return the file that a name means, or None where it names a job or picture of ours.

    others: endings of files beside those of pictures.
    """
    try:
        path = Path(name).expanduser()
        return path if looks_like_file(name, *others) and path.is_file() else None
    except (OSError, RuntimeError):  # longer than any name; the home of nobody known
        return None


def looks_like_file(name: str, *others: str) -> bool:
    """Tell whether a name ends as picture files do, there or not; others: further endings."""
    return Path(name).suffix.lower() in (*CARRIERS, *others)


def person() -> str:
    """Return who sits at this terminal, as jobs and the moderators' log name them."""
    return f"{PLACE}:{user_name()}"


def user_name() -> str:
    """Return who sits at this terminal, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return "somebody"
