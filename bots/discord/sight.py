"""What Discord tells of who may see which channel, by roles and overwrites that the client knows.

Members of servers are not cached: an interaction and a reaction bring their own, one of another
server is asked for. Who is in a private thread is known of nobody but those who may manage threads.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import discord

from bots.chat.access import Relation, Viewer
from bots.discord.address import place_key, read_place
from bots.discord.faults import UNKNOWN

if TYPE_CHECKING:
    from bots.discord.visits import Visit

IN_TIME: Final = 2.0  # seconds to ask for a member: an answer has to be begun within 3 s
MODERATES: Final = ("manage_messages", "manage_guild", "administrator")
Channel = discord.abc.GuildChannel | discord.Thread


def moderates(rights: discord.Permissions | None) -> bool:
    """Say whether rights are those of a moderator."""
    return rights is not None and any(getattr(rights, name) for name in MODERATES)


@dataclass(frozen=True, slots=True)
class Onlooker:
    """Tell what is known of whoever visits."""

    visit: Visit
    _members: dict[int, discord.Member | None] = field(default_factory=dict)  # by server

    @property
    def viewer(self) -> Viewer:
        """Return who asks, where, and who reads the answer."""
        visit = self.visit
        return Viewer(
            person=visit.person,
            place=visit.place,
            in_private=visit.in_private,
            answered_alone=True,
        )

    def shares(self, place: str) -> bool:
        """Say whether whoever reads here is known to see another place.

        Who sees a channel sees its public threads, and who reads a thread sees its channel.
        """
        visit = self.visit
        if place == visit.place:
            return True
        here = place_key(visit.guild, visit.parent or visit.address.channel)
        found = self._channel(place)
        if isinstance(found, discord.Thread):
            open_to_all = not found.is_private()
            return open_to_all and place_key(found.guild.id, found.parent_id) == here
        return place == here

    async def relation(self, place: str) -> Relation:
        """Return what they have to do with a place; `NONE` where that cannot be known."""
        visit = self.visit
        if place == visit.place:
            return Relation.MODERATES if visit.moderates else Relation.SEES
        if read_place(place) is None:
            return Relation.PRIVATE
        channel = self._channel(place)
        member = await self._member(channel.guild) if channel else None
        if channel is None or member is None:
            return Relation.NONE
        try:
            rights = channel.permissions_for(member)
        except discord.ClientException:  # a thread whose channel is not known
            return Relation.NONE
        closed = isinstance(channel, discord.Thread) and channel.is_private()
        sees = rights.view_channel and rights.read_message_history
        if not sees or (closed and not rights.manage_threads):
            return Relation.NONE
        return Relation.MODERATES if moderates(rights) else Relation.SEES

    def _channel(self, place: str) -> Channel | None:
        where = read_place(place)
        guild = self.visit.client.get_guild(where[0]) if where else None
        return guild.get_channel_or_thread(where[1]) if guild and where else None

    async def _member(self, guild: discord.Guild) -> discord.Member | None:
        """Return them as a member of a server, if Discord says in time that they are one."""
        member = self.visit.member
        if member and member.guild.id == guild.id:
            return member
        if guild.id not in self._members:
            self._members[guild.id] = None
            try:
                async with asyncio.timeout(IN_TIME):
                    found = await guild.fetch_member(self.visit.address.person)
                self._members[guild.id] = found
            except (discord.DiscordException, TimeoutError, *UNKNOWN):
                pass
        return self._members[guild.id]
