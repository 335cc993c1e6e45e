"""Pictures of messages that Marble knows nothing of: their own texts say what they were made from.

They were drawn by ComfyUI, A1111 or another Marble, or sent on by people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

import discord

from bots.discord.attachments import is_picture, read_attachment
from bots.discord.replies import CONTENT
from bots.discord.visits import Click, Refusal
from bots.presentation import cut, escape_markdown, fit_lines, ignored_text, value_lines
from bots.requests.studio import Asker
from bots.texts import Words
from engine.formats.metadata import Reading, read_recipe
from storage import Job

if TYPE_CHECKING:
    from bots.discord.desk import Desk

Deed = Callable[["Desk", Click, discord.Attachment], Awaitable[None]]


def picture_of(message: discord.Message, words: Words) -> discord.Attachment:
    """Return a message's first picture file; raises `Refusal`."""
    found = next((each for each in message.attachments if is_picture(each)), None)
    if found is None:
        raise Refusal(words.unknown_message)
    return found


async def recipe(desk: Desk, visit: Click, file: discord.Attachment) -> None:
    """Tell what a file says that it was made from, and what of it is not honoured."""
    await visit.open(private=True)
    await visit.tell(reading_text(await _read(file), file.filename, visit.words))


async def again(desk: Desk, visit: Click, file: discord.Attachment) -> None:
    """Draw what a file says that it was made from.

    A recipe that starts from stored pictures is refused: they may be another person's.
    """

    async def ask(asker: Asker) -> Job:
        await desk.admit(visit)  # nothing is fetched for who may not ask
        reading = await _read(file)
        if reading.recipe.inputs:
            raise Refusal(visit.words.starts_from_others)
        job = await desk.studio.remake(reading.recipe, {}, asker)
        visit.note = cut(_not_honoured(reading, visit.words), CONTENT)
        return job

    await desk.draw(visit, ask)


DEEDS: Final[Mapping[str, Deed]] = {"recipe": recipe, "again": again}


def reading_text(reading: Reading, name: str, words: Words) -> str:
    """Return what was read in a file of that name as lines of text."""
    title = words.recipe_title.format(name=escape_markdown(name))
    lines = [
        f"{escape_markdown(label)}: {escape_markdown(value)}"
        for label, value in value_lines(reading.recipe.to_dict(), words)
    ]
    below = f"\n{_not_honoured(reading, words)}" if reading.ignored else ""
    below = cut(below, CONTENT // 2)
    return fit_lines([f"**{title}** ({reading.source})", *lines], CONTENT - len(below)) + below


def _not_honoured(reading: Reading, words: Words) -> str:
    what = escape_markdown(ignored_text(reading.ignored, words))
    return words.ignored.format(what=what) if what else ""


async def _read(file: discord.Attachment) -> Reading:
    return await asyncio.to_thread(read_recipe, await read_attachment(file))
