"""What buttons and reactions do to a picture, under the names that Telegram's buttons carry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from telegram import ForceReply, InputFile, MessageEntity, User
from telegram.constants import ReactionEmoji
from telegram.error import BadRequest

from bots.chat.access import Target
from bots.chat.actions import (
    ACTIONS,
    VARIATION,
    cancel_unfinished,
    draw,
    grant_region,
    mark_favourite,
)
from bots.chat.answers import (
    NAMES,
    is_talk,
    numbered_in,
    plain_name,
    read_answer,
    read_button,
    unknown_command,
)
from bots.chat.commands import cancel
from bots.presentation.lines import name_of, recipe_lines
from bots.presentation.text import fit_lines, utf16_length
from bots.requests.derive import the_picture
from bots.telegram import keyboards
from bots.telegram.address import (
    TEXT,
    Address,
    at_or_near,
    key_of,
    message_key,
    number_of,
    post,
)
from bots.telegram.commands import (
    COMMANDS,
    FAVOURITES,
    FORGET,
    OLDER,
    REGION,
    forget,
    latest,
    show_favourites,
    show_history,
    show_region,
)
from bots.telegram.imagine import draw_suggestion
from bots.telegram.keyboards import SUGGESTION
from bots.telegram.messages import ParsedMessage
from bots.telegram.request import Request
from engine.errors import SettingError, UserError, shorten
from engine.sentences import Sentence
from storage import Picture, parse_name

# What buttons carry, and the actions that are meant.
BUTTONS: Final[Mapping[str, str]] = {
    action.telegram: name for name, action in ACTIONS.items() if action.telegram
}
# What reactions may be set to do.
REACTIONS: Final[Mapping[str, str]] = {
    word: name for word, name in BUTTONS.items() if not ACTIONS[name].asks
}


async def press(request: Request, data: str, message: int, text: str = "") -> str | None:
    """Run a button's action; return the text shown above the chat. text: of the message."""
    button, _, name = data.partition(":")
    if button == SUGGESTION:
        await draw_suggestion(request, text, name)
        return None
    if button == FORGET:
        return await forget(request)
    if button == OLDER:
        return await show_history(request, before=parse_name(name)[0], message=message)
    if button == FAVOURITES:
        return await show_favourites(request, before=name, message=message)
    if button not in BUTTONS:
        raise UserError(request.words.unknown_message)
    return await perform(request, BUTTONS[button], name, message)


async def named_action(
    request: Request, parsed: ParsedMessage
) -> Callable[[], Awaitable[str | None]] | None:
    """Return what does the action that a message names instead of words for a picture, if it does.

    An answer to a picture names it, as words or a command; `U1` alone means the latest grid. Raises
    `UserError` for a name below somebody's own picture, which has no buttons, and for a button that
    Telegram has not.
    """
    if parsed.command in COMMANDS:
        return None
    text = f"{parsed.command or ''} {parsed.text}".strip()
    meant = request.address.private or parsed.called
    if not (meant or parsed.command) and is_talk(text):
        return None
    of_marble = parsed.reply_to is not None and not parsed.answers_question
    if parsed.picture or (parsed.replied_picture and not of_marble):
        if meant and read_answer(text):
            raise UserError(Sentence("name_of_button", answer=shorten(text)))
        return None
    if parsed.reply_to and not parsed.answers_question and (answer := read_answer(text)):
        action, number = answer
        found = await request.shown_by(parsed.reply_to)
        if found is None:
            return None
        if action not in BUTTONS.values():
            raise UserError(Sentence("answer_instead", name=shorten(text)))
        name = numbered_in(found[0], number) if number else name_of(*found)
        return partial(perform, request, action, name, parsed.reply_to)
    alone = meant and parsed.replied_person is None
    if alone and (button := read_button(text)):
        action, number = button
        if job := await latest(request, request.asker.place):
            return partial(_draw, request, action, numbered_in(job, number))
    return None


def no_command(request: Request, name: str) -> UserError:
    """Return what to say of a command that there is not: which button or command does it."""
    called = plain_name(name)
    if action := NAMES.get(called):
        label = ACTIONS[action].label_in(request.words) or ACTIONS[action].emoji
        facts = {"name": shorten(f"/{name}"), "button": shorten(label), "answer": shorten(called)}
        if ACTIONS[action].telegram:
            return UserError(Sentence("button_instead", **facts))
        return UserError(Sentence("answer_instead", name=facts["name"]))
    known = [f"/{name}" for name, command in COMMANDS.items() if not command.moderators]
    return unknown_command(f"/{name}", known)


def is_question(data: str) -> bool:
    """Return whether a button asks for words, which a reply to its question brings."""
    return BUTTONS.get(data.partition(":")[0]) == "edit"


