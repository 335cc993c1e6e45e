"""/style: words that a server's moderators keep by a name, for everybody's pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands

from bots.admission.roles import Role
from bots.chat.listings import style_lines
from bots.discord.address import guild_key
from bots.discord.commands.define import Answer, answering, define, group
from bots.discord.parameters import Offers, completing, offered
from bots.discord.replies import listed
from bots.discord.visits import Click
from bots.presentation import escape_markdown
from bots.requests.styles import LONGEST, read_words
from storage.records import EVERYWHERE

if TYPE_CHECKING:
    from bots.discord.desk import Desk

Name = app_commands.Range[str, 1, 32]
Words = app_commands.Range[str, 1, LONGEST]


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the commands."""
    styles = group("style")
    for name, answer in ANSWERS.items():
        callback = answering(desk, answer)
        if name == "remove":
            callback = app_commands.autocomplete(name=completing(_own, desk))(callback)
        styles.add_command(define(f"style {name}", callback))
    tree.add_command(styles)


async def _own(desk: Desk, interaction: discord.Interaction[Any], text: str) -> Offers:
    """Offer what the server keeps itself: only that can be removed there."""
    place = guild_key(interaction.guild_id) if interaction.guild_id else EVERYWHERE
    known = await desk.app.styles.list(place)
    return offered(text, (style.name for style in known if style.place == place))


async def list_(desk: Desk, visit: Click) -> None:
    """List the styles that hold here."""
    await desk.know_place(visit)
    styles = await desk.app.styles.list(visit.place)
    await visit.tell(listed(style_lines(styles, visit.words), visit.words))


async def keep(
    desk: Desk, visit: Click, name: Name, prompt: Words, negative: Words | None = None
) -> None:
    """Keep a style in this server."""
    place = _place(desk, visit)
    words, no = read_words(prompt, negative or "")
    style = await desk.app.styles.add(place, name, words, no, by=visit.person)
    await visit.tell(visit.words.style_kept.format(name=escape_markdown(style.name)))


async def remove(desk: Desk, visit: Click, name: Name) -> None:
    """Remove a style of this server."""
    style = await desk.app.styles.remove(_place(desk, visit), name, by=visit.person)
    await visit.tell(visit.words.style_removed.format(name=escape_markdown(style.name)))


ANSWERS: Final[Mapping[str, Answer]] = {"list": list_, "add": keep, "remove": remove}


def _place(desk: Desk, visit: Click) -> str:
    """Return what somebody keeps styles for: their server, or all; raises `Refusal`.

    Marble's own moderators speak for everywhere where there is no server.
    """
    if visit.guild is None and desk.roles.of(visit.person) >= Role.MODERATOR:
        return EVERYWHERE
    return desk.moderated(visit)
