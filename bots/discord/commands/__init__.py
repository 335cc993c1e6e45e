"""Slash commands and context menus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discord import app_commands

from bots.discord.commands import (
    about,
    imagine,
    menus,
    moderation,
    mydata,
    pictures,
    settings,
    styles,
)

if TYPE_CHECKING:
    from bots.discord.desk import Desk


def add_commands(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add all commands to the tree."""
    for module in (imagine, pictures, styles, settings, about, mydata, moderation, menus):
        module.add(tree, desk)
