"""A request: who asks for something and where, with what it takes to do and answer it."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from telegram import ChatMemberRestricted, Message, MessageEntity
from telegram.constants import ChatMemberStatus, ParseMode
from telegram.error import BadRequest, TelegramError
from telegram.ext import ExtBot

from bots.admission.roles import Role
from bots.chat.access import ADMITTED, Relation, Target, Viewer
from bots.chat.actions import find
from bots.presentation.text import cut, fit_list, quote_names, utf16_length
from bots.requests.options import Flag
from bots.requests.studio import Asker
from bots.requests.typed_options import Typed, split_message, words_below
from bots.service.app import App
from bots.telegram.address import (
    TEXT,
    Address,
    chat_of,
    is_person,
    message_key,
    number_of,
    place_key,
    post,
)
from bots.telegram.errors import translate
from bots.telegram.features import EPHEMERAL, Features
from bots.telegram.progress import Placeholders
from bots.telegram.replies import Replies
from bots.texts import Words, say
from engine.errors import shorten
from engine.sentences import Sentence
from storage import Job
from storage.records import EVERYWHERE

_MARKED: Final = re.compile(r"\*\*(.+?)\*\*|`(.+?)`")
ADMINISTRATORS: Final = (ChatMemberStatus.OWNER, ChatMemberStatus.ADMINISTRATOR)
MEMBERS: Final = (*ADMINISTRATORS, ChatMemberStatus.MEMBER)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who asks, where the answer goes, and what it takes; a `Requester` of `bots.chat.access`."""

    app: App
    bot: ExtBot[str] = field(repr=False)  # it shows its token
    placeholders: Placeholders
    replies: Replies
    asker: Asker
    address: Address
    features: Features
    command: int | None = None  # the number of a command that only Marble saw, if it is one
    by_reaction: bool = False

    @property
    def words(self) -> Words:
        """Return the messages in the asker's language."""
        return self.address.words

    @property
    def viewer(self) -> Viewer:
        """Return who asks, where, and who reads the answer."""
        return Viewer(
            person=self.asker.person,
            place=self.asker.place,
            is_person=is_person(self.asker.person),
            in_private=self.address.private,
            answered_alone=self.command is not None,
        )

    @property
    def moderated_place(self) -> str:
        """Return where a moderator's command applies: in the whole group; in private, everywhere.

        The group under the id that it has now.
        """
        return EVERYWHERE if self.address.private else self.asker.place.partition("/")[0]

    async def say(
        self, text: str, buttons: Any = None, *, marked: str = "", spoiler: bool = False
    ) -> Message:
        """Answer with a text as it is; `marked` text below it has **bold** and `code` in it.

        spoiler: what stands below its first line is behind one, where nothing is marked. A command
        that only Marble saw is answered for its sender alone.
        """
        below = cut(f"\n\n{marked}" if text and marked else marked, TEXT, utf16_length)
        text = cut(text, TEXT - utf16_length(below), utf16_length)
        content = {
            "text": html.escape(text, quote=False) + to_html(below) if marked else text,
            "parse_mode": ParseMode.HTML if marked else None,
            "entities": [spoiler_below_title(text)] if spoiler else None,
            "reply_markup": buttons,
        }
        if self.command is not None:
            return await self._say_alone(**content)
        return await post(self.bot.send_message, self.address, **content)

    async def refuse(self, text: str, query: str | None = None) -> None:
        """Say why something is not done, as `tell` does."""
        await self.tell(text, query)

    async def tell(self, text: str, query: str | None = None, buttons: Any = None) -> None:
        """Answer in a group who asked alone, where that can be done, else all.

        query: the press of a button that asked for it.
        """
        text = cut(text, TEXT, utf16_length)
        person = self.viewer.is_person and not self.address.private
        if person and self.features.ephemeral and self.command is None:
            try:
                await self._say_alone(query, text=text, reply_markup=buttons)
                return
            except BadRequest as error:  # Marble is no administrator of the group
                log.debug("all of a group see a refusal: %s", translate(error))
        await self.say(text, buttons)

    async def _say_alone(self, query: str | None = None, **content: Any) -> Message:
        """Send a message that the asker alone sees; raises `BadRequest` where that cannot be done.

        Marble must be an administrator, or answer a press or a command that only it saw.
        """
        alone: dict[str, Any] = {"receiver_user_id": number_of(self.asker.person)}
        if query is not None:
            alone["callback_query_id"] = query
        new = {"ephemeral_message_parameters": alone}
        if self.command is not None:
            new["reply_parameters"] = {EPHEMERAL: self.command}
        sent = await self.bot.send_message(
            self.address.chat, **self.address.spot, **content, api_kwargs=new
        )
        if EPHEMERAL not in sent.api_kwargs:  # all can read it
            self.features.ephemeral = False
            log.error("the Bot API server sent to a whole group what was for one person")
            await self.bot.delete_message(sent.chat.id, sent.message_id)
            raise BadRequest("not sent to one person alone")
        return sent

    async def say_list(self, lines: Iterable[str], *, marked: str = "") -> None:
        """Answer with a list, cut between its lines; `marked` as in `say`."""
        room = TEXT - utf16_length(f"\n\n{marked}")
        text = fit_list(lines, room, self.words.and_more, length=utf16_length)
        await self.say(text, marked=marked)

    async def shown_by(self, message: int | None) -> tuple[Job, int | None] | None:
        """Return the job, and which of its pictures, that a message of this chat shows, if any."""
        if message is None:
            return None
        return await self.app.storage.jobs.by_message(message_key(self.address.chat, message))

    async def find(self, action: str, name: str, message: int | None = None) -> Target:
        """Return the picture of a name for an action of `bots.chat.actions`.

        message: the one acted on. Raises `UserError` as `find_picture` does, and for who is banned.
        """
        key = message_key(self.address.chat, message) if message else None
        target = await find(self.app, action, name, self, key)
        if target.purpose in ADMITTED:
            await self.app.gate.admit(self.asker)
        return target

    async def finish(self) -> None:
        """Let no later process do this again: what follows is done at most once."""
        if self.asker.event:
            await self.app.storage.inbox.done(self.asker.event)

    @property
    def saved_by(self) -> str | None:
        """Return whose default options are used: several people who write as one have none."""
        return self.asker.person if self.viewer.is_person else None

    def read(self, text: str, more: Sequence[Flag] = ()) -> tuple[str, Typed]:
        """Read words and options as `split_message` does; what is taken as negative is noted."""
        read = split_message(text, more)
        if below := " ".join(words_below(text, more).split()):
            note = Sentence("read_as_negative", words=shorten(below))
            self.asker.notes.extend({note}.difference(self.asker.notes))
        return read

    async def announce(self, job: Job, *notes: str) -> None:
        """Show that a job waits and how far it is, and what is to be said beside it."""
        self.placeholders.begin(job)
        await self._say_notes(job, *notes)

    async def announce_each(self, jobs: Sequence[Job]) -> None:
        """Say what is to be said beside jobs, how many they are first, and show each."""
        if len(jobs) == 1:
            return await self.announce(jobs[0])
        await self._say_notes(jobs[0])
        for job in jobs:
            self.placeholders.begin(job)

    async def _say_notes(self, job: Job, *notes: str) -> None:
        said = (quote_names(say(each, self.words)) for each in self.asker.notes)
        if text := "\n".join((*notes, *said)):
            try:
                await self.say(text)
            except TelegramError as error:  # the job is stored, noted or not
                log.warning("a note to job %d was not shown: %s", job.id, translate(error))

    def shares(self, place: str) -> bool:
        """Return whether a place is in this chat: its members see all of its topics."""
        chat = chat_of(place)
        return chat is not None and chat == chat_of(self.asker.place)

    async def relation(self, place: str) -> Relation:
        """Return how the asker is related to a place; `NONE` where Telegram does not say."""
        chat, person = chat_of(place), self.asker.person
        if chat is None or chat > 0:
            return Relation.PRIVATE
        if person == place_key(chat):  # an anonymous administrator
            return Relation.MODERATES
        if not is_person(person):
            return Relation.NONE
        try:
            member = await self.bot.get_chat_member(chat, number_of(person))
        except TelegramError as error:  # Marble is no administrator there, or not there any more
            log.info("a membership could not be looked up: %s", translate(error))
            return Relation.NONE
        if member.status in ADMINISTRATORS:
            return Relation.MODERATES
        there = isinstance(member, ChatMemberRestricted) and member.is_member
        return Relation.SEES if there or member.status in MEMBERS else Relation.NONE

    async def moderates(self) -> bool:
        """Return whether the asker is a moderator, of this group or everywhere."""
        if self.app.gate.roles.of(self.asker.person) >= Role.MODERATOR:
            return True
        return await self.relation(self.asker.place) is Relation.MODERATES


def spoiler_below_title(text: str) -> MessageEntity:
    """Return what puts all but the first line of a text behind a spoiler."""
    title, _, below = text.partition("\n")
    return MessageEntity(MessageEntity.SPOILER, utf16_length(f"{title}\n"), utf16_length(below))


def to_html(text: str) -> str:
    """Turn **bold** and `code` into HTML, never one within the other."""
    return _MARKED.sub(
        lambda found: f"<b>{found[1]}</b>" if found[1] else f"<code>{found[2]}</code>",
        html.escape(text, quote=False),
    )
