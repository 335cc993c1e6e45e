"""Commands that tell: help, privacy, models, statistics, the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from bots.discord.commands.define import define
from bots.discord.visits import Click

if TYPE_CHECKING:
    from bots.discord.desk import Desk


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the commands."""

    async def help_(interaction: discord.Interaction[Any]) -> None:
        visit = Click(interaction)
        async with desk.receive(visit):
            await visit.tell(visit.words.help)

    tree.add_command(define("help", help_))
