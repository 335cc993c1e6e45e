"""Requests by interactions: commands, buttons, menus and forms."""

from enum import Enum, auto
from typing import Any, Final

import discord

from bots.discord.address import Address
from bots.discord.errors import already_deleted, with_retries
from bots.discord.messages import dm_errors, send_dm
from bots.discord.replies import Reply
from bots.discord.request import Request
from bots.texts import language_of
from bots.worker.delivery import WayClosed
from engine.errors import UserError

FOLLOW_UPS: Final = 5  # that Discord takes of one interaction where only a person has Marble


class Answered(Enum):
    """The first answer to an interaction, on which the next ones depend."""

    NOT_YET = auto()
    PRIVATE = auto()
    PUBLIC = auto()
    SILENT = auto()  # it shows nothing, or not any more


class InteractionRequest(Request):
    """A command, a button, a menu or a form."""

    def __init__(self, interaction: discord.Interaction[Any]) -> None:
        self.client = interaction.client
        self.interaction = interaction
        self.guild = interaction.guild_id
        channel, user = interaction.channel, interaction.user
        self.guest = not interaction.is_guild_integration()
        self.parent = channel.parent_id if isinstance(channel, discord.Thread) else None
        self.permissions = interaction.permissions
        self.own_permissions = interaction.app_permissions if self.guild else None
        self.member = user if isinstance(user, discord.Member) else None
        # Marble may be used in others' direct messages, too, where its answers are read by both.
        self.in_private = self.guild is None and interaction.context.dm_channel
        self.about = interaction.message.id if interaction.message else None
        self.about_private = bool(interaction.message and interaction.message.flags.ephemeral)
        self.event = self.label = f"discord:{interaction.id}"
        super().__init__(
            Address(
                channel=interaction.channel_id or 0,
                person=user.id,
                language=language_of(interaction.locale.value),
                limit=interaction.filesize_limit,
                application=interaction.application_id,
                token=interaction.token,
                until=interaction.expires_at.timestamp(),
                answers=self.about,
            )
        )
        self.thinking: int | None = None  # the message that says so, once acknowledged
        self.answered = Answered.NOT_YET
        self._few = self.guest and not interaction.context.dm_channel
        self._followed = 0
        self._file_sent = False
        self._original_shown = False  # as a text, and no longer as "thinking"

    def check_jobs(self, count: int) -> None:
        """Raise `UserError` for more jobs than this interaction can show, each in a message."""
        most = FOLLOW_UPS  # the first one needs no follow-up, but the note beside it does
        if self._few and count > most:
            raise UserError(self.words.few_further.format(most=most))

    async def show_note(self, note: str) -> None:
        """Show a note to the person alone, once the job is announced."""
        # The first follow-up would else become "thinking"'s text, which all see.
        await self.interaction.edit_original_response(content=self.words.submitted)
        self._original_shown = True
        await self.interaction.followup.send(note, ephemeral=True)

    async def post_further(self, reply: Reply) -> int:
        """Show a further reply by the token, once a note was shown; return the message."""
        if not self._original_shown:  # Discord would take it for the first one
            raise WayClosed("the first answer is not shown yet")
        send = self.interaction.followup.send
        sent = await with_retries(lambda: send(**reply.new(), wait=True), repeatable=False)
        return sent.id

    async def post(self, reply: Reply) -> int:
        """Put a reply where the acknowledgement is; return the message."""
        edit = self.interaction.edit_original_response
        return (await with_retries(lambda: edit(**reply.edit()), repeatable=True)).id

    async def answer(self, reply: Reply | str) -> None:
        """Show a reply to the person alone; what all saw of the answer so far is deleted."""
        reply = Reply(content=reply) if isinstance(reply, str) else reply
        if self.answered is Answered.PRIVATE and not self._file_sent:
            await self.post(reply)
        elif self.answered is Answered.NOT_YET:
            answer = self.interaction.response.send_message
            await with_retries(lambda: answer(**reply.new(), ephemeral=True), repeatable=False)
            self.answered = Answered.PRIVATE
        else:
            # Who can see an answer was decided by acknowledging it: that one has to go first.
            if self.answered is Answered.PUBLIC:
                await self.delete_message()
            self.answered = Answered.SILENT
            await self._follow_up(reply)

    async def send_file(self, reply: Reply) -> None:
        """Show a file to the person alone, once acknowledged in private: in a message of its own.

        By direct message once the interaction takes no more: there were many, or the line is slow.
        Raises `UserError` where they take none.
        """
        if self.address.expired or (self._few and self._followed == FOLLOW_UPS):
            person = self.address.person
            with dm_errors(self.words):
                await with_retries(lambda: send_dm(self.client, person, reply), repeatable=False)
        elif self._file_sent:
            await self._follow_up(reply)
        else:
            await self.post(reply)
        self._file_sent = True

    async def _follow_up(self, reply: Reply) -> None:
        send = self.interaction.followup.send
        await with_retries(lambda: send(**reply.new(), ephemeral=True), repeatable=False)
        self._followed += 1

    async def delete_message(self) -> None:
        """Delete the original answer: once acknowledged silently, the message acted on.

        Discord always lets an interaction do that.
        """
        with already_deleted():
            await with_retries(self.interaction.delete_original_response, repeatable=True)
