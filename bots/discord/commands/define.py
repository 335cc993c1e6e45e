"""Define a command whose names and descriptions come from the table of texts."""

from __future__ import annotations

from inspect import signature
from typing import Any

from discord import app_commands

from bots.discord.parameters import Callback
from bots.discord.translate import description_text, name_text
from bots.texts.commands import COMMANDS

Command = app_commands.Command[Any, ..., None]


def define(key: str, callback: Callback, parent: app_commands.Group | None = None) -> Command:
    """Return the command of a key such as `mydata export`; its options are the callback's.

    An option is described by `command:option`, else by `:option`, of its whole command.
    """
    if not hasattr(callback, "__discord_app_commands_param_description__"):
        names = list(signature(callback).parameters)[1:]
        keys = {name: _key(key, name) for name in names}
        if keys:
            described = {name: description_text(found) for name, found in keys.items()}
            renamed = {name: name_text(found, name) for name, found in keys.items()}
            callback = app_commands.rename(**renamed)(app_commands.describe(**described)(callback))
    command: Command = app_commands.Command(
        name=name_text(key), description=description_text(key), callback=callback, parent=parent
    )
    return command


def group(key: str, **more: Any) -> app_commands.Group:
    """Return the group of commands of a key."""
    return app_commands.Group(name=name_text(key), description=description_text(key), **more)


def _key(command: str, option: str) -> str:
    own = f"{command.partition(' ')[0]}:{option}"
    return own if own in COMMANDS else f":{option}"
