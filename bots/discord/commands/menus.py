"""Context menus on a message: what reactions and buttons do, where neither is at hand.

Pictures of messages that Marble does not know were drawn by ComfyUI, A1111 or another Marble, or
sent on by people; their own texts say what they were made from.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import discord
from discord import app_commands

from bots.chat.actions import ACTIONS as TABLE
from bots.discord.actions import ACTIONS
from bots.discord.address import message_key
from bots.discord.errors import NETWORK
from bots.discord.forms import offered_in, seal_of, start_form
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.registration import name_text
from bots.discord.replies import CONTENT, Reply, recipe_text
from bots.discord.results import readings_of
from bots.presentation.lines import ignored_text, name_of, reading_lines, reading_notes
from bots.presentation.text import cut, escape_markdown
from bots.requests.workflow_file import TEXT_FILES, read_content
from bots.texts import Words
from engine.errors import UserError
from engine.formats.reading import Reading
from engine.pictures.images import check_file_size
from engine.sentences import Sentence
from storage import Job

START: Final = "Use as start image"
IMAGE_TIMEOUT: Final = 2.0  # seconds: a form can only be the first answer, within 3 s
MENUS: Final = {action.menu: name for name, action in TABLE.items() if action.menu}

log = logging.getLogger(__name__)

Answer = Callable[[Handler, InteractionRequest, discord.Message], Awaitable[None]]


def add(tree: app_commands.CommandTree[Any], handler: Handler) -> None:
    """Add the menus; Discord takes five."""
    for label, action in MENUS.items():
        tree.add_command(_menu(label, partial(act, action=action), handler))
    tree.add_command(_menu(START, start_from, handler))


def _menu(label: str, answer: Answer, handler: Handler) -> app_commands.ContextMenu:
    async def choose(interaction: discord.Interaction[Any], message: discord.Message) -> None:
        async with handler.receive(InteractionRequest(interaction)) as request:
            await answer(handler, request, message)

    return app_commands.ContextMenu(name=name_text(f"menu {label}", label), callback=choose)


async def act(
    handler: Handler, request: InteractionRequest, message: discord.Message, *, action: str
) -> None:
    """Do something to the picture that a message shows, whoever sent it."""
    request.about = message.id
    found = await handler.storage.jobs.by_message(message_key(message.id))
    if found is not None:
        await ACTIONS[action](handler, request, name_of(*found))
        return
    file = _picture_in(message) or _text_in(message)
    if file is None or action not in FROM_FILES:
        raise UserError(request.words.unknown_message)
    await FROM_FILES[action](handler, request, file)


async def start_from(
    handler: Handler, request: InteractionRequest, message: discord.Message
) -> None:
    """Open a form that starts from the picture of a message."""
    file = _picture_in(message)
    if file is None:
        raise UserError(request.words.no_picture)
    await open_start_form(handler, request, file)


async def open_start_form(
    handler: Handler,
    request: InteractionRequest,
    file: discord.Attachment,
    typed: Sequence[tuple[str, str]] = (),
) -> None:
    """Open a form that starts from a picture; typed: options that it holds."""
    handler.check_open(request)
    request.check_permissions()
    try:
        async with asyncio.timeout(IMAGE_TIMEOUT):
            await handler.admit(request)
            image = await handler.studio.keep_image(await read_attachment(file))
    except TimeoutError:
        raise UserError(request.words.slow_picture) from None
    seal, offered = seal_of(handler, request.person, image), await offered_in(handler, request)
    form = start_form(image, seal, typed, offered, request.words)
    await request.interaction.response.send_modal(form)


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


async def _show_recipe(
    handler: Handler, request: InteractionRequest, file: discord.Attachment
) -> None:
    """Show what a file says of how it was made, and what of it Marble cannot honour."""
    await handler.acknowledge(request, private=True)
    data, words = await read_attachment(file), request.words
    reading = await asyncio.to_thread(read_content, data)
    notes = (f"\n{escape_markdown(note)}" for note in reading_notes(reading, words))
    below = cut("".join(notes), CONTENT // 2)
    values = reading_lines(reading, words)
    source = f" ({reading.source})"
    text = recipe_text(file.filename, values, words, CONTENT - len(below), source)
    results = await asyncio.to_thread(readings_of, data, reading)
    choice = []
    if results:
        choice.append(handler.results.offer(request.event, results, reading.results, words))
    await request.answer(Reply(content=text + below, buttons=choice))


async def _rerun(handler: Handler, request: InteractionRequest, file: discord.Attachment) -> None:
    """Draw what a file says.

    A recipe that starts from stored pictures is refused: they may be another person's.
    """
    async with handler.drawing(request):
        await handler.app.gate.admit(request)  # nothing is fetched for who may not ask
        reading = await asyncio.to_thread(read_content, await read_attachment(file))
        job = await _draw(handler, request, reading)
    await handler.placeholders.announce(request, job)


async def draw_result(handler: Handler, request: InteractionRequest, key: str, result: str) -> None:
    """Draw the result of a graph that was chosen in a menu; key: the menu's."""
    reading = handler.results.find(key, result)
    if reading is None:
        raise UserError(request.words.results_gone)
    async with handler.drawing(request):
        job = await _draw(handler, request, reading)
    await handler.placeholders.announce(request, job)


async def _draw(handler: Handler, request: InteractionRequest, reading: Reading) -> Job:
    if reading.inputs and reading.refused is None:
        raise UserError(request.words.starts_from_others)
    job = await handler.studio.draw_reading(reading, {}, request.asker)
    request.note = _ignored(reading, request.words)
    return job


# What can be done with a file that Marble does not know.
FROM_FILES: Final = {"recipe": _show_recipe, "rerun": _rerun}


def _picture_in(message: discord.Message) -> discord.Attachment | None:
    """Return a message's first file that may be a picture; only its bytes tell for sure."""
    for each in message.attachments:
        if (each.content_type or "image/").startswith("image/"):
            return each
    return None


def _text_in(message: discord.Message) -> discord.Attachment | None:
    """Return a message's first file that may be a workflow or a text about a picture."""
    files = message.attachments
    return next((each for each in files if each.filename.lower().endswith(TEXT_FILES)), None)


def _ignored(reading: Reading, words: Words) -> str:
    what = escape_markdown(ignored_text(reading.ignored, words))
    return words.ignored.format(what=what) if what else ""
