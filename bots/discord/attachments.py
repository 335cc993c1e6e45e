"""Pictures that people attach: read within Discord's and Marble's limits, or for their recipe.

Those of messages that Marble does not know were drawn by ComfyUI, A1111 or another Marble, or sent
on by people; their own texts say what they were made from.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator

import discord

from bots.discord.errors import NETWORK
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.replies import CONTENT
from bots.presentation.lines import ignored_text, value_lines
from bots.presentation.text import cut, escape_markdown, fit_lines
from bots.texts import Words
from engine.errors import UserError
from engine.formats.metadata import Reading, read_recipe
from engine.pictures.images import check_file_size
from engine.sentences import Sentence

log = logging.getLogger(__name__)


def pictures_in(message: discord.Message) -> Iterator[discord.Attachment]:
    """Yield a message's files that may be pictures; only their bytes tell for sure."""
    for each in message.attachments:
        if (each.content_type or "image/").startswith("image/"):
            yield each


async def read_attachment(attachment: discord.Attachment) -> bytes:
    """Return an attachment's bytes; raises `ImageError` before too many are fetched.

    Raises `UserError` where Discord does not hand them over.
    """
    check_file_size(attachment.size)
    try:
        return await attachment.read()
    except (discord.HTTPException, *NETWORK) as error:
        log.warning("an attachment could not be downloaded: %s", error)
        raise UserError(Sentence("unfetched")) from None


async def show_recipe(
    handler: Handler, request: InteractionRequest, file: discord.Attachment
) -> None:
    """Show the recipe written in a file, and the parts of it that Marble ignores."""
    await handler.acknowledge(request, private=True)
    await request.answer(reading_text(await _read(file), file.filename, request.words))


async def rerun(handler: Handler, request: InteractionRequest, file: discord.Attachment) -> None:
    """Draw the recipe written in a file.

    A recipe that starts from stored pictures is refused: they may be another person's.
    """
    async with handler.drawing(request):
        await handler.app.gate.admit(request)  # nothing is fetched for who may not ask
        reading = await _read(file)
        if reading.recipe.inputs:
            raise UserError(request.words.starts_from_others)
        job = await handler.studio.remake(reading.recipe, {}, request.asker)
    request.note = cut(_ignored(reading, request.words), CONTENT)
    await handler.announce(request, job)


def reading_text(reading: Reading, name: str, words: Words) -> str:
    """Return what was read in a file of that name as lines of text."""
    below = f"\n{_ignored(reading, words)}" if reading.ignored else ""
    below = cut(below, CONTENT // 2)
    values = value_lines(reading.recipe.to_dict(), words)
    return recipe_text(name, values, words, CONTENT - len(below), f" ({reading.source})") + below


def recipe_text(
    name: str, values: Iterable[tuple[str, str]], words: Words, limit: int, source: str = ""
) -> str:
    """Return a recipe, its values as (label, value), as text of so many characters at most."""
    title = words.recipe_title.format(name=escape_markdown(name))
    lines = (f"{escape_markdown(label)}: {escape_markdown(value)}" for label, value in values)
    return fit_lines([f"**{title}**{source}", *lines], limit)


def _ignored(reading: Reading, words: Words) -> str:
    what = escape_markdown(ignored_text(reading.ignored, words))
    return words.ignored.format(what=what) if what else ""


async def _read(file: discord.Attachment) -> Reading:
    return await asyncio.to_thread(read_recipe, await read_attachment(file))