async def perform(request: Request, action: str, name: str, message: int) -> str | None:
    """Do something to a picture that a button names or a message shows."""
    key = message_key(request.address.chat, message)
    if action == "cancel":
        return await cancel(request.app, request, request.words, name, key)
    if ACTIONS[action].draw:
        await _draw(request, action, name, key)
        return None
    target = await request.find(action, name, message)
    # What a button carries comes from an app, and an app can be changed.
    if action in ("delete", "show") and not target.shown:
        raise UserError(request.words.unknown_message)
    return await OTHERS[action](request, target, message)


async def _draw(request: Request, action: str, name: str, key: str | None = None) -> None:
    job = await draw(request.app, action, name, request, request.asker, key)
    await request.announce(job)


async def stop(request: Request, name: str) -> None:
    """Cancel a job whose draft was stopped; its reply says so."""
    target = await request.find("cancel", name)
    await cancel_unfinished(request.app, target, by=request.asker.person)


async def ask_edit(request: Request, target: Target, message: int) -> None:
    """Ask what to change in one picture; the answer is taken as `/edit` below it."""
    picture = the_picture(target.job, target.picture)
    question = request.words.edit_question.format(name=target.name)
    # The question answers Marble's own message: only a mention says whose reply it opens.
    person = User(number_of(request.asker.person), first_name="", is_bot=False)
    length = utf16_length(question)
    await request.finish()
    mention = MessageEntity(MessageEntity.TEXT_MENTION, 0, length, user=person)
    asked = await post(
        request.bot.send_message,
        request.address,
        question,
        entities=[mention],
        reply_markup=ForceReply(selective=True),
    )
    await request.app.storage.jobs.shown(target.job.id, {key_of(asked): picture.index})


async def region(request: Request, target: Target, message: int) -> None:
    """Give a link to the page on which a part of it is painted over.

    In a group it leads to the private chat, where the link is for who asked alone.
    """
    app, words = request.app, request.words
    key = message_key(request.address.chat, message)
    grant = await grant_region(app, target, request.asker, key, words)
    if request.address.private:
        await show_region(request, grant)
        return
    url = f"{request.bot.link}?start={REGION}{grant}"
    await request.tell(words.region_private, buttons=keyboards.link(words.region_open, url))


async def original(request: Request, target: Target, message: int) -> None:
    """Send the files as they are: every pixel, and the recipe inside."""
    for picture in target.drawn(request.words):

        async def send(near: Address, picture: Picture = picture) -> None:
            view = await request.app.gate.view(near.place)
            # Telegram has no spoilers for files.
            png = await asyncio.to_thread(view.read_openly, picture)
            file = InputFile(png, filename=f"marble-{picture.name}.png")
            await request.bot.send_document(near.chat, file, **near.spot)

        await at_or_near(send, request.address)


async def recipe(request: Request, target: Target, message: int) -> None:
    """List what it was made from."""
    matches = await request.app.storage.vectors.matches(target.job.id)
    lines = recipe_lines(target.job, request.words, target.picture, matches)
    title = request.words.recipe_title.format(name=target.name)
    text = fit_lines([title, *(f"{label}: {value}" for label, value in lines)], TEXT, utf16_length)
    await request.say(text)


async def delete(request: Request, target: Target, message: int) -> str:
    """Delete the message that shows it, and cancel the job if it is unfinished."""
    await cancel_unfinished(request.app, target, by=request.asker.person)
    try:
        await request.bot.delete_message(request.address.chat, message)
    except BadRequest:  # older than Telegram lets bots delete, or gone
        await request.bot.edit_message_reply_markup(request.address.chat, message)
    await request.app.storage.moderation.record_removal(target.job, by=request.asker.person)
    return request.words.deleted


async def favourite(request: Request, target: Target, message: int) -> str:
    """Add it to the person's favourites; a button pressed again removes it."""
    toggle = not request.by_reaction
    return await mark_favourite(request.app, target, request.asker, request.words, toggle=toggle)


async def show(request: Request, target: Target, message: int) -> None:
    """Let the message show one picture of its grid with that one's buttons, or all again."""
    pictures = target.drawn(request.words)
    await request.replies.turn(request.address, message, target.job, pictures)


OTHERS: Final[Mapping[str, Callable[[Request, Target, int], Awaitable[str | None]]]] = {
    "edit": ask_edit,
    "region": region,
    "original": original,
    "recipe": recipe,
    "favourite": favourite,
    "delete": delete,
    "show": show,
}


def read_reactions(settings: Mapping[str, str]) -> Mapping[str, str]:
    """Return the actions by their emoji; raises `SettingError` for an unknown one of either."""
    key = "MARBLE_TELEGRAM_REACTIONS"
    known = {emoji.value.replace(VARIATION, "") for emoji in ReactionEmoji}
    found = {}
    for emoji, name in settings.items():
        if emoji.replace(VARIATION, "") not in known:
            raise SettingError(key, emoji, f"any of {' '.join(sorted(known))}")
        if name not in REACTIONS:
            raise SettingError(key, name, f"one of {', '.join(REACTIONS)}")
        found[emoji.replace(VARIATION, "")] = REACTIONS[name]
    return found
