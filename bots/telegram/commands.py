"""What commands do, and the lists of them that Telegram shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bots.line import look
from bots.preferences import PREFERABLE, forget_preferences, prefer, preferred
from bots.presentation import quote_names
from bots.presentation.listings import model_lines, queue_lines, settings_lines, stats_lines
from bots.privacy import privacy_text
from bots.telegram import moderating, mydata
from bots.telegram.acts import Target, show_history, show_pictures
from bots.telegram.addresses import message_key
from bots.telegram.errand import Errand
from bots.telegram.imagining import imagine
from bots.telegram.reading import Said
from bots.telegram.rules import rules
from bots.telegram.styles import style
from bots.texts.commands import COMMANDS as TEXTS
from bots.typed import only_options
from engine.errors import UnknownOption, UserError
from storage import Job, parse_name
from storage.life import OVER

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
        if command.moderators and not await errand.moderates(errand.asker.place):
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
    standings = await look(errand.app.storage, errand.app.settings)
    return "\n".join(queue_lines(standings, errand.asker.person, errand.words))


async def _models(errand: Errand, said: Said) -> str | None:
    return quote_names("\n".join(model_lines(errand.app.studio, errand.words)))


async def _stats(errand: Errand, said: Said) -> str | None:
    history = errand.app.storage.history
    own = await history.stats(person=errand.asker.person)
    here = await history.stats(place=errand.asker.place)
    return "\n".join(stats_lines(own, here, errand.words))


async def _history(errand: Errand, said: Said) -> str | None:
    await show_history(errand)
    return None


async def _show(errand: Errand, said: Said) -> str | None:
    """Show pictures again that somebody asked for, or that were asked for here."""
    job, picture = await errand.app.studio.get(said.text or str((await _latest(errand)).id))
    if job.place != errand.asker.place:
        await errand.check_owner(job)
    await show_pictures(errand, Target(job=job, picture=picture, message=0))
    return None


async def _latest(errand: Errand) -> Job:
    for job in await errand.app.storage.history.page(person=errand.asker.person):
        if job.pictures:
            return job
    raise UserError(errand.words.nothing_yet)


async def _cancel(errand: Errand, said: Said) -> str | None:
    """Cancel the job that is named or answered, else one's latest that is not over."""
    job = await _meant(errand, said)
    await errand.check_owner(job)
    await errand.app.studio.cancel(job.id, by=errand.asker.person)
    return errand.words.cancel_asked.format(job=job.id)


async def _meant(errand: Errand, said: Said) -> Job:
    jobs = errand.app.storage.jobs
    if said.text:
        return await jobs.get(parse_name(said.text)[0])
    if said.answers is not None:
        key = message_key(errand.address.chat, said.answers)
        if found := await jobs.by_message(key):
            return found[0]
    for job in await errand.app.storage.history.page(person=errand.asker.person):
        if job.status not in OVER:
            return job
    raise UserError(errand.words.nothing_to_cancel)


async def _settings(errand: Errand, said: Said) -> str | None:
    """Show what somebody saved, change it, or forget it."""
    people, person, words = errand.app.storage.people, errand.asker.person, errand.words
    if said.text == "reset":
        await forget_preferences(people, person)
        return words.settings_reset
    typed = only_options(said.text, (option.name for option in PREFERABLE), ["reset"])
    saved = await (prefer(people, person, dict(typed)) if typed else preferred(people, person))
    lines = [words.settings_saved] if typed else []
    lines += settings_lines(saved, words)
    await errand.say("\n".join(lines), marked=words.settings_how)
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
