"""A request: who asks for something, where, and how they are answered.

What Discord tells of who may see which channel comes from roles and overwrites that the client has.
Members of servers are not cached: an interaction and a reaction bring their own, those of another
server are fetched. Of a private thread only those who may manage threads are known to be in it.
"""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from typing import Final

import discord

from bots.chat.access import Relation, Viewer
from bots.discord.address import Address, message_key, person_key, place_key, read_place
from bots.discord.errors import NETWORK
from bots.discord.permissions import MissingPermission, missing
from bots.discord.replies import Reply
from bots.requests.studio import Asker
from bots.texts import words_of

MEMBER_TIMEOUT: Final = 2.0  # seconds to fetch a member: an answer is due within 3 s
MODERATING: Final = ("manage_messages", "manage_guild", "administrator")
Channel = discord.abc.GuildChannel | discord.Thread


class Request(ABC):
    """What somebody asks for by an interaction or a reaction, and how they are answered."""

    client: discord.Client
    guild: int | None
    parent: int | None  # the channel of a thread
    permissions: discord.Permissions | None  # the person's, in the channel
    own_permissions: discord.Permissions | None  # Marble's there; None where they are not known
    member: discord.Member | None  # the person, in a server
    in_private: bool  # nobody else reads there
    about: int | None  # the message acted on
    about_private = False  # … which only this person sees
    event: str  # the same however often Discord sends it
    label: str  # `event` without the person, for the log
    guest = False  # only the person has installed Marble, not the server
    note = ""  # shown to the person alone, beside the job
    typed = ""  # words, which a refusal gives back: Discord has forgotten them

    def __init__(self, address: Address) -> None:
        self.address = address
        self.words = words_of(address.language)
        self.person = person = person_key(address.person)  # keys in storage
        self.place = place = place_key(self.guild, address.channel)
        # Where Marble is no member, answers to the interaction are all that it can send.
        further = replace(address, original=False) if self.guest else replace(address, token=None)
        self.asker = Asker(
            person=person,
            place=place,
            reply=address.to_dict(),
            further_reply=further.to_dict(),
            event=self.event,
        )
        self.viewer = Viewer(
            person=person, place=place, in_private=self.in_private, answered_alone=True
        )
        self._members: dict[int, discord.Member | None] = {}  # by server

    @property
    def message(self) -> str | None:
        """Return the key of the message acted on in storage."""
        return message_key(self.about) if self.about else None

    def shares(self, place: str) -> bool:
        """Return whether all who read here are known to see another place.

        Who sees a channel sees its public threads, and who reads a thread sees its channel.
        """
        if place == self.place:
            return True
        here = place_key(self.guild, self.parent or self.address.channel)
        found = self._channel_of(place)
        if isinstance(found, discord.Thread):
            return not found.is_private() and place_key(found.guild.id, found.parent_id) == here
        return place == here

    async def relation(self, place: str) -> Relation:
        """Return how the person is related to a place; `NONE` where that cannot be found out."""
        if place == self.place:
            return Relation.MODERATES if moderates(self.permissions) else Relation.SEES
        if read_place(place) is None:
            return Relation.PRIVATE
        channel = self._channel_of(place)
        member = await self._member_of(channel.guild) if channel else None
        if channel is None or member is None:
            return Relation.NONE
        try:
            rights = channel.permissions_for(member)
        except discord.ClientException:  # a thread whose channel is not known
            return Relation.NONE
        private = isinstance(channel, discord.Thread) and channel.is_private()
        sees = rights.view_channel and rights.read_message_history
        if not sees or (private and not rights.manage_threads):
            return Relation.NONE
        return Relation.MODERATES if moderates(rights) else Relation.SEES

    def _channel_of(self, place: str) -> Channel | None:
        where = read_place(place)
        guild = self.client.get_guild(where[0]) if where else None
        return guild.get_channel_or_thread(where[1]) if guild and where else None

    async def _member_of(self, guild: discord.Guild) -> discord.Member | None:
        """Return the person as a member of a server, or None where Discord does not say in time."""
        if self.member and self.member.guild.id == guild.id:
            return self.member
        if guild.id not in self._members:
            self._members[guild.id] = None
            with suppress(discord.DiscordException, TimeoutError, *NETWORK):
                async with asyncio.timeout(MEMBER_TIMEOUT):
                    self._members[guild.id] = await guild.fetch_member(self.address.person)
        return self._members[guild.id]

    def check_permissions(self) -> None:
        """Raise `MissingPermission` for one without which no answer can be shown."""
        thread = self.parent is not None
        if name := missing(self.own_permissions, thread=thread, guest=self.guest):
            raise MissingPermission(name, self.words)

    @abstractmethod
    async def post(self, reply: Reply) -> int:
        """Show a reply to all, once acknowledged; return the message."""

    @abstractmethod
    async def answer(self, reply: Reply | str) -> None:
        """Show a reply to the person alone; what all saw of the answer so far is deleted."""

    async def show_note(self, note: str) -> None:
        """Show a note to the person alone, beside a job."""
        await self.answer(note)

    async def confirm(self, text: str) -> None:
        """Answer that something is done, unless that can be seen otherwise."""
        await self.answer(text)

    @abstractmethod
    async def delete_message(self) -> None:
        """Delete the message acted on, once acknowledged silently."""


def moderates(permissions: discord.Permissions | None) -> bool:
    """Return whether permissions are those of a moderator."""
    return permissions is not None and any(getattr(permissions, name) for name in MODERATING)
