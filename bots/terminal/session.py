"""One person at a terminal: draws what they ask for and shows it."""

import asyncio
import getpass
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bots.requests.studio import Asker
from bots.service.app import App
from bots.terminal.console import Listing, styled
from bots.terminal.files import looks_like_file, picture_file
from bots.terminal.inputs import A_PICTURE
from bots.terminal.output import headline, recipe_table, show_pictures
from bots.terminal.progress import LiveProgress
from bots.terminal.recipe_files import note_ignored, read_workflow
from engine.errors import LONGEST_PATH, UserError, shorten
from engine.events import Verdict
from engine.sentences import Sentence
from storage import IllegalStep, Job, Picture, StaleEpoch, Status, TooLate

PLACE: Final = "terminal"


class JobFailed(UserError):
    """Says why a job has no picture."""


class Session:
    """Draws and shows pictures for one person in a terminal.

    later: leave jobs to a process that serves. copy_to: where copies of pictures are written.
    """

    def __init__(
        self, app: App, console: Console, *, later: bool = False, copy_to: Path | None = None
    ) -> None:
        self.studio = app.studio
        self.store = app.storage.pictures
        self.console = console
        self.asker = Asker(person=person(), place=PLACE, reply={"later": later}, later=later)
        self.last: str | None = None  # the latest job that was drawn here
        self._storage, self._worker = app.storage, app.worker
        self._mode = app.settings.terminal_pictures
        self._copy_to = copy_to

    async def close_abandoned(self) -> None:
        """End the jobs of terminals that died: nobody waits there for their pictures."""
        for job in await self._storage.worker.requeue_lost():
            if job.adapter == PLACE and not job.reply.get("later"):
                reason = f"The terminal that asked for it ended; `marble rerun {job.id}` draws it."
                with suppress(StaleEpoch, IllegalStep):  # another process draws it already
                    await self._storage.jobs.failed(job.id, job.epoch, reason)

    async def rerun(self, name: str | None, values: Mapping[str, Any]) -> None:
        """Draw a picture again, with some values changed, and show it.

        `name` is a job, one of its pictures, or a PNG file that carries its recipe; None is this
        person's latest.
        """
        if name and (file := picture_file(name)):
            return await self.run(file, values)
        if name and looks_like_file(name):
            raise UserError(
                f"There is no file {shorten(name, LONGEST_PATH)}; rerun takes {A_PICTURE}."
            )
        await self.draw(self.studio.rerun(await self.named(name), values, self.asker))

    async def run(self, file: Path, values: Mapping[str, Any]) -> None:
        """Draw the recipe of a workflow or picture file, with some values changed, and show it."""
        read = await read_workflow(file, self.studio, self.store)
        note_ignored(read.ignored, self.console)
        await self.draw(self.studio.remake(read.recipe, values, self.asker))

    async def show(self, name: str | None) -> None:
        """Show a job's recipe and pictures."""
        job, picture = await self.studio.get(await self.named(name))
        self.console.print(recipe_table(job))
        self._show_pictures([kept for kept in job.pictures if picture in (None, kept.index)])

    async def history(self, limit: int) -> None:
        """List this person's latest jobs, the newest first."""
        jobs = await self._storage.history.page(person=self.asker.person, limit=limit)
        if not jobs:
            self.console.print("No pictures yet. Try: marble imagine a marble scholar")
            return
        table = Listing("id", "when", "status", "seed", "prompt")
        for job in jobs:
            when = job.created_at.astimezone().strftime("%Y-%m-%d %H:%M %Z")
            table.add(str(job.id), when, job.status, str(job.recipe.seed), job.recipe.prompt)
        self.console.print(table)

    async def named(self, name: str | None) -> str:
        """Return the name, or that of this person's latest job with pictures."""
        if name is not None:
            return name
        if self.last:
            return self.last
        for job in await self._storage.history.page(person=self.asker.person, limit=20):
            if job.status in (Status.RENDERED, Status.DELIVERED):
                return str(job.id)
        raise UserError(Sentence("nothing_yet"))

    async def draw(self, asked: Awaitable[Job]) -> None:
        """Wait for a job that is being committed, follow it, and show its pictures."""
        job = await asked
        if self.asker.later:
            self.console.print(
                f"Job {job.id} waits for `marble serve`; `marble show {job.id}` shows it then."
            )
            return
        await self._say_note(job)
        try:
            with LiveProgress(self.console, previews=self._mode != "off") as progress:
                async for news in self._worker.follow(job.id):
                    progress.show(news)
        except asyncio.CancelledError:
            await asyncio.shield(self._cancel(job))
            raise
        job = await self._storage.jobs.get(job.id)
        if job.status is not Status.RENDERED:
            raise JobFailed(job.error or f"Job {job.id} was cancelled.")
        self.console.print(headline(job))
        self._show_pictures(job.pictures)
        self.last = str(job.id)
        await self._storage.jobs.delivered(job.id)

    async def _cancel(self, job: Job) -> None:
        try:
            await self._worker.cancel(job.id)
        except TooLate:
            return
        self.console.print(f"Job {job.id} was cancelled.")

    async def _say_note(self, job: Job) -> None:
        """Print a model's note on its limits before the first job of a person."""
        note = self.studio.catalogue.get(job.recipe.checkpoint).notes.get("en")
        if note and len(await self._storage.history.page(person=job.person, limit=2)) == 1:
            self.console.print(styled(note, "dim"))

    def _show_pictures(self, pictures: Sequence[Picture]) -> None:
        show_pictures(self.console, self.store, pictures, mode=self._mode, copy_to=self._copy_to)
        for each in pictures:  # this machine's owner sees every picture, with what was found
            if each.verdict is Verdict.UNSAFE:
                finding = f"The safety check finds {each.name} unsafe."
                self.console.print(styled(finding, "dim"))


def person() -> str:
    """Return the person of this terminal, as jobs and the moderators' log name people."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        name = "somebody"
    return f"{PLACE}:{name}"
