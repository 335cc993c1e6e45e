"""Slash commands and context menus."""

from __future__ import annotations

from typing import Any

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
from bots.discord.handler import Handler


def add_commands(tree: app_commands.CommandTree[Any], handler: Handler) -> None:
    """Add all commands to the tree."""
    for module in (imagine, pictures, styles, settings, about, mydata, moderation, menus):
        module.add(tree, handler)
