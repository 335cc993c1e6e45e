"""What moderators do: of a group its administrators, of Marble those in the settings."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from bots.chat.listings import act_lines
from bots.telegram.addresses import NAME, message_key
from bots.telegram.errand import Errand
from bots.telegram.reading import Said
from engine.errors import UserError
from storage.records import EVERYWHERE

SHOWN: Final = 15  # acts
REASON: Final = 300  # characters
_WHO: Final = re.compile(rf"({NAME}:-?\d{{1,20}})(?:\s+|$)")
_HOURS: Final = re.compile(r"(\d{1,4})(?:\s+|$)")


async def ban(errand: Errand, said: Said) -> str | None:
    """Let whoever is meant ask for nothing here: `/ban 24 floods the queue` for a day."""
    who, rest = await _whom(errand, said)
    hours = _HOURS.match(rest)
    until = datetime.now(UTC) + timedelta(hours=int(hours[1])) if hours else None
    reason = " ".join(rest[hours.end() if hours else 0 :].split())[:REASON] or "–"
    await errand.app.storage.moderation.ban(
        who, by=errand.asker.person, reason=reason, place=_place(errand), until=until
    )
    return errand.words.ban_done.format(who=who, reason=reason)


async def unban(errand: Errand, said: Said) -> str | None:
    """Lift a ban."""
    who, _ = await _whom(errand, said)
    lifted = await errand.app.storage.moderation.lift_ban(
        who, by=errand.asker.person, place=_place(errand)
    )
    return (errand.words.ban_lifted if lifted else errand.words.no_ban).format(who=who)


async def log(errand: Errand, said: Said) -> str | None:
    """Tell what moderators did here; in private, everywhere."""
    place = _place(errand)
    within = None if place == EVERYWHERE else place
    acts = await errand.app.storage.moderation.acts(within=within, limit=SHOWN)
    await errand.say_list(act_lines(acts, errand.words))
    return None


async def pause(errand: Errand, said: Said) -> str | None:
    """Let nothing more start, anywhere."""
    await errand.app.pausing.pause(said.text, errand.asker.person)
    return errand.words.queue_paused.format(reason=said.text)


async def resume(errand: Errand, said: Said) -> str | None:
    """Let jobs start again."""
    found = await errand.app.pausing.resume(errand.asker.person)
    return errand.words.queue_resumed if found else errand.words.queue_not_paused


async def _whom(errand: Errand, said: Said) -> tuple[str, str]:
    """Return who is meant, by name or by what is answered, and the other words.

    Below a picture it is whoever asked for it.
    """
    if named := _WHO.match(said.text):
        return named[1], said.text[named.end() :]
    if said.answers is not None:
        key = message_key(errand.address.chat, said.answers)
        if found := await errand.app.storage.jobs.by_message(key):
            return found[0].person, said.text
    elif said.about is not None:
        return said.about, said.text
    raise UserError(errand.words.ban_whom)


def _place(errand: Errand) -> str:
    """Return what a moderator speaks for: the whole group, or in private everywhere."""
    return EVERYWHERE if errand.address.private else errand.group
