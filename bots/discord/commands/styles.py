"""/style: words that a server's moderators keep by a name, for everybody's pictures."""

from typing import Any

import discord
from discord import app_commands

from bots.admission.roles import Role
from bots.discord.address import guild_key
from bots.discord.commands.define import Offers, offered
from bots.discord.commands.general import listing
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.presentation.text import escape_markdown
from bots.requests.styles import LONGEST
from bots.requests.typed_options import read_style_words
from storage.records import EVERYWHERE

Name = app_commands.Range[str, 1, 32]
Words = app_commands.Range[str, 1, LONGEST]


async def own(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    """Offer the server's own styles: only they can be removed there."""
    place = guild_key(interaction.guild_id) if interaction.guild_id else EVERYWHERE
    known = await handler.storage.styles.list(place)
    return offered(text, (style.name for style in known if style.place == place))


async def list_(handler: Handler, request: InteractionRequest) -> None:
    """List the styles that can be used here."""
    await handler.add_place(request)
    await listing("style")(handler, request)


async def keep(
    handler: Handler,
    request: InteractionRequest,
    name: Name,
    prompt: Words,
    negative: Words | None = None,
) -> None:
    """Keep a style in this server."""
    place = _place(handler, request)
    words, no = read_style_words(prompt, negative or "")
    style = await handler.app.styles.add(place, name, words, no, by=request.person)
    await request.answer(request.words.style_kept.format(name=escape_markdown(style.name)))


async def remove(handler: Handler, request: InteractionRequest, name: Name) -> None:
    """Remove a style of this server."""
    style = await handler.app.styles.remove(_place(handler, request), name, by=request.person)
    await request.answer(request.words.style_removed.format(name=escape_markdown(style.name)))


def _place(handler: Handler, request: InteractionRequest) -> str:
    """Return the place whose styles somebody may change; raises `UserError`.

    Outside of servers Marble's own moderators decide for all places.
    """
    if request.guild is None and handler.app.gate.roles.of(request.person) >= Role.MODERATOR:
        return EVERYWHERE
    return handler.moderated_place(request)
