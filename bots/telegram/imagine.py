"""A prompt and what it starts from: nothing, a result that is replied to, a picture."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from telegram import Document, ForceReply, PhotoSize
from telegram.error import TelegramError

from bots.presentation.lines import ignored_text, name_of
from bots.requests.options import Values, parse_values
from bots.requests.typed_options import split_message
from bots.telegram.address import message_key, post
from bots.telegram.errors import translate
from bots.telegram.messages import ParsedMessage, Picture
from bots.telegram.request import Request
from engine.errors import UserError
from engine.formats.metadata import Reading, read_recipe
from engine.sentences import Sentence

LARGEST: Final = 20 * 2**20  # bytes that Telegram hands to bots

log = logging.getLogger(__name__)


async def imagine(request: Request, parsed: ParsedMessage) -> None:
    """Draw a prompt, from the picture that comes with it or is replied to.

    A reply to a result draws that again, with the words that it has.
    """
    app, viewer = request.app, request.viewer
    if parsed.reply_to is not None and not parsed.answers_question:
        key = message_key(request.address.chat, parsed.reply_to)
        if not parsed.picture and (found := await app.storage.jobs.by_message(key)):
            return await _redraw(request, parsed, name_of(*found))
        if not (parsed.command or request.address.private):
            return  # talk below something else that Marble said
    prompt, typed = split_message(parsed.text)
    picture = parsed.picture or parsed.replied_picture
    if picture:  # nothing is fetched for who may not ask
        await app.gate.admit(request.asker)
    file = picture if isinstance(picture, Document) and not prompt else None
    if file and (reading := await _recipe_in(request, file)):
        return await _remake(request, reading, parse_values(typed))
    if not prompt:
        return await _ask(request, picture, nothing=not parsed.text and not parsed.command)
    values = {**parse_values(typed), "prompt": prompt}
    if picture:
        values["image"] = await app.studio.keep_image(await _fetch(request, picture))
    # Where several people write in a group's name, nobody saves options.
    saved_by = viewer.person if viewer.is_person else None
    job = await app.studio.imagine(values, request.asker, saved_by)
    await request.announce(job)


async def _redraw(request: Request, parsed: ParsedMessage, name: str) -> None:
    """Draw a result again, with the words and options that are typed."""
    target = await request.find("rerun", name, parsed.reply_to)
    prompt, typed = split_message(parsed.text)
    values = {**parse_values(typed), **({"prompt": prompt} if prompt else {})}
    if not values:
        raise UserError(request.words.empty_prompt)
    job = await request.app.studio.rerun(target.name, values, request.asker)
    await request.announce(job)


async def _recipe_in(request: Request, file: Document) -> Reading | None:
    """Return the recipe in a picture file, if there is one; Telegram removes it from photos.

    A recipe that starts from stored pictures is left alone: they may be another person's.
    """
    if (file.file_size or 0) > LARGEST:
        return None
    data = await _fetch(request, file)
    try:
        reading = await asyncio.to_thread(read_recipe, data)
    except UserError:
        return None
    return None if reading.recipe.inputs else reading


async def _remake(request: Request, reading: Reading, values: Values) -> None:
    """Draw a file's recipe, and name the parts of it that are ignored."""
    job = await request.app.studio.remake(reading.recipe, values, request.asker)
    what = ignored_text(reading.ignored, request.words)
    await request.announce(job, *([request.words.not_honoured.format(what=what)] if what else []))


async def _ask(request: Request, picture: Picture | None, *, nothing: bool) -> None:
    """Ask for the prompt.

    A picture is part of the question, so that the reply brings it back and nothing has to be
    remembered; Telegram has it already and is only named it.
    """
    words, answer = request.words, ForceReply(selective=True)
    if picture is None and nothing:  # a sticker, a voice message
        raise UserError(words.not_a_picture)
    if picture is None:
        await request.say(words.empty_prompt, answer)
        return
    send = request.bot.send_photo if isinstance(picture, PhotoSize) else request.bot.send_document
    file, question = picture.file_id, words.photo_question
    await post(send, request.address, file, caption=question, reply_markup=answer)


async def _fetch(request: Request, picture: Picture) -> bytes:
    """Download a picture from Telegram; raises `UserError` for one that is too large."""
    if (picture.file_size or 0) > LARGEST:
        raise UserError(request.words.photo_too_large)
    try:
        file = await request.bot.get_file(picture.file_id)
        return bytes(await file.download_as_bytearray())
    except TelegramError as error:
        log.warning("a picture could not be downloaded: %s", translate(error))
        raise UserError(Sentence("unfetched")) from None
