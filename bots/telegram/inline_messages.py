"""Messages in other chats that inline and guest queries have put there, and how they change.

Telegram tells a bot nothing of the chat, and takes no new file for such a message: a picture is
sent to the private chat of who asked for it, and named by the id that it has there. All edits may
be repeated. A message that somebody has deleted is ignored.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from telegram import InputMediaDocument, InputMediaPhoto, Message
from telegram.error import BadRequest
from telegram.ext import ExtBot

from bots.presentation.text import cut, utf16_length
from bots.telegram.address import CAPTION, TEXT
from bots.telegram.errors import INLINE_GONE, MEDIA_NOW, SAME, says

log = logging.getLogger(__name__)


async def say(bot: ExtBot[str], inline: str, text: str, urgency: str | None = None) -> None:
    """Let a message show a text and no buttons; raises `TelegramError`."""
    where = {"inline_message_id": inline, "rate_limit_args": urgency}
    try:
        await _edit(bot.edit_message_text, cut(text, TEXT, utf16_length), **where)
    except BadRequest as error:  # it shows a picture
        if not says(error, MEDIA_NOW):
            raise
        caption = cut(text, CAPTION, utf16_length)
        await _edit(bot.edit_message_caption, caption=caption, **where)


async def show(
    bot: ExtBot[str],
    inline: str,
    sent: Message | bool,
    text: str,
    *,
    spoiler: bool,
    urgency: str | None,
) -> None:
    """Let a message show the picture of another one, if it has one, with a text.

    sent: what a call that sent or edited that one returned. Raises `TelegramError`.
    """
    media: InputMediaPhoto | InputMediaDocument
    if isinstance(sent, Message) and sent.photo:
        media = InputMediaPhoto(sent.photo[-1].file_id, caption=text, has_spoiler=spoiler)
    elif isinstance(sent, Message) and sent.document:
        media = InputMediaDocument(sent.document.file_id, caption=text)
    else:
        return await say(bot, inline, text, urgency)
    await _edit(bot.edit_message_media, media, inline_message_id=inline, rate_limit_args=urgency)


async def _edit(edit: Callable[..., Awaitable[Any]], *content: Any, **more: Any) -> None:
    try:
        await edit(*content, **more)
    except BadRequest as error:
        if says(error, INLINE_GONE):
            log.info("an inline message is gone: %s", error.message)
        elif not says(error, SAME):
            raise
