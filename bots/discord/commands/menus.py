"""Context menus on a message: what reactions and buttons do, where neither is at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands

from bots.discord.acts import ACTS
from bots.discord.address import message_key
from bots.discord.desk import Refusal
from bots.discord.translate import name_text
from bots.discord.visits import Click
from bots.presentation.lines import name_of

if TYPE_CHECKING:
    from bots.discord.desk import Desk

# Discord takes five.
MENUS: Final = {
    "Recipe": "recipe",
    "Rerun": "again",
    "New seed": "dice",
    "Favourite": "star",
}


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the menus."""
    for label, act in MENUS.items():
        tree.add_command(_menu(label, act, desk))


def _menu(label: str, act: str, desk: Desk) -> app_commands.ContextMenu:
    async def choose(interaction: discord.Interaction[Any], message: discord.Message) -> None:
        visit = Click(interaction)
        async with desk.receive(visit):
            found = await desk.storage.jobs.by_message(message_key(message.id))
            if found is None:
                raise Refusal(visit.words.unknown_message)
            await ACTS[act](desk, visit, name_of(*found))

    return app_commands.ContextMenu(name=name_text(f"menu {label}", label), callback=choose)
