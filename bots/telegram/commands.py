"""What words and commands do; the table from which Telegram's own lists are made, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from bots.options import parse_message
from bots.telegram.acts import BUTTONS, Target
from bots.telegram.addresses import message_key
from bots.telegram.errand import Errand
from bots.telegram.reading import Said
from engine.errors import UnknownOption, UserError
from storage import Job, parse_name
from storage.life import OVER

Command = Callable[[Errand, Said], Awaitable[str | None]]  # returns what is answered, if anything


async def obey(errand: Errand, said: Said) -> str | None:
    """Do what a message says; raises `UserError` where that cannot be."""
    if said.command is None:
        return await _imagine(errand, said)
    command = COMMANDS.get(said.command)
    if command:
        return await command(errand, said)
    if errand.address.private:
        raise UnknownOption(f"/{said.command}", (f"/{name}" for name in COMMANDS))
    return None  # it may be another bot's


async def press(errand: Errand, data: str, message: int) -> str | None:
    """Do what a button carries."""
    act, _, name = data.partition(":")
    if act not in BUTTONS:
        raise UserError(errand.words.unknown_message)
    number, picture = parse_name(name)
    job = await errand.app.storage.jobs.get(number)
    return await BUTTONS[act](errand, Target(job=job, picture=picture, message=message))


async def _imagine(errand: Errand, said: Said) -> str | None:
    """Draw what the words say; words that answer a result draw that with these words."""
    await errand.check_welcome()
    values = parse_message(said.text)
    studio = errand.app.studio
    if said.answers is not None:
        key = message_key(errand.address.chat, said.answers)
        if found := await errand.app.storage.jobs.by_message(key):
            job, picture = found
            if not values["prompt"]:
                del values["prompt"]
            target = Target(job=job, picture=picture, message=said.answers)
            errand.begin(await studio.rerun(target.name, values, errand.asker))
            return None
    if not values["prompt"]:
        raise UserError(errand.words.empty_prompt)
    errand.begin(await studio.imagine(values, errand.asker))
    return None


async def _help(errand: Errand, said: Said) -> str | None:
    await errand.say(errand.words.telegram_help, marked=True)
    return None


async def _privacy(errand: Errand, said: Said) -> str | None:
    await errand.say(errand.words.privacy, marked=True)
    return None


async def _cancel(errand: Errand, said: Said) -> str | None:
    """Cancel the job that is named or answered, else one's latest that is not over."""
    job = await _meant(errand, said)
    await errand.check_owner(job)
    await errand.app.studio.cancel(job.id)
    return errand.words.cancel_asked.format(job=job.id)


async def _meant(errand: Errand, said: Said) -> Job:
    jobs = errand.app.storage.jobs
    if said.text:
        number, _ = parse_name(said.text)
        return await jobs.get(number)
    if said.answers is not None:
        key = message_key(errand.address.chat, said.answers)
        if found := await jobs.by_message(key):
            return found[0]
    for job in await errand.app.storage.history.page(person=errand.asker.person):
        if job.status not in OVER:
            return job
    raise UserError(errand.words.queue_empty)


COMMANDS: Final[Mapping[str, Command]] = {
    "imagine": _imagine,
    "cancel": _cancel,
    "privacy": _privacy,
    "help": _help,
    "start": _help,
}
