"""What is kept of somebody: handed to them in private, or removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, InputFile
from telegram.error import Forbidden

from bots.chat.access import check_personal
from bots.chat.mydata import export_data, forget_data
from bots.telegram.addresses import place_of, user_of
from bots.telegram.errand import Errand
from bots.telegram.reading import Said
from engine.errors import UserError

DOCUMENT: Final = 50_000_000  # bytes
FORGET: Final = "forget"  # what the button carries


async def mydata(errand: Errand, said: Said) -> str | None:
    """Do what the word behind the command says, or say which words there are."""
    check_personal(errand.viewer)
    act = ACTS.get(said.text.lower())
    if act is None:
        await errand.say("", marked=errand.words.mydata_how)
        return None
    return await act(errand)


async def export(errand: Errand) -> str | None:
    """Send everything that is kept of somebody to them alone."""
    user, words = user_of(errand.asker.person), errand.words

    async def send(text: str, name: str, data: bytes) -> None:
        try:
            await errand.bot.send_document(user, InputFile(data, filename=name), caption=text)
        except Forbidden:
            raise UserError(words.dm_closed) from None

    view = await errand.app.screen.of(place_of(user))  # where it is sent
    await export_data(errand.app, errand.viewer, words, view=view, most=DOCUMENT, send=send)
    return None


async def ask_to_forget(errand: Errand) -> str | None:
    """Ask whether everything is to be removed."""
    user = user_of(errand.asker.person)
    sure = InlineKeyboardButton(errand.words.forget_confirm, callback_data=f"{FORGET}:{user}")
    await errand.say(errand.words.forget_question, InlineKeyboardMarkup([[sure]]))
    return None


async def forget(errand: Errand) -> str | None:
    """Remove everything of whoever presses the button, which is theirs: it stands in private."""
    known, answer = await forget_data(errand.app, errand.viewer, errand.words)
    if not known:
        return answer
    await errand.say(answer)
    return None


ACTS: Final[Mapping[str, Callable[[Errand], Awaitable[str | None]]]] = {
    "export": export,
    "delete": ask_to_forget,
}
