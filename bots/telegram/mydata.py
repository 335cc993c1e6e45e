"""/mydata: a person's data, sent to them in private or removed."""

from __future__ import annotations

from typing import Final

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, InputFile
from telegram.error import Forbidden

from bots.chat.access import check_personal
from bots.chat.mydata import export_data, forget_data
from bots.telegram.address import number_of, place_key
from bots.telegram.messages import ParsedMessage
from bots.telegram.replies import DOCUMENT
from bots.telegram.request import Request
from engine.errors import UserError

FORGET: Final = "forget"  # what the button carries


async def mydata(request: Request, parsed: ParsedMessage) -> str | None:
    """Do what the word after the command says, or list the words."""
    check_personal(request.viewer)
    match parsed.text.lower():
        case "export":
            await export(request)
        case "delete":
            user, words = number_of(request.asker.person), request.words
            sure = InlineKeyboardButton(words.forget_confirm, callback_data=f"{FORGET}:{user}")
            await request.say(words.forget_question, InlineKeyboardMarkup([[sure]]))
        case _:
            await request.say("", marked=request.words.mydata_how)
    return None


async def export(request: Request) -> None:
    """Send everything that is kept of somebody to them alone."""
    user, words = number_of(request.asker.person), request.words

    async def send(text: str, name: str, data: bytes) -> None:
        try:
            await request.bot.send_document(user, InputFile(data, filename=name), caption=text)
        except Forbidden:
            raise UserError(words.dm_closed) from None

    view = await request.app.gate.view(place_key(user))  # where it is sent
    await export_data(request.app, request.viewer, words, view=view, most=DOCUMENT, send=send)


async def forget(request: Request) -> str | None:
    """Remove all data of the person who presses the button."""
    known, answer = await forget_data(request.app, request.viewer, request.words)
    if not known:
        return answer
    await request.say(answer)  # it stays in the chat
    return None
