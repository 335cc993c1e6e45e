"""What buttons and reactions do to a picture; one table for both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from telegram import InputFile
from telegram.error import BadRequest

from bots.options import parse_values
from bots.presentation import name_of, recipe_lines
from bots.telegram import keyboards
from bots.telegram.errand import Errand
from bots.telegram.progress import answering
from engine.errors import UserError
from storage import Job, Picture, TooLate
from storage.life import OVER

DOCUMENT: Final = 50_000_000  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Hold what an act is about: a job, one of its pictures or all, and the message acted on."""

    job: Job
    picture: int | None
    message: int

    @property
    def name(self) -> str:
        """Return the name that people use."""
        alone = self.picture is None or self.job.recipe.count == 1
        return name_of(self.job, None if alone else self.picture)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Return the pictures that are meant."""
        return tuple(each for each in self.job.pictures if self.picture in (None, each.index))


Act = Callable[[Errand, Target], Awaitable[str | None]]  # returns what is shown above the chat


async def same(errand: Errand, target: Target) -> str | None:
    """Draw it again from its seed."""
    await errand.check_welcome()
    errand.begin(await errand.app.studio.rerun(target.name, {}, errand.asker))
    return None


async def new(errand: Errand, target: Target) -> str | None:
    """Draw it again with a new seed."""
    await errand.check_welcome()
    values = parse_values([("seed", "new")])
    errand.begin(await errand.app.studio.rerun(target.name, values, errand.asker))
    return None


async def original(errand: Errand, target: Target) -> str | None:
    """Send the files as they are: every pixel, and the recipe inside."""
    if not target.pictures:
        raise UserError(errand.words.not_drawn)
    for picture in target.pictures:
        png = await asyncio.to_thread(errand.app.storage.pictures.read, picture)
        await errand.bot.send_document(
            errand.address.chat,
            InputFile(png, filename=f"marble-{picture.name}.png"),
            message_thread_id=errand.address.thread,
            reply_parameters=answering(errand.address),
        )
    return None


async def recipe(errand: Errand, target: Target) -> str | None:
    """Say what it was made from."""
    lines = recipe_lines(target.job, errand.words, target.picture)
    title = errand.words.recipe_title.format(name=target.name)
    await errand.say("\n".join([title, *(f"{label}: {value}" for label, value in lines)]))
    return None


async def cancel(errand: Errand, target: Target) -> str | None:
    """End a job that waits or runs."""
    await errand.check_owner(target.job)
    await errand.app.studio.cancel(target.job.id)
    return errand.words.cancel_asked.format(job=target.job.id)


async def delete(errand: Errand, target: Target) -> str | None:
    """Take a message away, and cancel what it waits for."""
    await errand.check_owner(target.job)
    if target.job.status not in OVER:
        with suppress(TooLate):
            await errand.app.studio.cancel(target.job.id)
    try:
        await errand.bot.delete_message(errand.address.chat, target.message)
    except BadRequest:  # older than Telegram lets bots delete, or gone
        await errand.mark(target.message, None)
    return errand.words.deleted


async def pick(errand: Errand, target: Target) -> str | None:
    """Show the buttons of one picture of a grid, or those of the grid again."""
    buttons = keyboards.of_result(target.job, target.picture, errand.words)
    await errand.mark(target.message, buttons)
    return None


BUTTONS: Final[Mapping[str, Act]] = {
    "same": same,
    "new": new,
    "original": original,
    "recipe": recipe,
    "cancel": cancel,
    "delete": delete,
    "pick": pick,
}
