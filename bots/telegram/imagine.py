"""A prompt and what it starts from: nothing, a result that is replied to, a picture."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from telegram import Document, ForceReply, PhotoSize
from telegram.error import TelegramError

from bots.chat import actions
from bots.chat.access import Target
from bots.chat.answers import is_talk
from bots.chat.suggestions import describe as describe_picture
from bots.chat.suggestions import numbered, read_target, suggestion_in
from bots.presentation.lines import ignored_text, name_of, reading_lines, reading_notes
from bots.presentation.text import fit_lines, utf16_length
from bots.requests.options import Flag, Values, parse_values
from bots.requests.permutations import permutations
from bots.requests.studio import BLENDED
from bots.requests.typed_options import has_options, split_message
from bots.requests.workflow_file import read_content
from bots.requests.workflows import WORKFLOW, read_choices, take_workflow, values_of
from bots.telegram import keyboards
from bots.telegram.address import TEXT, post
from bots.telegram.errors import translate
from bots.telegram.messages import ParsedMessage, Picture
from bots.telegram.request import Request
from engine.errors import UserError
from engine.formats.reading import Reading
from engine.sentences import Sentence
from storage import Job, UnknownPicture, parse_name

LARGEST: Final = 20 * 2**20  # bytes that Telegram hands to bots

RESULT: Final = Flag(name="result", example="NODE")  # of a graph in a file

log = logging.getLogger(__name__)


async def imagine(request: Request, parsed: ParsedMessage) -> None:
    """Draw a prompt, from the picture that comes with it or is replied to.

    A reply to a result draws that again, with the words that it has. Where a model edits by words,
    words alone as a reply to a picture edit it.
    """
    app = request.app
    if parsed.reply_to is not None and not parsed.answers_question:
        found = None if parsed.picture else await request.shown_by(parsed.reply_to)
        if not (_is_meant(request, parsed) or (found and _changes(request, parsed, found[0]))):
            return  # talk below a picture, or below something else that Marble said
        if found and not _names_workflow(parsed.text):
            return await _redraw(request, parsed, name_of(*found))
    replied = parsed.picture is None and not (parsed.command or parsed.answers_question)
    edited = parsed.replied_picture if replied else None
    if len(permutations(parsed.text)) > 1 and not edited:
        return await _imagine_each(request, parsed)
    prompt, typed = request.read(parsed.text, [WORKFLOW, RESULT])
    workflow, typed = take_workflow(typed)
    result = next((text for name, text in typed if name == RESULT.name), None)
    typed = [each for each in typed if each[0] != RESULT.name]
    picture = parsed.picture or parsed.replied_picture
    file = picture if isinstance(picture, Document) else None if picture else parsed.text_file
    file = None if prompt else file
    if picture or file:  # nothing is fetched for who may not ask
        await app.gate.admit(request.asker)
    if result is not None and (file is None or workflow is not None):
        raise UserError(request.words.result_how)
    if workflow is not None:
        return await _draw_workflow(request, workflow, prompt, parse_values(typed), picture)
    if file and (reading := await _reading_in(request, file, result, is_text=picture is None)):
        drawn = await _drawn_again(request, file, reading, parse_values(typed))
        if drawn or picture is None:
            return None
    if not prompt:
        nothing = not (parsed.text or parsed.command or parsed.called)
        return await _ask(request, picture, nothing=nothing)
    values = {**parse_values(typed), "prompt": prompt}
    if edited and await _edits(request, values):
        return await _edit_images(request, [edited], values)
    if picture:
        values["image"] = await app.studio.keep_image(await _fetch(request, picture))
    job = await app.studio.imagine(values, request.asker, request.saved_by)
    await request.announce(job)


async def _imagine_each(request: Request, parsed: ParsedMessage) -> None:
    """Draw a picture for each choice in braces, all from the same start image, if there is one."""
    choices, workflow = read_choices(parsed.text, partial(request.read, more=[WORKFLOW]))
    given = [values_of(each, workflow) for each in choices]
    studio, start = request.app.studio, {}
    if picture := parsed.picture or parsed.replied_picture:
        await request.app.gate.admit(request.asker)  # nothing is fetched for who may not ask
        start["image"] = await studio.keep_image(await _fetch(request, picture))
    asked = [values | start for values in given]
    await request.announce_each(await studio.imagine_each(asked, request.asker, request.saved_by))


def _is_meant(request: Request, parsed: ParsedMessage) -> bool:
    return bool(parsed.command or parsed.called or request.address.private)


def _changes(request: Request, parsed: ParsedMessage, job: Job) -> bool:
    """Return whether plain words below a picture in a group change it: those of who asked for it.

    From all others, and of thanks and emoji, only options are no talk.
    """
    own = job.person == request.asker.person
    return has_options(parsed.text) or (own and not is_talk(parsed.text))


def _names_workflow(text: str) -> bool:
    return take_workflow(split_message(text, [WORKFLOW, RESULT])[1])[0] is not None


async def _draw_workflow(
    request: Request, name: str, prompt: str, values: Values, picture: Picture | None
) -> None:
    """Draw by one of the owner's workflows, with words and a picture where they are given."""
    app = request.app
    if prompt:
        values["prompt"] = prompt
    if picture:
        values["image"] = await app.studio.keep_image(await _fetch(request, picture))
    await request.announce(await app.workflows.draw(name, values, request.asker))


