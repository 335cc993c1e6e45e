"""Permissions that Marble needs in a channel, and what is told where one is missing."""

import logging
from typing import Final

import discord

from bots.discord.address import person_key, read_place
from bots.service.app import App
from bots.texts import EN, Words
from engine.errors import UserError
from storage import DatabaseFault

ATTACH: Final = "attach_files"

log = logging.getLogger(__name__)


class MissingPermission(UserError):
    """Says which permission is missing; `permission` is Discord's name of it."""

    def __init__(self, permission: str, words: Words) -> None:
        self.permission = permission
        shown = words.permissions[permission]
        super().__init__(words.missing_permission.format(permission=shown))


def missing(
    own: discord.Permissions | None, *, thread: bool = False, guest: bool = False
) -> str | None:
    """Return the first permission without which no answer can be shown, by Discord's name.

    own: Marble's in the channel; None where they are not known. guest: Discord itself shows the
    answers of what only a person has installed, and asks for files alone.
    """
    send = "send_messages_in_threads" if thread else "send_messages"
    needed = (ATTACH,) if guest else ("view_channel", send, ATTACH)
    return next((name for name in needed if own is not None and not getattr(own, name)), None)


def own_permissions(
    channel: discord.abc.GuildChannel | discord.Thread,
) -> discord.Permissions | None:
    """Return Marble's own permissions in a channel; None where they are not known."""
    me: discord.Member | None = channel.guild.me  # None before the server is known in full
    try:
        return channel.permissions_for(me) if me else None
    except discord.ClientException:  # a thread whose channel is not known
        return None


def missing_at(client: discord.Client, place: str) -> str | None:
    """Return the permission that is missing in a place; None where nothing is known of it."""
    where = read_place(place)
    guild = client.get_guild(where[0]) if where else None
    channel = guild.get_channel_or_thread(where[1]) if guild and where else None
    if channel is None:
        return None
    return missing(own_permissions(channel), thread=isinstance(channel, discord.Thread))


def moved_note(place: str, permission: str | None, words: Words) -> str:
    """Return why an answer is not shown where it was asked for; "" outside of servers."""
    where = read_place(place)
    if where is None:
        return ""
    channel = f"<#{where[1]}>"
    if permission is None:
        return words.moved.format(channel=channel)
    return words.moved_permission.format(channel=channel, permission=words.permissions[permission])


async def tell_moderators(app: App, client: discord.Client, place: str, permission: str) -> None:
    """Write into the moderators' log, once, that a permission is missing in a place."""
    if client.user is None:
        return
    event = f"discord:missing:{place}:{permission}"
    by, name = person_key(client.user.id), EN.permissions[permission]
    try:
        await app.storage.moderation.record_missing(event, name, by=by, place=place)
    except DatabaseFault as fault:  # it is told the next time
        log.warning("a missing permission is not written into the log: %s", fault)
