"""What commands do, and the table of them from which Telegram's lists are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bots.chat.access import check_personal
from bots.chat.commands import LIST_COMMANDS, cancel, models, reset_settings, settings
from bots.chat.listings import history_lines
from bots.chat.privacy import privacy_text
from bots.presentation.text import quote_names
from bots.requests.default_options import SAVABLE
from bots.requests.typed_options import only_options
from bots.telegram import keyboards, moderation
from bots.telegram.address import message_key
from bots.telegram.imagine import imagine
from bots.telegram.messages import ParsedMessage
from bots.telegram.mydata import mydata
from bots.telegram.request import Request
from engine.errors import UnknownOption, UserError

PAGE: Final = 10  # lines of a history
OLDER: Final = "older"  # what the button below them carries

Do = Callable[[Request, ParsedMessage], Awaitable[str | None]]  # returns the answer, if any


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, the key of `Words.commands` that describes it, and who may use it."""

    do: Do
    text: str
    moderators: bool = False


async def run_command(request: Request, parsed: ParsedMessage) -> str | None:
    """Run a message's command and return the answer; raises `UserError` if it fails."""
    if parsed.command is None:
        return await imagine(request, parsed)
    if command := COMMANDS.get(parsed.command):
        if command.moderators and not await request.moderates():
            raise UserError(request.words.moderators_only)
        return await command.do(request, parsed)
    if request.address.private:
        raise UnknownOption(f"/{parsed.command}", (f"/{name}" for name in COMMANDS))
    return None  # it may be another bot's


async def _help(request: Request, parsed: ParsedMessage) -> str | None:
    await request.say("", marked=request.words.telegram_help)
    return None


async def _privacy(request: Request, parsed: ParsedMessage) -> str | None:
    await request.say("", marked=await privacy_text(request.app.settings, request.words))
    return None


def _listing(name: str) -> Do:
    async def show(request: Request, parsed: ParsedMessage) -> str | None:
        await request.say_list(
            await LIST_COMMANDS[name](request.app, request.viewer, request.words)
        )
        return None

    return show


async def _models(request: Request, parsed: ParsedMessage) -> str | None:
    lines = await models(request.app, request.viewer, request.words)
    await request.say_list(map(quote_names, lines))  # an unreadable model's sentence has some
    return None


async def show_history(
    request: Request, *, before: int | None = None, message: int | None = None
) -> str | None:
    """List a page of one's jobs, in a new message or in place of one."""
    words, history = request.words, request.app.storage.history
    check_personal(request.viewer)
    jobs = await history.page(person=request.asker.person, before=before, limit=PAGE)
    text = "\n".join(history_lines(jobs, words))
    buttons = keyboards.single(words.older, OLDER, jobs[-1].id) if len(jobs) == PAGE else None
    if message is None:
        await request.say(text, buttons)
    else:
        chat = request.address.chat
        await request.bot.edit_message_text(text, chat, message, reply_markup=buttons)
    return None


async def _show(request: Request, parsed: ParsedMessage) -> str | None:
    """Show pictures again, with buttons: those named, or one's latest that were asked for here."""
    target = await request.find("show", parsed.text or await _latest(request))
    pictures = target.drawn(request.words)
    shown = await request.replies.show(request.address, target.job, pictures)
    await request.app.storage.jobs.shown(target.job.id, shown)
    return None


async def _latest(request: Request) -> str:
    place = None if request.address.private else request.asker.place
    for job in await request.app.storage.history.page(person=request.asker.person, place=place):
        if job.pictures:
            return str(job.id)
    raise UserError(request.words.nothing_yet)


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


COMMANDS: Final[Mapping[str, Command]] = {
    "imagine": Command(do=imagine, text="imagine"),
    "history": Command(do=lambda request, parsed: show_history(request), text="history"),
    "show": Command(do=_show, text="show"),
    "queue": Command(do=_listing("queue"), text="queue"),
    "cancel": Command(do=_cancel, text="cancel"),
    "style": Command(do=moderation.style, text="style"),
    "settings": Command(do=_settings, text="settings"),
    "models": Command(do=_models, text="models"),
    "stats": Command(do=_listing("stats"), text="stats"),
    "help": Command(do=_help, text="help"),
    "start": Command(do=_help, text="help"),
    "privacy": Command(do=_privacy, text="privacy"),
    "mydata": Command(do=mydata, text="mydata"),
    "ban": Command(do=moderation.ban, text="moderate ban", moderators=True),
    "unban": Command(do=moderation.unban, text="moderate unban", moderators=True),
    "rules": Command(do=moderation.rules, text="moderate channel", moderators=True),
    "log": Command(do=moderation.log, text="moderate log", moderators=True),
    "pause": Command(do=moderation.pause, text="moderate pause", moderators=True),
    "resume": Command(do=moderation.resume, text="moderate resume", moderators=True),
}
HIDDEN: Final = frozenset({"start"})  # what apps offer by themselves
