"""Words, and what they start from: a prompt, a result that is answered, a photo."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from telegram import Document, ForceReply, PhotoSize
from telegram.error import TelegramError

from bots.chat.access import Purpose
from bots.chat.errors import Unfetched
from bots.presentation import ignored_text, name_of
from bots.requests.options import Values, parse_values
from bots.requests.preferences import values_for
from bots.requests.typed_options import split_message
from bots.telegram.acts import Target
from bots.telegram.addresses import message_key
from bots.telegram.errand import Errand
from bots.telegram.reading import Picture, Said
from bots.telegram.sending import post
from bots.telegram.troubles import explain
from engine.errors import UserError
from engine.formats.metadata import Reading, read_recipe

LARGEST: Final = 20 * 2**20  # bytes that Telegram hands to bots

log = logging.getLogger(__name__)


async def imagine(errand: Errand, said: Said) -> str | None:
    """Draw what the words say, from the picture that comes with them or is answered.

    Words that answer a result draw that with these words.
    """
    if name := await _result(errand, said):
        return await _redraw(errand, said, name)
    if said.answers is not None and not (said.asked or said.command or errand.address.private):
        return None  # talk below something else that we said
    prompt, typed = split_message(said.text)
    picture = said.picture or said.answered
    if picture:  # nothing is fetched for who may not ask
        await errand.app.gate.admit(errand.asker)
    file = picture if isinstance(picture, Document) and not prompt else None
    if file and (reading := await _recipe_in(errand, file)):
        await _remake(errand, reading, parse_values(typed))
        return None
    if not prompt:
        return await _ask(errand, picture, nothing=not said.text and not said.command)
    viewer = errand.viewer
    person = viewer.person if viewer.is_person else None
    values = await values_for(errand.app.storage, person, viewer.place, dict(typed))
    if picture:
        values["image"] = await _keep(errand, picture)
    errand.begin(await errand.app.studio.imagine({**values, "prompt": prompt}, errand.asker))
    return None


async def _result(errand: Errand, said: Said) -> str | None:
    """Return the name of the result that is answered; who brings a picture means that one."""
    if said.answers is None or said.asked or said.picture:
        return None
    key = message_key(errand.address.chat, said.answers)
    found = await errand.app.storage.jobs.by_message(key)
    return found and name_of(*found)


async def _redraw(errand: Errand, said: Said, name: str) -> str | None:
    target = Target.of(await errand.find(name, Purpose.DRAW, said.answers))
    prompt, typed = split_message(said.text)
    values = {**parse_values(typed), **({"prompt": prompt} if prompt else {})}
    if not values:
        raise UserError(errand.words.empty_prompt)
    errand.begin(await errand.app.studio.rerun(target.name, values, errand.asker))
    return None


async def _recipe_in(errand: Errand, file: Document) -> Reading | None:
    """Return what a picture file was made from, if it says so; photos have lost their texts.

    A recipe that starts from stored pictures is left alone: they may be another person's.
    """
    if (file.file_size or 0) > LARGEST:
        return None
    data = await _fetch(errand, file)
    try:
        reading = await asyncio.to_thread(read_recipe, data)
    except UserError:
        return None
    return None if reading.recipe.inputs else reading


async def _remake(errand: Errand, reading: Reading, values: Values) -> None:
    """Draw a file's recipe, and name what of it is not honoured."""
    job = await errand.app.studio.remake(reading.recipe, values, errand.asker)
    errand.begin(job)
    if not reading.ignored:
        return
    what = ignored_text(reading.ignored, errand.words)
    try:
        await errand.say(errand.words.not_honoured.format(what=what))
    except TelegramError as error:  # the job is there, noted or not
        log.warning("a note to job %d was not shown: %s", job.id, explain(error))


async def _ask(errand: Errand, picture: Picture | None, *, nothing: bool) -> str | None:
    """Ask for the half that is missing.

    A picture is part of the question, so that the answer brings it back: nothing has to be
    remembered. Telegram has it already and is only named it.
    """
    words, address = errand.words, errand.address
    if picture is None and nothing:  # a sticker, a voice message
        raise UserError(words.not_a_picture)
    if picture is None:
        await errand.say(words.empty_prompt, ForceReply(selective=True))
        return None
    send = errand.bot.send_photo if isinstance(picture, PhotoSize) else errand.bot.send_document
    await post(
        send,
        address,
        picture.file_id,
        caption=words.photo_question,
        reply_markup=ForceReply(selective=True),
    )
    return None


async def _keep(errand: Errand, picture: Picture) -> str:
    """Fetch a picture from Telegram, check and keep it; return its sha256."""
    if (picture.file_size or 0) > LARGEST:
        raise UserError(errand.words.photo_too_large)
    return await errand.app.studio.keep_image(await _fetch(errand, picture))


async def _fetch(errand: Errand, picture: Picture) -> bytes:
    try:
        file = await errand.bot.get_file(picture.file_id)
        return bytes(await file.download_as_bytearray())
    except TelegramError as error:
        log.warning("a picture could not be fetched: %s", explain(error))
        raise Unfetched from None
