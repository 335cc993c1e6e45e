"""Permissions that Marble needs in a channel, and what is told where one is missing."""

import logging
from typing import Final

import discord

from bots.discord.address import person_key, read_place
from bots.service.app import App
from bots.texts import Words
from engine.errors import UserError
from storage import DatabaseFault

ATTACH: Final = "attach_files"
PREFIX: Final = "discord:missing:"  # of what is recorded when a permission is missing

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


class Losses:
    """Tells moderators, by their log, of each permission that is missing in a place.

    Once for each loss: until it is granted again, which Discord says as it happens, seconds after
    Marble connects, and with each request.
    """

    def __init__(self, app: App, client: discord.Client) -> None:
        self._moderation = app.storage.moderation
        self._client = client
        self._told = set[str]()  # events of those that are missing

    async def load(self) -> None:
        """Find what was told by processes before this one; raises `DatabaseFault`."""
        if self._client.user:
            by = person_key(self._client.user.id)
            self._told = set(await self._moderation.events_of(by, PREFIX))

    async def tell(self, place: str, permission: str) -> None:
        """Write into the log, once, that a permission is missing in a place."""
        if self._client.user is None:
            return
        event = f"{PREFIX}{place}:{permission}"
        by = person_key(self._client.user.id)
        self._told.add(event)
        try:
            await self._moderation.record_missing(event, permission, by=by, place=place)
        except DatabaseFault as fault:  # it is told the next time
            log.warning("a missing permission is not written into the log: %s", fault)

    async def review(self, guild: discord.Guild) -> None:
        """Forget the losses of a server that are none any more: the next one is told again."""
        await self._forget({event for event in self._told if _is_granted(guild, event)})

    async def find_none(self, place: str) -> None:
        """Forget the losses of a place where nothing is missing, as a request from there shows."""
        await self._forget({event for event in self._told if event.startswith(f"{PREFIX}{place}:")})

    async def _forget(self, granted: set[str]) -> None:
        self._told -= granted
        try:
            await self._moderation.forget_events(granted)
        except DatabaseFault as fault:
            self._told |= granted  # it is forgotten the next time
            log.warning("a permission that is granted again is still in the records: %s", fault)


def _is_granted(guild: discord.Guild, event: str) -> bool:
    """Return whether a permission that was missing is known to be there again."""
    place, _, permission = event.removeprefix(PREFIX).rpartition(":")
    where = read_place(place)
    if where is None or where[0] != guild.id:
        return False
    channel = guild.get_channel_or_thread(where[1])
    own = own_permissions(channel) if channel else None
    return own is not None and bool(getattr(own, permission, True))
