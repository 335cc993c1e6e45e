"""What somebody wants, with everything that helps to do it."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from telegram import ChatMemberRestricted, InlineKeyboardMarkup, Message
from telegram.constants import ChatMemberStatus, ParseMode
from telegram.error import TelegramError
from telegram.ext import ExtBot

from bots.admission.roles import Role
from bots.chat.access import ADMITTED, Access, Purpose, Relation, Target, Viewer
from bots.presentation import cut, fit_list, utf16_length
from bots.requests.studio import Asker
from bots.service.app import App, roles_of
from bots.telegram.addresses import (
    Address,
    chat_of,
    is_person,
    message_key,
    place_of,
    user_of,
)
from bots.telegram.progress import Placeholders
from bots.telegram.replies import Replies
from bots.telegram.sending import post
from bots.telegram.troubles import explain
from bots.texts import Words
from storage import Job
from storage.states import OVER

TEXT: Final = 4096  # UTF-16 units
_MARKED: Final = re.compile(r"\*\*(.+?)\*\*|`(.+?)`")
ADMINISTRATORS: Final = (ChatMemberStatus.OWNER, ChatMemberStatus.ADMINISTRATOR)
MEMBERS: Final = (*ADMINISTRATORS, ChatMemberStatus.MEMBER)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Hold who asks, where the answer goes, and what it takes."""

    app: App
    bot: ExtBot[str] = field(repr=False)  # it shows its token
    placeholders: Placeholders
    replies: Replies
    asker: Asker
    address: Address

    @property
    def words(self) -> Words:
        """Return the messages in the asker's language."""
        return self.address.words

    @property
    def group(self) -> str:
        """Return the place of the whole chat, whatever topic this is, under the id it has now."""
        return self.asker.place.partition("/")[0]

    async def say(self, text: str, buttons: Any = None, *, marked: str = "") -> Message:
        """Answer with words as they are; `marked` ones below have **bold** and `code` in them."""
        below = cut(f"\n\n{marked}" if text and marked else marked, TEXT, utf16_length)
        text = cut(text, TEXT - utf16_length(below), utf16_length)
        return await post(
            self.bot.send_message,
            self.address,
            html.escape(text, quote=False) + to_html(below) if marked else text,
            parse_mode=ParseMode.HTML if marked else None,
            reply_markup=buttons,
        )

    async def say_list(self, lines: Iterable[str], *, marked: str = "") -> None:
        """Answer with a list, cut between its lines; `marked` as `say` takes it."""
        room = TEXT - utf16_length(f"\n\n{marked}")
        text = fit_list(lines, room, self.words.and_more, length=utf16_length)
        await self.say(text, marked=marked)

    async def mark(self, message: int, buttons: InlineKeyboardMarkup | None) -> None:
        """Put other buttons under a message."""
        await self.bot.edit_message_reply_markup(self.address.chat, message, reply_markup=buttons)

    def begin(self, job: Job) -> None:
        """Show how far a job is, from now on; one that was asked for before may be over."""
        if job.status not in OVER:
            self.placeholders.begin(job)

    async def find(self, name: str, purpose: Purpose, message: int | None = None) -> Target:
        """Return the picture that is named, for what is wanted with it.

        message: the one acted on. Raises `UserError` as `bots.chat.access.Access.find` does, and
        for who may ask for nothing.
        """
        key = message_key(self.address.chat, message) if message else None
        found = await Access(self.app.storage.jobs, self.app.gate).find(name, self, purpose, key)
        if purpose in ADMITTED:
            await self.app.gate.admit(self.asker)
        return found

    @property
    def viewer(self) -> Viewer:
        """Return who asks, where, and who reads the answer."""
        return Viewer(
            person=self.asker.person,
            place=self.asker.place,
            is_person=is_person(self.asker.person),
            in_private=self.address.private,
        )

    def shares(self, place: str) -> bool:
        """Say whether a place is in this chat: its members see all of its topics."""
        return chat_of(place) == chat_of(self.asker.place)

    async def relation(self, place: str) -> Relation:
        """Return what the asker has to do with a place; `NONE` where Telegram does not tell."""
        chat, person = chat_of(place), self.asker.person
        if chat is None or chat > 0:
            return Relation.PRIVATE
        if person == place_of(chat):  # an anonymous administrator
            return Relation.MODERATES
        if not is_person(person):
            return Relation.NONE
        try:
            member = await self.bot.get_chat_member(chat, user_of(person))
        except TelegramError as error:  # Marble is no administrator there, or not there any more
            log.info("somebody counts as no member: %s", explain(error))
            return Relation.NONE
        if member.status in ADMINISTRATORS:
            return Relation.MODERATES
        there = isinstance(member, ChatMemberRestricted) and member.is_member
        return Relation.SEES if there or member.status in MEMBERS else Relation.NONE

    async def moderates(self) -> bool:
        """Say whether the asker is a moderator, of this group or everywhere."""
        if roles_of(self.app.settings).of(self.asker.person) >= Role.MODERATOR:
            return True
        return await self.relation(self.asker.place) is Relation.MODERATES


def to_html(text: str) -> str:
    """Turn **bold** and `code` into what Telegram shows so, never one within the other."""
    return _MARKED.sub(_tagged, html.escape(text, quote=False))


def _tagged(found: re.Match[str]) -> str:
    return f"<b>{found[1]}</b>" if found[1] else f"<code>{found[2]}</code>"
