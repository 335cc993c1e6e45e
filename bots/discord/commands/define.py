"""Define commands by functions of the handler and the request; their texts are looked up."""

from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature, signature
from typing import Any, Final

import discord
from discord import app_commands

from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.parameters import (
    NAMES,
    Answer,
    Callback,
    Offer,
    parameter,
    typed_values,
    with_values,
)
from bots.discord.registration import description_text, name_text
from bots.requests.options import Option
from bots.texts import EN

Command = app_commands.Command[Any, ..., None]
NONE: Final[Mapping[str, Offer]] = {}


def define(key: str, callback: Callback) -> Command:
    """Return the command of a key such as `mydata export`; its options are the callback's.

    An option is described by `command:option`, else by `:option`, of its whole command.
    """
    if keys := {name: _key(key, name) for name in list(signature(callback).parameters)[1:]}:
        described = {name: description_text(found) for name, found in keys.items()}
        renamed = {name: name_text(found, found.partition(":")[2]) for name, found in keys.items()}
        callback = app_commands.rename(**renamed)(app_commands.describe(**described)(callback))
    command: Command = app_commands.Command(
        name=name_text(key), description=description_text(key), callback=callback
    )
    return command


def answering(
    handler: Handler,
    answer: Answer,
    *,
    defer: bool = True,
    options: Sequence[Option] = (),
    offers: Mapping[str, Offer] = NONE,
) -> Callback:
    """Return a callback, as discord.py reads it, that answers a request.

    It is acknowledged, for the person alone, before anything is done: Discord waits for 3 s, and a
    database may be locked for longer. Without `defer` the answer does that, or comes at once.
    options: taken beside the answer's own parameters, and given to it as keywords. offers: what is
    offered while an own parameter is typed.
    """

    async def callback(interaction: discord.Interaction[Any], **typed: Any) -> None:
        async with handler.receive(InteractionRequest(interaction)) as request:
            if defer:
                await handler.acknowledge(request, private=True)
            await answer(handler, request, **await typed_values(handler, typed))

    own = list(signature(answer, eval_str=True).parameters.values())[2:]
    itself = Parameter("interaction", Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [
        each.replace(kind=Parameter.KEYWORD_ONLY)
        for each in own
        if each.kind is not Parameter.VAR_KEYWORD
    ]
    parameters += map(parameter, options)
    callback.__signature__ = Signature([itself, *parameters])  # type: ignore[attr-defined]
    return with_values(handler, options, offers, callback)


def group(key: str, **more: Any) -> app_commands.Group:
    """Return the group of commands of a key."""
    return app_commands.Group(name=name_text(key), description=description_text(key), **more)


def _key(command: str, option: str) -> str:
    own = f"{command.partition(' ')[0]}:{option}"
    return own if own in EN.commands else f":{NAMES.get(option, option)}"
