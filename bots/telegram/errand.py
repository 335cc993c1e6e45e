"""What somebody wants, with everything that helps to do it."""

from __future__ import annotations

import html
import logging
import re
from dataclasses import dataclass
from typing import Any, Final

from telegram import InlineKeyboardMarkup, Message
from telegram.constants import ChatMemberStatus, ParseMode
from telegram.error import BadRequest
from telegram.ext import ExtBot

from bots.app import App, roles_of
from bots.policy import Role
from bots.presentation import cut, utf16_length
from bots.studio import Asker
from bots.telegram.addresses import Address, place_of, user_of
from bots.telegram.progress import Placeholders
from bots.telegram.replies import Replies
from bots.telegram.sending import post
from bots.telegram.troubles import explain
from bots.texts import Words
from engine.errors import UserError
from storage import Job
from storage.life import OVER

TEXT: Final = 4096  # UTF-16 units
_MARKED: Final = re.compile(r"\*\*(.+?)\*\*|`(.+?)`")
ADMINISTRATORS: Final = (ChatMemberStatus.OWNER, ChatMemberStatus.ADMINISTRATOR)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Hold who asks, where the answer goes, and what it takes."""

    app: App
    bot: ExtBot[str]
    placeholders: Placeholders
    replies: Replies
    asker: Asker
    address: Address

    @property
    def words(self) -> Words:
        """Return the messages in the asker's language."""
        return self.address.words

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

    async def mark(self, message: int, buttons: InlineKeyboardMarkup | None) -> None:
        """Put other buttons under a message."""
        await self.bot.edit_message_reply_markup(self.address.chat, message, reply_markup=buttons)

    def begin(self, job: Job) -> None:
        """Show how far a job is, from now on; one that was asked for before may be over."""
        if job.status not in OVER:
            self.placeholders.begin(job)

    async def check_owner(self, job: Job) -> None:
        """Raise `UserError` unless a job is the asker's own, or the asker moderates its place."""
        if job.person != self.asker.person and not await self.moderates(job.place):
            raise UserError(self.words.not_yours)

    async def moderates(self, place: str) -> bool:
        """Say whether the asker is a moderator, here or everywhere.

        In a group, its administrators moderate what was asked for there.
        """
        if roles_of(self.app.settings).of(self.asker.person) >= Role.MODERATOR:
            return True
        here = place_of(self.address.chat)
        if self.address.private or place.partition("/")[0] != here:
            return False
        if self.asker.person == here:  # an anonymous administrator
            return True
        try:
            member = await self.bot.get_chat_member(self.address.chat, user_of(self.asker.person))
        except BadRequest as error:  # who writes as a channel is no member, and some are hidden
            log.info("%s counts as no administrator: %s", self.asker.person, explain(error))
            return False
        return member.status in ADMINISTRATORS


def to_html(text: str) -> str:
    """Turn **bold** and `code` into what Telegram shows so, never one within the other."""
    return _MARKED.sub(_tagged, html.escape(text, quote=False))


def _tagged(found: re.Match[str]) -> str:
    return f"<b>{found[1]}</b>" if found[1] else f"<code>{found[2]}</code>"
