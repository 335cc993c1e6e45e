"""What commands do, and the table of them from which Telegram's lists are made."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from telegram import (
    BotCommand,
    BotCommandScope,
    BotCommandScopeAllChatAdministrators,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllPrivateChats,
    InlineKeyboardMarkup,
    InputFile,
)
from telegram.error import Forbidden, TelegramError
from telegram.ext import ExtBot

from bots.chat.access import Audience, check_personal, find_audience
from bots.chat.actions import draw, region_link
from bots.chat.alike import find_alike
from bots.chat.commands import (
    LIST_COMMANDS,
    cancel,
    reset_settings,
    settings,
    web_link,
    web_logout,
)
from bots.chat.listings import alike_lines, favourite_lines, history_lines
from bots.chat.mydata import export_data, forget_data
from bots.chat.privacy import privacy_text
from bots.presentation.lines import name_of
from bots.presentation.text import quote_names
from bots.requests.default_options import SAVABLE
from bots.requests.typed_options import only_options
from bots.telegram import keyboards, moderation
from bots.telegram.address import message_key, number_of, place_key
from bots.telegram.errors import translate
from bots.telegram.features import Features
from bots.telegram.imagine import blend, describe, edit, imagine
from bots.telegram.messages import ParsedMessage
from bots.telegram.replies import DOCUMENT
from bots.telegram.request import Request
from bots.texts import DEFAULT, LANGUAGES
from engine.errors import UnknownOption, UserError
from storage import Job, parse_name

PAGE: Final = 10  # lines of a history
PATIENCE: Final = 60.0  # seconds that the lists wait for what the server can do
OLDER: Final = "older"  # what the button below them carries
FAVOURITES: Final = "favourites"  # … below favourites; and what is typed behind `/history`
LIKE: Final = re.compile(r"like\s+(.+)", re.IGNORECASE | re.DOTALL)  # behind `/history`, too
REGION: Final = "region-"  # begins what a link to `/start` carries, before a grant's name
LOGOUT: Final = "logout"  # what is typed behind `/web`
FORGET: Final = "forget"  # … the button that removes all data

log = logging.getLogger(__name__)

Do = Callable[[Request, ParsedMessage], Awaitable[str | None]]  # returns the answer, if any


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, the key of `Words.commands` that describes it, and who may use it.

    personal: in groups it and its answer are seen by who uses it alone, where the server can do so.
    albums: it takes all pictures of an album. in_turn: the chat's next messages wait for it.
    """

    do: Do
    text: str
    moderators: bool = False
    personal: bool = False
    albums: bool = False
    in_turn: bool = True


async def _help(request: Request, parsed: ParsedMessage) -> None:
    await request.say("", marked=request.words.telegram_help)


async def _start(request: Request, parsed: ParsedMessage) -> None:
    """Show the help, or open the picture of a button that led here from a group."""
    grant = parsed.text.removeprefix(REGION)
    if grant != parsed.text and request.address.private:
        await show_region(request, grant)
    else:
        await _help(request, parsed)


async def show_region(request: Request, grant: str) -> None:
    """Give the link that opens a picture for painting; raises `UserError` for another's grant."""
    words = request.words
    url = await region_link(request.app, grant, request.asker.person)
    await request.say(f"{words.region_how}\n{url}", keyboards.link(words.region_open, url))


async def _privacy(request: Request, parsed: ParsedMessage) -> None:
    await request.say("", marked=await privacy_text(request.app.settings, request.words))


def _listing(name: str, each: Callable[[str], str] = str) -> Do:
    async def show(request: Request, parsed: ParsedMessage) -> None:
        lines = await LIST_COMMANDS[name](request.app, request.viewer, request.words)
        await request.say_list(map(each, lines))

    return show


async def show_history(
    request: Request, *, before: int | None = None, message: int | None = None
) -> str | None:
    """List a page of one's jobs, in a new message or in place of one."""
    words, history = request.words, request.app.storage.history
    check_personal(request.viewer)
    found = await history.page(person=request.asker.person, before=before, limit=PAGE + 1)
    jobs = found[:PAGE]
    buttons = keyboards.single(words.older, OLDER, jobs[-1].id) if found[PAGE:] else None
    await _say_page(request, history_lines(jobs, words), buttons, message)
    return None