async def edit(request: Request, parsed: ParsedMessage) -> None:
    """Change a picture by words: one that is replied to, comes with them, or is named first.

    Of a picture that is replied to and one that comes with the words the latter is a further
    reference, as models take them.
    """
    text = parsed.text
    pictures = [each for each in (parsed.replied_picture, parsed.picture) if each]
    found = await request.shown_by(parsed.reply_to)
    if name := name_of(*found) if found else parsed.asked_of:
        pictures = [parsed.picture] if parsed.picture else []
    if not (name or pictures):
        first, *rest = text.split(maxsplit=1) or [""]
        with suppress(UnknownPicture):  # it is no name
            parse_name(first)
            name, text = first, "".join(rest)
    prompt, typed = request.read(text)
    if not prompt or not (name or pictures):
        raise UserError(request.words.edit_how)
    values = {**parse_values(typed), "prompt": prompt}
    if name:
        target = await request.find("edit", name, parsed.reply_to)
        return await _edit(request, target, values, pictures)
    await request.app.gate.admit(request.asker)  # nothing is fetched for who may not ask
    await _edit_images(request, pictures, values)


async def describe(request: Request, parsed: ParsedMessage) -> None:
    """Say in words what a picture shows: one that is replied to, sent with it, or named."""
    name, picture = parsed.text, parsed.picture or parsed.replied_picture
    if not (name or parsed.picture) and (found := await request.shown_by(parsed.reply_to)):
        name = name_of(*found)
    if not (name or picture):
        raise UserError(request.words.describe_how)
    await request.app.gate.admit(request.asker)  # nothing is fetched for who may not ask
    spoiler = False
    if name:
        target = await request.find("describe", name, parsed.reply_to)
        view = await request.app.gate.view(request.asker.place)
        data, spoiler = await read_target(target, view)
    else:
        assert picture
        data = await _fetch(request, picture)
    suggestions = await describe_picture(request.app, request.asker, data, request.words)
    text = "\n".join([request.words.described, *numbered(suggestions)])
    await request.finish()
    await request.say(text, keyboards.suggestions(len(suggestions)), spoiler=spoiler)


async def draw_suggestion(request: Request, text: str, number: str) -> None:
    """Draw one of the descriptions that a message lists."""
    values = {"prompt": suggestion_in(text, number, request.words)}
    await request.announce(
        await request.app.studio.imagine(values, request.asker, request.saved_by)
    )


