"""Context menus on a message: what reactions and buttons do, where neither is at hand."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import discord
from discord import app_commands

from bots.discord import attachments
from bots.discord.actions import ACTIONS
from bots.discord.address import message_key
from bots.discord.attachments import pictures_in, read_attachment
from bots.discord.forms import seal_of, start_form
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.registration import name_text
from bots.presentation.lines import name_of
from engine.errors import UserError

START: Final = "Use as start image"
IMAGE_TIMEOUT: Final = 2.0  # seconds: a form can only be the first answer, within 3 s
MENUS: Final = {
    "Recipe": "recipe",
    "Rerun": "rerun",
    "Vary": "vary_subtle",
    "Upscale": "upscale",
}
# What of these can be done with a picture that Marble does not know.
FROM_FILES: Final = {"recipe": attachments.show_recipe, "rerun": attachments.rerun}


Answer = Callable[[Handler, InteractionRequest, discord.Message], Awaitable[None]]


def add(tree: app_commands.CommandTree[Any], handler: Handler) -> None:
    """Add the menus; Discord takes five."""
    for label, action in MENUS.items():
        tree.add_command(_menu(label, partial(act, action=action), handler))
    tree.add_command(_menu(START, open_start_form, handler))


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
    file = next(pictures_in(message), None)
    if file is None or action not in FROM_FILES:
        raise UserError(request.words.unknown_message)
    await FROM_FILES[action](handler, request, file)


async def open_start_form(
    handler: Handler, request: InteractionRequest, message: discord.Message
) -> None:
    """Open a form that starts from the picture of a message."""
    file = next(pictures_in(message), None)
    if file is None:
        raise UserError(request.words.no_picture)
    try:
        async with asyncio.timeout(IMAGE_TIMEOUT):
            await handler.admit(request)
            image = await handler.studio.keep_image(await read_attachment(file))
    except TimeoutError:
        raise UserError(request.words.slow_picture) from None
    form = start_form(image, seal_of(handler, request.person, image), request.words)
    await request.interaction.response.send_modal(form)
