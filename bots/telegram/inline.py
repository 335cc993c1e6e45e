"""Inline and guest queries: pictures for chats in which Marble is no member.

What is asked for so is drawn by the rules of the place `INLINE`, since Telegram does not say which
chat it is. The picture is sent to the private chat of who asked, where it has its buttons, and
shown in the other chat by the file that it has there: no new file can be sent to that one.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Final

from telegram import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQuery,
    InlineQueryResultArticle,
    InlineQueryResultsButton,
    InputTextMessageContent,
    Message,
    User,
)
from telegram.constants import ChatAction
from telegram.error import BadRequest, Forbidden, TelegramError
from telegram.ext import ExtBot

from bots.chat.actions import ACTIONS
from bots.chat.answers import read_button
from bots.chat.commands import cancel
from bots.presentation.text import cut, utf16_length
from bots.requests.options import Values, parse_values
from bots.telegram.address import TEXT, inline_key
from bots.telegram.errors import translate
from bots.telegram.messages import picture_of
from bots.telegram.request import Request
from engine.errors import UserError, shorten
from engine.sentences import Sentence

CANCEL: Final = ACTIONS["cancel"].telegram  # what the button of a message that waits carries
RESULT: Final = "picture"  # the id of the one result of a query
START: Final = "inline"  # what the button that starts a chat sends with `/start`
BUTTON: Final = 64  # characters of a button above the results
DESCRIPTION: Final = 200
REMEMBERED: Final = 10_000  # people

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Acquaintances:
    """Knows who has a private chat with the bot."""

    bot: ExtBot[str] = field(repr=False)  # it shows its token
    _known: set[int] = field(default_factory=set)

    async def include(self, user: int) -> bool:
        """Return whether the bot may write to somebody; where that cannot be found out, too."""
        if user in self._known:
            return True
        try:  # the picture that is asked for will be sent there
            await self.bot.send_chat_action(user, ChatAction.UPLOAD_PHOTO)
        except (Forbidden, BadRequest):
            return False
        except TelegramError as error:
            log.info("whether somebody started the bot is not known: %s", translate(error))
            return True
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known.add(user)
        return True


async def check(request: Request, text: str, acquaintances: Acquaintances) -> str | None:
    """Return what is missing before some words can be drawn, if anything is.

    Raises `UserError` for what may not be drawn.
    """
    if not text:
        return request.words.inline_hint
    if not await acquaintances.include(request.address.chat):
        return request.words.start_first
    await request.app.gate.admit(request.asker)
    await request.app.gate.check_words(request.asker.place, _read(request, text)["prompt"])
    return None


async def answer(request: Request, query: InlineQuery, why: str | None) -> None:
    """Answer a query by the message to be sent, or by a button that says why there is none."""
    results = [] if why else [waiting(request, query.query)]
    button = why and InlineQueryResultsButton(cut(why, BUTTON, utf16_length), start_parameter=START)
    await request.bot.answer_inline_query(
        query.id, results, cache_time=0, is_personal=True, button=button or None
    )


async def answer_guest(request: Request, query: str, text: str, why: str | None) -> str:
    """Answer a guest query by a message that waits for its picture, or says why there is none.

    Return the message's id; nothing where it is not known, as an earlier process has answered.
    """
    told = why and InlineQueryResultArticle(RESULT, why, InputTextMessageContent(why))
    try:
        sent = await request.bot.answer_guest_query(query, told or waiting(request, text))
    except TelegramError as error:  # the picture comes in private all the same
        log.warning("a guest query was not answered: %s", translate(error))
        return ""
    return sent.inline_message_id


def waiting(request: Request, text: str) -> InlineQueryResultArticle:
    """Return the message to be sent for some words, which a button cancels.

    Telegram says what became of a message, and lets it be changed, only where it has a button.
    """
    words = request.words
    content = cut(words.inline_waiting.format(prompt=text), TEXT, utf16_length)
    button = InlineKeyboardButton(ACTIONS["cancel"].label_in(words) or CANCEL, callback_data=CANCEL)
    return InlineQueryResultArticle(
        RESULT,
        words.inline_offer,
        InputTextMessageContent(content),
        description=cut(text, DESCRIPTION, utf16_length),
        reply_markup=InlineKeyboardMarkup.from_button(button),
    )


async def draw(request: Request, text: str, *notes: str) -> None:
    """Draw the words of a message that was sent to another chat; notes are said in private."""
    app, inline = request.app, request.address.inline
    job = await app.studio.imagine(_read(request, text), request.asker, request.saved_by)
    if inline:
        await app.storage.jobs.shown(job.id, {inline_key(inline): None})
    await request.announce(job, *notes)


async def stop(request: Request, inline: str) -> str:
    """Cancel the job of a message that waits in another chat."""
    key = inline_key(inline)
    if await request.app.storage.jobs.by_message(key) is None:  # as `cancel` would take another
        return request.words.inline_silent
    return await cancel(request.app, request, request.words, message=key)


def words_for(message: Message, me: User) -> str:
    """Return what a message says to a bot that is no member, which it mentions."""
    mention = re.compile(rf"@{re.escape(me.username or '')}\b", re.IGNORECASE)
    return mention.sub("", message.text or message.caption or "").strip()


def has_picture(message: Message) -> bool:
    """Return whether a message comes with a picture, or replies to one."""
    replied = message.reply_to_message
    return picture_of(message) is not None or (
        replied is not None and picture_of(replied) is not None
    )


def _read(request: Request, text: str) -> Values:
    if read_button(text):
        raise UserError(Sentence("name_of_button", answer=shorten(text)))
    prompt, typed = request.read(text)
    if not prompt:
        raise UserError(request.words.inline_hint)
    return {**parse_values(typed), "prompt": prompt}
