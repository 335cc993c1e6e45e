"""Context menus on a message: what reactions and buttons do, where neither is at hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands

from bots.discord.acts import ACTS
from bots.discord.address import message_key
from bots.discord.attachments import is_picture, read_attachment
from bots.discord.elsewhere import DEEDS, picture_of
from bots.discord.forms import StartForm
from bots.discord.translate import name_text
from bots.discord.visits import Click, Refusal
from bots.presentation.lines import name_of

if TYPE_CHECKING:
    from bots.discord.desk import Desk

START: Final = "Use as start image"
IN_TIME: Final = 2.0  # seconds: a form can only be opened as the first answer, within 3 s
MENUS: Final = {
    "Recipe": "recipe",
    "Rerun": "again",
    "Vary": "subtle",
    "Upscale": "upscale",
}


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the menus; Discord takes five."""
    for label, act in MENUS.items():
        tree.add_command(_menu(label, act, desk))
    tree.add_command(_start_menu(desk))


def _menu(label: str, act: str, desk: Desk) -> app_commands.ContextMenu:
    async def choose(interaction: discord.Interaction[Any], message: discord.Message) -> None:
        visit = Click(interaction)
        async with desk.receive(visit):
            visit.about = message.id
            found = await desk.storage.jobs.by_message(message_key(message.id))
            if found is not None:
                await ACTS[act](desk, visit, name_of(*found))
            elif deed := DEEDS.get(act):
                await deed(desk, visit, picture_of(message, visit.words))
            else:
                raise Refusal(visit.words.unknown_message)

    return app_commands.ContextMenu(name=name_text(f"menu {label}", label), callback=choose)


def _start_menu(desk: Desk) -> app_commands.ContextMenu:
    async def start(interaction: discord.Interaction[Any], message: discord.Message) -> None:
        visit = Click(interaction)
        async with desk.receive(visit):
            pictures = [each for each in message.attachments if is_picture(each)]
            if not pictures:
                raise Refusal(visit.words.no_picture)
            try:
                async with asyncio.timeout(IN_TIME):
                    await desk.admit(visit)
                    image = await desk.studio.keep_image(await read_attachment(pictures[0]))
            except TimeoutError:
                raise Refusal(visit.words.slow_picture) from None
            form = StartForm(image, desk.seal(visit, image), visit.words)
            await visit.interaction.response.send_modal(form)

    return app_commands.ContextMenu(name=name_text(f"menu {START}", START), callback=start)
