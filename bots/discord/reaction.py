"""Requests by reactions: an emoji below one of Marble's messages."""

import discord

from bots.discord.address import LIMIT, Address
from bots.discord.errors import already_deleted, takes_no_dm, with_retries
from bots.discord.messages import send, send_dm
from bots.discord.permissions import own_permissions
from bots.discord.replies import Reply
from bots.discord.request import Request


class ReactionRequest(Request):
    """An emoji below one of Marble's messages."""

    def __init__(
        self,
        client: discord.Client,
        payload: discord.RawReactionActionEvent,
        emoji: str,
        language: str | None,
    ) -> None:
        self.client = client
        self.guild = payload.guild_id
        guild = client.get_guild(payload.guild_id) if payload.guild_id else None
        channel = guild.get_channel_or_thread(payload.channel_id) if guild else None
        self.parent = channel.parent_id if isinstance(channel, discord.Thread) else None
        self.member = payload.member
        self.permissions = (
            channel.permissions_for(payload.member) if channel and payload.member else None
        )
        self.own_permissions = own_permissions(channel) if channel else None
        self._known = channel is not None
        self.in_private = self.guild is None  # others' direct messages send no reactions
        self.about = payload.message_id
        self.emoji = emoji
        self.event = f"discord:{payload.message_id}:{payload.user_id}:{emoji}"
        self.label = f"discord:{payload.message_id}:{emoji}"
        super().__init__(
            Address(
                channel=payload.channel_id,
                person=payload.user_id,
                language=language or "en",
                limit=guild.filesize_limit if guild else LIMIT,
                answers=payload.message_id,
            )
        )

    async def load_channel(self) -> None:
        """Find out the `parent` of a thread that the client does not know.

        That is an archived one, or a private one. Raises `discord.HTTPException`.
        """
        if self.guild is not None and not self._known:
            found = await self.client.fetch_channel(self.address.channel)
            self.parent = found.parent_id if isinstance(found, discord.Thread) else None

    async def post(self, reply: Reply) -> int:
        """Send a message that replies to the one with the reaction."""
        message = await with_retries(
            lambda: send(self.client, self.address, reply), repeatable=False
        )
        return message.id

    async def answer(self, reply: Reply | str) -> None:
        """Send a direct message, if the person takes any; a sentence says to which reaction."""
        message = Reply(content=reply).noted(self._where) if isinstance(reply, str) else reply
        person = self.address.person
        try:
            await with_retries(lambda: send_dm(self.client, person, message), repeatable=False)
        except discord.HTTPException as error:
            if not takes_no_dm(error):
                raise

    @property
    def _where(self) -> str:
        """Return the reaction with a link to its message."""
        channel = self.client.get_partial_messageable(self.address.channel, guild_id=self.guild)
        return f"{self.emoji} {channel.get_partial_message(self.address.answers or 0).jump_url}"

    async def confirm(self, text: str) -> None:
        """Do nothing: the reaction itself can be seen."""

    async def delete_message(self) -> None:
        """Delete the message with the reaction; raises `discord.HTTPException`."""
        channel = self.client.get_partial_messageable(self.address.channel)
        assert self.about is not None
        message = channel.get_partial_message(self.about)
        with already_deleted():
            await with_retries(message.delete, repeatable=True)
