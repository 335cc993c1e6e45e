"""What buttons and reactions do to a picture; one table for both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from telegram import InputFile
from telegram.error import BadRequest

from bots.chat import access
from bots.chat.access import Purpose, check_personal
from bots.chat.listings import history_lines
from bots.presentation import fit_lines, name_of, recipe_lines, utf16_length
from bots.requests.options import parse_values
from bots.telegram import keyboards, mydata
from bots.telegram.addresses import Address
from bots.telegram.errand import TEXT, Errand
from bots.telegram.sending import at_or_near, post_at
from engine.errors import UserError
from storage import Job, Picture, TooLate, parse_name
from storage.states import OVER

DOCUMENT: Final = 50_000_000  # bytes
PAGE: Final = 10  # lines of a history


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Hold what an act is about: a job, one of its pictures or all, and the message acted on."""

    job: Job
    picture: int | None
    message: int | None = None
    shown: bool = False  # the message shows the job

    @classmethod
    def of(cls, found: access.Target, message: int | None = None) -> Target:
        """Return what was found, as somebody acts on it by a message."""
        return cls(job=found.job, picture=found.picture, message=message, shown=found.shown)

    @property
    def name(self) -> str:
        """Return the name that people use."""
        alone = self.picture is None or self.job.recipe.count == 1
        return name_of(self.job, None if alone else self.picture)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Return the pictures that are meant."""
        return tuple(each for each in self.job.pictures if self.picture in (None, each.index))


Do = Callable[[Errand, Target], Awaitable[str | None]]  # returns what is shown above the chat


@dataclass(frozen=True, slots=True)
class Act:
    """Say what is done to a picture, and as what it counts for who may."""

    do: Do
    purpose: Purpose


async def same(errand: Errand, target: Target) -> str | None:
    """Draw it again from its seed."""
    errand.begin(await errand.app.studio.rerun(target.name, {}, errand.asker))
    return None


async def new(errand: Errand, target: Target) -> str | None:
    """Draw it again with a new seed."""
    values = parse_values([("seed", "new")])
    errand.begin(await errand.app.studio.rerun(target.name, values, errand.asker))
    return None


async def vary(errand: Errand, target: Target) -> str | None:
    """Draw another picture that is a little like it."""
    errand.begin(await errand.app.studio.vary(target.name, errand.asker))
    return None


async def vary_strong(errand: Errand, target: Target) -> str | None:
    """Draw another picture that is somewhat like it."""
    errand.begin(await errand.app.studio.vary(target.name, errand.asker, strong=True))
    return None


async def upscale(errand: Errand, target: Target) -> str | None:
    """Draw it larger, with more detail."""
    errand.begin(await errand.app.studio.upscale(target.name, errand.asker))
    return None


async def zoom(errand: Errand, target: Target) -> str | None:
    """Show it from farther away."""
    errand.begin(await errand.app.studio.zoom(target.name, errand.asker))
    return None


async def original(errand: Errand, target: Target) -> str | None:
    """Send the files as they are: every pixel, and the recipe inside."""
    if not target.pictures:
        raise UserError(errand.words.not_drawn)
    for picture in target.pictures:

        async def send(near: Address, picture: Picture = picture) -> None:
            seen = await errand.app.screen.of(near.place)
            # Telegram has no spoilers for files.
            png = await asyncio.to_thread(seen.read_open, picture)
            file = InputFile(png, filename=f"marble-{picture.name}.png")
            await post_at(errand.bot.send_document, near, file)

        await at_or_near(send, errand.address)
    return None


async def recipe(errand: Errand, target: Target) -> str | None:
    """Say what it was made from."""
    lines = recipe_lines(target.job, errand.words, target.picture)
    title = errand.words.recipe_title.format(name=target.name)
    told = [title, *(f"{label}: {value}" for label, value in lines)]
    await errand.say(fit_lines(told, TEXT, utf16_length))
    return None


async def cancel(errand: Errand, target: Target) -> str | None:
    """End a job that waits or runs."""
    await errand.app.studio.cancel(target.job.id, by=errand.asker.person)
    return errand.words.cancel_asked.format(job=target.job.id)


async def delete(errand: Errand, target: Target) -> str | None:
    """Take a message away, and cancel what it waits for."""
    message = _own_message(errand, target)
    if target.job.status not in OVER:
        with suppress(TooLate):
            await errand.app.studio.cancel(target.job.id, by=errand.asker.person)
    try:
        await errand.bot.delete_message(errand.address.chat, message)
    except BadRequest:  # older than Telegram lets bots delete, or gone
        await errand.mark(message, None)
    await errand.app.storage.moderation.record_removal(target.job, by=errand.asker.person)
    return errand.words.deleted


async def pick(errand: Errand, target: Target) -> str | None:
    """Show the buttons of one picture of a grid, or those of the grid again."""
    buttons = keyboards.of_result(target.job, target.picture, errand.words)
    await errand.mark(_own_message(errand, target), buttons)
    return None


def _own_message(errand: Errand, target: Target) -> int:
    """Return the message that shows the job; raises `UserError` where another is acted on.

    What a button carries comes from an app, and an app can be changed.
    """
    if target.message is None or not target.shown:
        raise UserError(errand.words.unknown_message)
    return target.message


async def older(errand: Errand, before: str, message: int) -> str | None:
    """Show the page of one's history that follows a job."""
    check_personal(errand.viewer)
    await show_history(errand, before=parse_name(before)[0], message=message)
    return None