async def show_favourites(
    request: Request, *, before: str = "", message: int | None = None
) -> str | None:
    """List a page of one's favourites, those before a name, as `show_history` does."""
    app, words = request.app, request.words
    check_personal(request.viewer)
    number, index = parse_name(before) if before else (0, None)
    last = (number, index or 0) if number else None
    found = await app.storage.favourites.page(request.asker.person, before=last, limit=PAGE + 1)
    kept = found[:PAGE]
    buttons = None
    if found[PAGE:]:
        buttons = keyboards.single(words.older, FAVOURITES, kept[-1].picture.name)
    seen = [
        each for each in kept if await find_audience(app, each.job, request) is not Audience.NONE
    ]
    await _say_page(request, favourite_lines(seen, words), buttons, message)
    return None


async def _say_page(
    request: Request,
    lines: Iterable[str],
    buttons: InlineKeyboardMarkup | None,
    message: int | None,
) -> None:
    text = "\n".join(lines)
    if message is None:
        await request.say(text, buttons)
    else:
        chat = request.address.chat
        await request.bot.edit_message_text(text, chat, message, reply_markup=buttons)


async def _history(request: Request, parsed: ParsedMessage) -> str | None:
    """List one's jobs, one's favourites, or what is like words or a picture."""
    if parsed.text.lower() == FAVOURITES:
        return await show_favourites(request)
    if like := LIKE.match(parsed.text):
        found = await find_alike(request.app, request, like[1], PAGE)
        await request.say_list(alike_lines(found, request.words))
        return None
    if parsed.text:
        raise UnknownOption(parsed.text, [FAVOURITES, "like"])
    return await show_history(request)


async def _show(request: Request, parsed: ParsedMessage) -> None:
    """Show pictures again, with buttons: those named, or one's latest that were asked for here."""
    name = parsed.text or await _latest_here(request)
    target = await request.find("show", name)
    pictures = target.drawn(request.words)
    shown = await request.replies.show(request.address, target.job, pictures)
    await request.app.storage.jobs.shown(target.job.id, shown)


async def _making_of(request: Request, parsed: ParsedMessage) -> None:
    """Draw again a picture that is named or replied to, or one's latest, and show how."""
    name, key = parsed.text, None
    if parsed.reply_to:
        key = message_key(request.address.chat, parsed.reply_to)
        if not name and (found := await request.shown_by(parsed.reply_to)):
            name = name_of(*found)
    if not name:
        name = await _latest_here(request)
    await request.announce(await draw(request.app, "making_of", name, request, request.asker, key))


async def _latest_here(request: Request) -> str:
    """Return the name of the asker's latest job that was asked for here; raises `UserError`."""
    job = await latest(request, None if request.address.private else request.asker.place)
    if job is None:
        raise UserError(request.words.nothing_yet)
    return str(job.id)


async def latest(request: Request, place: str | None) -> Job | None:
    """Return the asker's latest job that is drawn, asked for in a place or in any."""
    jobs = await request.app.storage.history.page(person=request.asker.person, place=place)
    return next((job for job in jobs if job.pictures), None)


async def _cancel(request: Request, parsed: ParsedMessage) -> str | None:
    key = message_key(request.address.chat, parsed.reply_to) if parsed.reply_to else None
    return await cancel(request.app, request, request.words, parsed.text, key)


async def _settings(request: Request, parsed: ParsedMessage) -> str | None:
    """Show one's default options, change some, or remove them all."""
    app, viewer, words = request.app, request.viewer, request.words
    if parsed.text == "reset":
        return await reset_settings(app, viewer, words)
    typed = only_options(parsed.text, (option.name for option in SAVABLE), ["reset"])
    lines = [words.settings_saved] if typed else []
    lines += await settings(app, viewer, words, dict(typed) if typed else None)
    await request.say_list(lines, marked=words.settings_how)
    return None


