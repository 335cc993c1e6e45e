"""What is kept of somebody: handed to them in private, or removed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, InputFile
from telegram.error import Forbidden

from bots.chat.access import check_personal
from bots.chat.exports import PARTS, export_text
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
    person, words = errand.asker.person, errand.words
    seen = await errand.app.screen.of(place_of(user_of(person)))  # where it is sent
    exports = errand.app.storage.exports
    async with exports.begin(person, most=DOCUMENT, parts=PARTS, may=seen.shows) as export:
        for number in export.numbers:
            async with export.part(number) as part:
                data = await asyncio.to_thread(part.file.read_bytes)
                try:
                    await errand.bot.send_document(
                        user_of(person),
                        InputFile(data, filename=part.file.name),
                        caption=export_text(export.plan.exported, part, words),
                    )
                except Forbidden:
                    raise UserError(words.dm_closed) from None
    return None


async def ask_to_forget(errand: Errand) -> str | None:
    """Ask whether everything is to be removed."""
    user = user_of(errand.asker.person)
    sure = InlineKeyboardButton(errand.words.forget_confirm, callback_data=f"{FORGET}:{user}")
    await errand.say(errand.words.forget_question, InlineKeyboardMarkup([[sure]]))
    return None


async def forget(errand: Errand) -> str | None:
    """Remove everything of whoever presses the button, which is theirs: it stands in private."""
    check_personal(errand.viewer)
    gone = await errand.app.storage.privacy.forget(errand.asker.person)
    if not gone.known:
        return errand.words.forget_nothing
    await errand.say(errand.words.forgotten.format(jobs=gone.jobs, files=gone.files))
    return None


ACTS: Final[Mapping[str, Callable[[Errand], Awaitable[str | None]]]] = {
    "export": export,
    "delete": ask_to_forget,
}
