"""Define commands by functions of the handler and the request; their texts are looked up."""

from __future__ import annotations

from inspect import Parameter, Signature, signature
from typing import Any

import discord
from discord import app_commands

from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.parameters import Answer, Callback
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


def answering(handler: Handler, answer: Answer, *, defer: bool = True) -> Callback:
    """Return a callback, as discord.py reads it, that answers a request.

    It is acknowledged, for the person alone, before anything is done: Discord waits for 3 s, and a
    database may be locked for longer. Without `defer` the answer does that, or comes at once.
    """

    async def callback(interaction: discord.Interaction[Any], **typed: Any) -> None:
        async with handler.receive(InteractionRequest(interaction)) as request:
            if defer:
                await handler.acknowledge(request, private=True)
            await answer(handler, request, **typed)

    own = list(signature(answer, eval_str=True).parameters.values())[2:]
    itself = Parameter("interaction", Parameter.POSITIONAL_OR_KEYWORD)
    options = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own]
    callback.__signature__ = Signature([itself, *options])  # type: ignore[attr-defined]
    return callback


def group(key: str, **more: Any) -> app_commands.Group:
    """Return the group of commands of a key."""
    return app_commands.Group(name=name_text(key), description=description_text(key), **more)


def _key(command: str, option: str) -> str:
    own = f"{command.partition(' ')[0]}:{option}"
    return own if own in COMMANDS else f":{option}"