async def blend(request: Request, parsed: ParsedMessage) -> None:
    """Make one picture of several: of an album, of one that is replied to, of those named first.

    Words behind the names say what it should show.
    """
    names, words = [], parsed.text
    with suppress(UnknownPicture):  # the first that is no name
        while words:
            first, *rest = words.split(maxsplit=1)
            parse_name(first)
            names.append(first)
            words = "".join(rest)
    album = parsed.album_pictures or ((parsed.picture,) if parsed.picture else ())
    pictures = [each for each in (parsed.replied_picture, *album) if each]
    if found := await request.shown_by(parsed.reply_to):
        names.insert(0, name_of(*found))
        pictures = list(album)
    if len(names) + len(pictures) not in BLENDED:
        raise UserError(request.words.blend_how)
    prompt, typed = request.read(words)
    values = {**parse_values(typed), **({"prompt": prompt} if prompt else {})}
    targets = [await request.find("blend", name, parsed.reply_to) for name in names]
    given = [partial(_fetch, request, picture) for picture in pictures]
    asked = (values, request.asker, request.saved_by)
    await request.announce(await actions.blend(request.app, targets, given, *asked))


async def _edit(
    request: Request, target: Target, values: Values, others: Sequence[Picture] = ()
) -> None:
    """Edit one of Marble's pictures by words; others: which these are about, too."""
    studio, asker = request.app.studio, request.asker
    given = [await studio.keep_image(await _fetch(request, each)) for each in others]
    await request.announce(
        await studio.edit(target.name, values, asker, request.saved_by, others=given)
    )


async def _edit_images(request: Request, pictures: Sequence[Picture], values: Values) -> None:
    """Edit a picture of somebody's by words; further ones are what these are about."""
    studio, asker = request.app.studio, request.asker
    image, *others = [await studio.keep_image(await _fetch(request, each)) for each in pictures]
    await request.announce(
        await studio.edit_image(image, values, asker, request.saved_by, others=others)
    )


async def _edits(request: Request, values: Values, target: Target | None = None) -> bool:
    """Return whether words as a reply edit a picture: a model can, and no start image is meant.

    target: the picture, if it is one of Marble's; of several nobody knows which is meant.
    """
    if {"strength", "fit"} & values.keys() or (target and not target.alone):
        return False
    recipe = target.job.recipe if target else None
    return await request.app.studio.can_edit(values, request.asker, request.saved_by, recipe)


async def _redraw(request: Request, parsed: ParsedMessage, name: str) -> None:
    """Draw a result again, with the words and options that are typed."""
    target = await request.find("rerun", name, parsed.reply_to)
    prompt, typed = request.read(parsed.text)
    values = {**parse_values(typed), **({"prompt": prompt} if prompt else {})}
    if not values:
        raise UserError(request.words.empty_prompt)
    if prompt and await _edits(request, values, target):
        return await _edit(request, target, values)
    job = await request.app.studio.rerun(target.name, values, request.asker)
    await request.announce(job)


async def _reading_in(
    request: Request, file: Document, result: str | None, *, is_text: bool
) -> Reading | None:
    """Return what a file says of how a picture was made; Telegram removes it from photos.

    result: the node of a graph that is meant. Raises `UserError` where one is named or the file is
    a text: a picture may be meant as such.
    """
    if (file.file_size or 0) > LARGEST and not is_text:
        return None
    data = await _fetch(request, file)
    try:
        return await asyncio.to_thread(read_content, data, result=result)
    except UserError:
        if is_text or result is not None:
            raise
        return None


async def _drawn_again(request: Request, file: Document, reading: Reading, values: Values) -> bool:
    """Draw what a file says, and name what of it is ignored; return False where that cannot be.

    Then what it says is shown. A recipe that starts from stored pictures is not drawn: they may be
    another person's.
    """
    if reading.refused is not None or reading.inputs:
        await request.say(_told(request, file, reading))
        return False
    try:
        job = await request.app.studio.draw_reading(reading, values, request.asker)
    except UserError:
        await request.say(_told(request, file, reading))
        raise
    what = ignored_text(reading.ignored, request.words)
    await request.announce(job, *([request.words.not_honoured.format(what=what)] if what else []))
    return True


def _told(request: Request, file: Document, reading: Reading) -> str:
    """Return what a file says, as a message."""
    words = request.words
    title = words.recipe_title.format(name=file.file_name or "")
    values = (f"{label}: {value}" for label, value in reading_lines(reading, words))
    lines = [f"{title} ({reading.source})", *values, *reading_notes(reading, words)]
    return fit_lines(lines, TEXT, utf16_length)


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
