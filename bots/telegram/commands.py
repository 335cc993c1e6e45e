"""What commands do, and the lists of them that Telegram shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bots.chat.access import Purpose, check_personal
from bots.chat.listings import model_lines, queue_lines, settings_lines, stats_lines
from bots.chat.privacy import privacy_text
from bots.presentation import name_of, quote_names
from bots.requests.preferences import PREFERABLE, forget_preferences, prefer, preferred
from bots.requests.typed_options import only_options
from bots.telegram import moderating, mydata
from bots.telegram.acts import Target, show_history, show_pictures
from bots.telegram.addresses import message_key
from bots.telegram.errand import Errand
from bots.telegram.imagining import imagine
from bots.telegram.reading import Said
from bots.telegram.rules import rules
from bots.telegram.styles import style
from bots.texts.commands import COMMANDS as TEXTS
from bots.worker.queue_view import load_queue
from engine.errors import UnknownOption, UserError
from storage import Job, parse_name
from storage.states import OVER

Do = Callable[[Errand, Said], Awaitable[str | None]]  # returns what is answered, if anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Say what a command does, and by which key of the texts it is described, to whom."""

    do: Do
    text: str
    moderators: bool = False

    def described(self, language: str) -> str:
        """Return the line that Telegram shows beside the command."""
        return TEXTS[self.text].description[language]


async def obey(errand: Errand, said: Said) -> str | None:
    """Do what a message says; raises `UserError` where that cannot be."""
    if said.command is None:
        return await imagine(errand, said)
    if command := COMMANDS.get(said.command):
        if command.moderators and not await errand.moderates():
            raise UserError(errand.words.moderators_only)
        return await command.do(errand, said)
    if errand.address.private:
        raise UnknownOption(f"/{said.command}", (f"/{name}" for name in COMMANDS))
    return None  # it may be another bot's


async def _help(errand: Errand, said: Said) -> str | None:
    await errand.say("", marked=errand.words.telegram_help)
    return None


async def _privacy(errand: Errand, said: Said) -> str | None:
    await errand.say("", marked=await privacy_text(errand.app.settings, errand.words))
    return None


async def _queue(errand: Errand, said: Said) -> str | None:
    """List the queue; words that somebody asked for elsewhere are not told here."""
    entries = await load_queue(errand.app.storage, errand.app.settings)
    place = None if errand.address.private else errand.asker.place
    await errand.say_list(queue_lines(entries, errand.asker.person, errand.words, place))
    return None


async def _models(errand: Errand, said: Said) -> str | None:
    await errand.say_list(map(quote_names, model_lines(errand.app.studio, errand.words)))
    return None


async def _stats(errand: Errand, said: Said) -> str | None:
    """Count what was drawn here; what somebody drew themselves is told in private."""
    history = errand.app.storage.history
    person = errand.asker.person
    own = await history.stats(person=person) if errand.address.private else None
    here = await history.stats(place=errand.asker.place)
    return "\n".join(stats_lines(own, here, errand.words))


async def _history(errand: Errand, said: Said) -> str | None:
    check_personal(errand.viewer)
    await show_history(errand)
    return None


async def _show(errand: Errand, said: Said) -> str | None:
    """Show pictures again: those that are named, or the latest that somebody asked for here."""
    name = said.text or str((await _latest(errand)).id)
    found = await errand.find(name, Purpose.POST)
    await show_pictures(errand, Target.of(found))
    return None


async def _latest(errand: Errand) -> Job:
    place = None if errand.address.private else errand.asker.place
    for job in await errand.app.storage.history.page(person=errand.asker.person, place=place):
        if job.pictures:
            return job
    raise UserError(errand.words.nothing_yet)


async def _cancel(errand: Errand, said: Said) -> str | None:
    """Cancel the job that is named or answered, else one's latest that is not over."""
    job = (await errand.find(await _meant(errand, said), Purpose.END, said.answers)).job
    await errand.app.studio.cancel(job.id, by=errand.asker.person)
    return errand.words.cancel_asked.format(job=job.id)


async def _meant(errand: Errand, said: Said) -> str:
    """Return the name of the job that is to be cancelled; raises `UserError` for none."""
    if said.text:
        return str(parse_name(said.text)[0])
    if said.answers is not None:
        key = message_key(errand.address.chat, said.answers)
        if found := await errand.app.storage.jobs.by_message(key):
            return name_of(found[0])
    viewer = errand.viewer
    place = None if viewer.is_person else viewer.place
    for job in await errand.app.storage.history.page(person=viewer.person, place=place):
        if job.status not in OVER:
            return name_of(job)
    raise UserError(errand.words.nothing_to_cancel)


async def _settings(errand: Errand, said: Said) -> str | None:
    """Show what somebody saved, change it, or forget it."""
    check_personal(errand.viewer)
    people, person, words = errand.app.storage.people, errand.asker.person, errand.words
    if said.text == "reset":
        await forget_preferences(people, person)
        return words.settings_reset
    typed = only_options(said.text, (option.name for option in PREFERABLE), ["reset"])
    saved = await (prefer(people, person, dict(typed)) if typed else preferred(people, person))
    lines = [words.settings_saved] if typed else []
    lines += settings_lines(saved, words)
    await errand.say_list(lines, marked=words.settings_how)
    return None


COMMANDS: Final[Mapping[str, Command]] = {
    "imagine": Command(do=imagine, text="imagine"),
    "history": Command(do=_history, text="history"),
    "show": Command(do=_show, text="show"),
    "queue": Command(do=_queue, text="queue"),
    "cancel": Command(do=_cancel, text="cancel"),
    "style": Command(do=style, text="style"),
    "settings": Command(do=_settings, text="settings"),
    "models": Command(do=_models, text="models"),
    "stats": Command(do=_stats, text="stats"),
    "help": Command(do=_help, text="help"),
    "start": Command(do=_help, text="help"),
    "privacy": Command(do=_privacy, text="privacy"),
    "mydata": Command(do=mydata.mydata, text="mydata"),
    "ban": Command(do=moderating.ban, text="moderate ban", moderators=True),
    "unban": Command(do=moderating.unban, text="moderate unban", moderators=True),
    "rules": Command(do=rules, text="moderate channel", moderators=True),
    "log": Command(do=moderating.log, text="moderate log", moderators=True),
    "pause": Command(do=moderating.pause, text="moderate pause", moderators=True),
    "resume": Command(do=moderating.resume, text="moderate resume", moderators=True),
}
HIDDEN: Final = frozenset({"start"})  # what apps offer by themselves
