"""Somebody wants something: who, where, and how they are answered, by a click or by a reaction."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import discord

from bots.discord.address import LIMIT, Address, message_key, person_key, place_key
from bots.discord.faults import (
    ALREADY_ACKNOWLEDGED,
    UNKNOWN_CHANNEL,
    UNKNOWN_INTERACTION,
    UNKNOWN_MESSAGE,
    refused_by,
    takes_no_dm,
    translate,
)
from bots.discord.invitation import spoken
from bots.discord.patience import patiently
from bots.discord.replies import Attached, Reply
from bots.discord.sight import moderates
from bots.discord.unanswered import Question
from bots.requests.studio import Asker
from bots.texts import Words, language_of, words_of
from engine.errors import UserError
from storage import Job

if TYPE_CHECKING:
    from bots.discord.client import MarbleClient

log = logging.getLogger(__name__)

NEEDED: Final = ("view_channel", "send_messages", "attach_files")
NEEDED_BY_GUEST: Final = ("attach_files",)  # where only its person has installed Marble


class Refusal(UserError):
    """Carry a sentence in the language of whoever is refused."""


class MissingPermission(UserError):
    """Say which permission Marble lacks where it was asked."""

    def __init__(self, permission: str, words: Words) -> None:
        name = words.permissions.get(permission) or spoken(permission)
        super().__init__(words.missing_permission.format(permission=name))


class Gone(Exception):
    """Say that there is nobody to answer: the deed came twice, or too late."""


class Answer(Enum):
    """Say what the first answer to an interaction was, which decides how to go on."""

    NONE = auto()
    PRIVATE = auto()
    PUBLIC = auto()
    SILENT = auto()  # it shows nothing, or not any more


class Visit(ABC):
    """Hold who wants something, and answer them."""

    client: MarbleClient
    address: Address
    guild: int | None
    parent: int | None  # the channel that a thread lies in
    moderates: bool  # the channel's own moderator
    governs: bool  # … and that of all the server
    member: discord.Member | None  # … as whom they act in a server
    in_private: bool  # nobody else reads there
    about: int | None  # the message that they act on
    about_alone = False  # … which they alone see
    event: str
    refused = False  # was told why not

    @property
    def deed(self) -> str:
        """Return what the log calls it: `event` without the person."""
        return self.event

    @property
    def words(self) -> Words:
        """Return messages in their language."""
        return words_of(self.address.language)

    @property
    def person(self) -> str:
        """Return who it is, as storage knows them."""
        return person_key(self.address.person)

    @property
    def place(self) -> str:
        """Return where it is, as storage knows it."""
        return place_key(self.guild, self.address.channel)

    @property
    def message(self) -> str | None:
        """Return the message that they act on, as storage knows it."""
        return message_key(self.about) if self.about else None

    @property
    def asker(self) -> Asker:
        """Return who asks, for the studio."""
        reply = self.address.to_dict()
        return Asker(person=self.person, place=self.place, reply=reply, event=self.event)

    @abstractmethod
    async def find_channel(self) -> None:
        """Ask Discord for the channel where it is not known, so that `parent` says what it lies in.

        Raises `discord.HTTPException`.
        """

    @abstractmethod
    def check_permissions(self) -> None:
        """Raise `MissingPermission` where an answer could not be shown."""

    @abstractmethod
    async def open(self, *, private: bool = False) -> None:
        """Acknowledge; what follows will be seen by all, or in `private` by them alone."""

    @abstractmethod
    async def begin(self) -> None:
        """Acknowledge what changes the message that it is about, and shows nothing new."""

    @abstractmethod
    async def announce(self, job: Job) -> int | None:
        """Show that a job is on its way; return the message, which becomes its reply."""

    @abstractmethod
    async def show(self, reply: Reply) -> int:
        """Show something to all, after `open`; return the message."""

    @abstractmethod
    async def remove_message(self) -> None:
        """Delete the message that it is about, after `begin`."""

    @abstractmethod
    async def tell(
        self, text: str, files: Sequence[Attached] = (), view: discord.ui.View | None = None
    ) -> None:
        """Say something to them alone."""

    async def nod(self, text: str) -> None:
        """Confirm what they did, where it cannot be seen otherwise."""
        await self.tell(text)

    async def refuse(self, sentence: str) -> None:
        """Say to them alone why not; what was shown to all disappears."""
        await self.tell(sentence)


class Click(Visit):
    """A command, a button, a menu or a form."""

    def __init__(self, interaction: discord.Interaction[MarbleClient]) -> None:
        self.client = interaction.client
        self.interaction = interaction
        self.guild = interaction.guild_id
        channel = interaction.channel
        self.parent = channel.parent_id if isinstance(channel, discord.Thread) else None
        # What an interaction tells of rights holds for its channel, which may give more of its own.
        self.moderates = moderates(interaction.permissions)
        self.member = member = (
            interaction.user if isinstance(interaction.user, discord.Member) else None
        )
        self.governs = moderates(member.guild_permissions if member else None)
        # Marble may be used in others' direct messages, too, where its answers are read by both.
        self.in_private = self.guild is None and interaction.context.dm_channel
        self.about = interaction.message.id if interaction.message else None
        self.about_alone = bool(interaction.message and interaction.message.flags.ephemeral)
        self.event = f"discord:{interaction.id}"
        self.address = Address(
            channel=interaction.channel_id or 0,
            person=interaction.user.id,
            language=language_of(interaction.locale.value),
            limit=interaction.filesize_limit,
            application=interaction.application_id,
            token=interaction.token,
            until=interaction.expires_at.timestamp(),
            answers=self.about,
        )
        self.note = ""  # what they alone are told beside the job that they asked for
        self._answer = Answer.NONE
        self._message: int | None = None
        self._handed_over = False

    async def find_channel(self) -> None:
        """Do nothing: an interaction tells of its channel."""

    def check_permissions(self) -> None:
        """Raise `MissingPermission` where an answer could not be shown."""
        if self.guild is None:
            return
        has = self.interaction.app_permissions
        guest = not self.interaction.is_guild_integration()
        names = list(NEEDED_BY_GUEST if guest else NEEDED)
        if isinstance(self.interaction.channel, discord.Thread) and not guest:
            names[names.index("send_messages")] = "send_messages_in_threads"
        for name in names:
            if not getattr(has, name):
                raise MissingPermission(name, self.words)

    async def open(self, *, private: bool = False) -> None:
        """Defer; raises `Gone` where Discord knows of it no more.

        What an answer takes is kept before: whatever happens to this process, there will be one.
        """
        await self.client.unanswered.keep(
            Question(
                event=self.event,
                application=self.address.application,
                token=self.interaction.token,
                language=self.address.language,
                until=self.address.until,
            )
        )
        with _answered():
            callback = await self._defer(ephemeral=private, thinking=True)
        self._answer = Answer.PRIVATE if private else Answer.PUBLIC
        self._message = callback.message_id if callback else None

    async def begin(self) -> None:
        """Defer, and show nothing; raises `Gone` where Discord knows of it no more."""
        with _answered():
            await self._defer()
        self._answer = Answer.SILENT

    async def _defer(self, **how: bool) -> discord.InteractionCallbackResponse[Any] | None:
        """Defer; where that or the answer gets lost on the way, once more.

        Discord then says whether it was heard.
        """
        defer = partial(self.interaction.response.defer, **how)
        try:
            return await defer()
        except Exception as error:
            if not isinstance(translate(error), OSError):
                raise
            log.info("an acknowledgement may be lost (%s): %s", self.deed, error)
        try:
            return await defer()
        except discord.HTTPException as error:
            if not refused_by(error, ALREADY_ACKNOWLEDGED):
                raise
            return None

    async def announce(self, job: Job) -> int | None:
        """Keep "thinking": the first news of the job replace it."""
        if self.note:
            try:
                # The first follow-up would else become "thinking"'s text, which all see.
                await self.interaction.edit_original_response(content=self.words.submitted)
                await self.interaction.followup.send(self.note, ephemeral=True)
            except Exception as error:  # the job is there, noted or not
                log.warning("a note to job %d was not shown: %s", job.id, error)
        return self._message

    async def show(self, reply: Reply) -> int:
        """Put it where the acknowledgement is."""
        return (await self._edit(reply)).id

    async def _edit(self, reply: Reply) -> discord.InteractionMessage:
        edit = self.interaction.edit_original_response
        return await patiently(lambda: edit(**reply.edit()), repeatable=True)

    async def tell(
        self, text: str, files: Sequence[Attached] = (), view: discord.ui.View | None = None
    ) -> None:
        """Say something that nobody else sees."""
        reply = Reply(content=text, files=tuple(files), view=view)
        if self._answer is Answer.PRIVATE and not self._handed_over:  # else that message has a file
            await self._edit(reply)
        elif self._answer is Answer.NONE:
            answer = self.interaction.response.send_message
            with _answered():
                await patiently(lambda: answer(**reply.new(), ephemeral=True), repeatable=False)
            self._answer = Answer.PRIVATE
        else:
            # Who can see an answer was decided by acknowledging it: that one has to go first.
            await self._take_back()
            follow = self.interaction.followup.send
            await patiently(lambda: follow(**reply.new(), ephemeral=True), repeatable=False)

    async def hand_over(self, text: str, file: Attached) -> None:
        """Give a file to them alone, after `open` in private: each in a message of its own.

        By direct message once the interaction has ended: there were many, or the line is slow.
        Raises `Refusal` where they take none.
        """
        reply, person = Reply(content=text, files=(file,)), self.address.person
        if not self._handed_over and not self.address.expired:
            await self._edit(reply)
        elif not self.address.expired:
            follow = self.interaction.followup.send
            await patiently(lambda: follow(**reply.new(), ephemeral=True), repeatable=False)
        else:
            with open_dms(self.words):
                await patiently(lambda: self.client.send_dm(person, reply), repeatable=False)
        self._handed_over = True

    async def remove_message(self) -> None:
        """Delete the message whose button it was, by the interaction itself: it always may."""
        # After `begin` the original answer is that message.
        await self._delete_original()

    async def _take_back(self) -> None:
        if self._answer is Answer.PUBLIC:
            await self._delete_original()
        self._answer = Answer.SILENT

    async def _delete_original(self) -> None:
        with _gone():
            await patiently(self.interaction.delete_original_response, repeatable=True)


class Reaction(Visit):
    """An emoji below one of Marble's messages."""

    def __init__(
        self,
        client: MarbleClient,
        payload: discord.RawReactionActionEvent,
        emoji: str,
        language: str | None,
    ) -> None:
        self.client = client
        self.guild = payload.guild_id
        guild = client.get_guild(payload.guild_id) if payload.guild_id else None
        channel = guild.get_channel_or_thread(payload.channel_id) if guild else None
        self.parent = channel.parent_id if isinstance(channel, discord.Thread) else None
        self._channel = channel
        self.member = member = payload.member
        self.moderates = moderates(channel.permissions_for(member) if channel and member else None)
        self.governs = moderates(member.guild_permissions if member else None)
        self.in_private = self.guild is None  # Marble hears of reactions in no others'
        self.about = payload.message_id
        self._emoji = emoji
        self.event = f"discord:{payload.message_id}:{payload.user_id}:{emoji}"
        self.address = Address(
            channel=payload.channel_id,
            person=payload.user_id,
            language=language or "en",
            limit=guild.filesize_limit if guild else LIMIT,
            answers=payload.message_id,
        )

    async def find_channel(self) -> None:
        """Ask Discord for a thread that it has not told of: an archived one, or a private one."""
        if self.guild is not None and self._channel is None:
            found = await self.client.fetch_channel(self.address.channel)
            self.parent = found.parent_id if isinstance(found, discord.Thread) else None

    def check_permissions(self) -> None:
        """Raise `MissingPermission` where an answer could not be shown."""
        if self._channel is None:
            return
        has = self._channel.permissions_for(self._channel.guild.me)
        in_thread = isinstance(self._channel, discord.Thread)
        send = "send_messages_in_threads" if in_thread else "send_messages"
        for name in ("view_channel", send, "attach_files"):
            if not getattr(has, name):
                raise MissingPermission(name, self.words)

    @property
    def deed(self) -> str:
        """Return what the log calls it: `event` without the person."""
        return f"discord:{self.address.answers}:{self._emoji}"

    async def open(self, *, private: bool = False) -> None:
        """Do nothing: a reaction needs no acknowledgement."""

    async def begin(self) -> None:
        """Do nothing: a reaction needs no acknowledgement."""

    async def announce(self, job: Job) -> int | None:
        """Send the message that becomes the job's reply."""
        reply = Reply(content=self.words.submitted)
        return (await self.client.send(self.address, reply, nonce=str(job.id))).id

    async def show(self, reply: Reply) -> int:
        """Send a message that replies to the one with the reaction."""
        message = await patiently(lambda: self.client.send(self.address, reply), repeatable=False)
        return message.id

    async def tell(
        self, text: str, files: Sequence[Attached] = (), view: discord.ui.View | None = None
    ) -> None:
        """Write a direct message, if they take any."""
        reply = Reply(content=text, files=tuple(files), view=view)
        person = self.address.person
        try:
            await patiently(lambda: self.client.send_dm(person, reply), repeatable=False)
        except discord.HTTPException as error:
            if not takes_no_dm(error):
                raise

    async def remove_message(self) -> None:
        """Delete the message with the reaction; raises `discord.HTTPException`."""
        channel = self.client.get_partial_messageable(self.address.channel)
        assert self.address.answers
        message = channel.get_partial_message(self.address.answers)
        with _gone():
            await patiently(message.delete, repeatable=True)

    async def nod(self, text: str) -> None:
        """Say nothing: the reaction itself can be seen."""


@contextmanager
def open_dms(words: Words) -> Iterator[None]:
    """Turn Discord's word that somebody takes no direct messages into a `Refusal`."""
    try:
        yield
    except discord.HTTPException as error:
        if not takes_no_dm(error):
            raise
        raise Refusal(words.dm_closed) from None


@contextmanager
def _gone() -> Iterator[None]:
    """Take it for deleted what Discord no longer knows."""
    try:
        yield
    except discord.HTTPException as error:
        if not refused_by(error, UNKNOWN_MESSAGE, UNKNOWN_CHANNEL):
            raise


@contextmanager
def _answered() -> Iterator[None]:
    """Turn Discord's "too late" and "already answered" into `Gone`."""
    try:
        yield
    except discord.HTTPException as error:
        if refused_by(error, ALREADY_ACKNOWLEDGED, UNKNOWN_INTERACTION):
            raise Gone from error
        raise