async def show_history(
    errand: Errand, *, before: int | None = None, message: int | None = None
) -> None:
    """List one's jobs, in a new message or in one that is there."""
    jobs = await errand.app.storage.history.page(
        person=errand.asker.person, before=before, limit=PAGE
    )
    text = "\n".join(history_lines(jobs, errand.words))
    buttons = keyboards.of_page(jobs[-1].id, errand.words) if len(jobs) == PAGE else None
    if message is None:
        await errand.say(text, buttons)
    else:
        await errand.bot.edit_message_text(text, errand.address.chat, message, reply_markup=buttons)


async def show_pictures(errand: Errand, target: Target) -> None:
    """Send a result again, as a message with buttons of its own."""
    if not target.pictures:
        raise UserError(errand.words.not_drawn)
    key, picture = await errand.replies.show(errand.address, target.job, target.pictures)
    await errand.app.storage.jobs.shown(target.job.id, {key: picture})


async def press(errand: Errand, data: str, message: int) -> str | None:
    """Do what a button carries."""
    act, _, name = data.partition(":")
    if act == mydata.FORGET:
        return await mydata.forget(errand)
    if act == keyboards.OLDER:
        return await older(errand, name, message)
    if act not in BUTTONS:
        raise UserError(errand.words.unknown_message)
    return await perform(errand, BUTTONS[act], name, message)


async def perform(errand: Errand, act: Act, name: str, message: int) -> str | None:
    """Do something to a picture that is named by a button or shown by a message."""
    found = await errand.find(name, act.purpose, message)
    return await act.do(errand, Target.of(found, message))


BUTTONS: Final[Mapping[str, Act]] = {
    "same": Act(same, Purpose.DRAW),
    "new": Act(new, Purpose.DRAW),
    "vary": Act(vary, Purpose.DRAW),
    "vary-strong": Act(vary_strong, Purpose.DRAW),
    "upscale": Act(upscale, Purpose.DRAW),
    "zoom": Act(zoom, Purpose.DRAW),
    "original": Act(original, Purpose.SEND),
    "recipe": Act(recipe, Purpose.TELL),
    "cancel": Act(cancel, Purpose.END),
    "delete": Act(delete, Purpose.END),
    "pick": Act(pick, Purpose.TELL),
}
# What reactions may be set to do: all that needs no message of its own to act on.
REACTIONS: Final[Mapping[str, Act]] = {name: act for name, act in BUTTONS.items() if name != "pick"}