async def _mydata(request: Request, parsed: ParsedMessage) -> None:
    """Do what the word after the command says, or list the words."""
    check_personal(request.viewer)
    words, user = request.words, number_of(request.asker.person)
    match parsed.text.lower():
        case "export":
            await export(request)
        case "delete":
            sure = keyboards.single(words.forget_confirm, FORGET, user)
            await request.say(words.forget_question, sure)
        case _:
            await request.say("", marked=words.mydata_how)


async def _web(request: Request, parsed: ParsedMessage) -> str | None:
    """Give a link to the web page, or end one's sessions there."""
    app, viewer, words = request.app, request.viewer, request.words
    word = parsed.text.lower()
    if word == LOGOUT:
        return await web_logout(app, viewer, words)
    if word:
        raise UnknownOption(parsed.text, [LOGOUT])
    url = await web_link(app, viewer, words)
    buttons = keyboards.web(url, app.settings.web_address, words, private=request.address.private)
    await request.say(words.web_link.format(url=url), buttons)
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


COMMANDS: Final[Mapping[str, Command]] = {
    "imagine": Command(do=imagine, text="imagine"),
    "edit": Command(do=edit, text="edit"),
    "describe": Command(do=describe, text="describe", in_turn=False),
    "making_of": Command(do=_making_of, text="making_of"),
    "blend": Command(do=blend, text="blend", albums=True),
    "history": Command(do=_history, text="history"),
    "show": Command(do=_show, text="show"),
    "queue": Command(do=_listing("queue"), text="queue"),
    "cancel": Command(do=_cancel, text="cancel"),
    "style": Command(do=moderation.style, text="style"),
    "settings": Command(do=_settings, text="settings", personal=True),
    # What is said of an unreadable model has `names` in it.
    "models": Command(do=_listing("models", quote_names), text="models"),
    "stats": Command(do=_listing("stats"), text="stats"),
    "help": Command(do=_help, text="help"),
    "start": Command(do=_start, text="help"),
    "privacy": Command(do=_privacy, text="privacy"),
    "mydata": Command(do=_mydata, text="mydata"),
    "web": Command(do=_web, text="web", personal=True),
    "ban": Command(do=moderation.ban, text="moderate ban", moderators=True),
    "unban": Command(do=moderation.unban, text="moderate unban", moderators=True),
    "rules": Command(do=moderation.rules, text="moderate channel", moderators=True),
    "log": Command(do=moderation.log, text="moderate log", moderators=True),
    "pause": Command(do=moderation.pause, text="moderate pause", moderators=True),
    "resume": Command(do=moderation.resume, text="moderate resume", moderators=True),
}
# Scopes, and whether moderators' commands are listed there.
SCOPES: Final[tuple[tuple[BotCommandScope, bool], ...]] = (
    (BotCommandScopeAllPrivateChats(), False),
    (BotCommandScopeAllGroupChats(), False),
    (BotCommandScopeAllChatAdministrators(), True),
)


async def publish(bot: ExtBot[str], features: Features) -> None:
    """Send the lists once it is known what the server can do; where that takes long, before, too.

    Where that fails, commands can be typed all the same.
    """
    try:
        await asyncio.wait_for(features.known.wait(), PATIENCE)
    except TimeoutError:
        await _publish(bot)
        await features.known.wait()
        if not features.ephemeral:
            return
    await _publish(bot, ephemeral=features.ephemeral)


async def _publish(bot: ExtBot[str], *, ephemeral: bool = False) -> None:
    personal = {"is_ephemeral": True} if ephemeral else {}
    try:
        for language, words in LANGUAGES.items():
            for scope, moderators in SCOPES:
                group = not isinstance(scope, BotCommandScopeAllPrivateChats)
                listed = [
                    BotCommand(
                        name,
                        words.commands[command.text].description,
                        api_kwargs=personal if group and command.personal else None,
                    )
                    for name, command in COMMANDS.items()
                    if name != "start"  # which apps offer by themselves
                    and (moderators or not command.moderators)
                ]
                # What is listed without a language is for everybody who has no list of their own.
                code = None if language == DEFAULT else language
                await bot.set_my_commands(listed, scope=scope, language_code=code)
    except TelegramError as error:
        log.warning("the commands could not be listed: %s", translate(error))
