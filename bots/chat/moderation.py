"""What moderators do on every platform: rules, bans, their log. Adapters check who moderates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from bots.admission.in_force import nowhere
from bots.admission.roles import Role
from bots.admission.rulebook import complete_names
from bots.chat.listings import rule_lines
from bots.service.app import App
from bots.texts import Words
from storage.records import EVERYWHERE, Act, parse_name

NOTHING: Final = ("none", "-")  # what removes a rule
ACTS: Final = 15  # shown of the log
HOURS: Final = 24 * 365  # of a ban that has an end, at most


async def ban(app: App, who: str, *, by: str, place: str, reason: str, hours: int | None) -> None:
    """Ban a person from a place, for some hours or without end."""
    until = datetime.now(UTC) + timedelta(hours=hours) if hours else None
    await app.storage.moderation.ban(who, by=by, reason=reason, place=place, until=until)


async def lift_ban(app: App, who: str, *, by: str, place: str) -> bool:
    """Lift a ban; return whether there was one."""
    return await app.storage.moderation.lift_ban(who, by=by, place=place)


async def put_ahead(app: App, name: str, *, by: str) -> None:
    """Let a waiting job be drawn next, whoever asked for it.

    name: the job's, as typed. Raises `UserError` for who is no owner, and for what does not wait.
    """
    app.gate.roles.require(Role.OWNER, by)
    job, _ = parse_name(name)
    await app.worker.put_ahead(job, by=by)


async def latest_acts(
    app: App,
    place: str,
    *,
    person: str | None = None,
    before: int | None = None,
    limit: int = ACTS,
) -> Sequence[Act]:
    """Return what moderators did in a place and all that lies in it, newest first.

    person: who did it, or to whom. before: the last one's id, to go on from there.
    """
    within = None if place == EVERYWHERE else place
    acts = app.storage.moderation.acts
    return await acts(within=within, person=person, before=before, limit=limit)


async def set_rules(
    app: App, place: str, typed: Mapping[str, str], is_open: bool | None = None, *, by: str
) -> None:
    """Change the owner's rules of a place as they were typed: all of them, or none.

    typed: texts by the names of `rulebook.RULES`, an empty one removes a rule; nothing is changed
    where there are none. is_open: as in `change_rules`. Raises `UserError` for who is no owner, and
    for a rule that cannot be read or names what is not there.
    """
    app.gate.roles.require(Role.OWNER, by)
    changes, _ = await asyncio.to_thread(complete_names, app.settings.models_dir, typed)
    if changes or is_open is not None:
        await app.gate.change(place, changes, by, is_open=is_open)


async def change_rules(
    app: App, place: str, typed: Mapping[str, str], is_open: bool | None, *, by: str
) -> None:
    """Change the rules of a place as its moderators typed them: all of them, or none.

    typed: texts by the names of `rulebook.MODERATED`; nothing is changed where there are none.
    is_open: whether pictures may be asked for; None leaves that as it is. Raises `UserError` for
    a rule that cannot be read or names what is not there.
    """
    changes = {
        name: "" if text.strip().lower() in NOTHING else text for name, text in typed.items()
    }
    changes, _ = await asyncio.to_thread(complete_names, app.settings.models_dir, changes)
    if changes or is_open is not None:
        await app.gate.narrow(place, changes, by, is_open=is_open)


async def list_rules(
    app: App,
    place: str,
    words: Words,
    *,
    here: str,
    called: Mapping[str, str],
    adult: Callable[[str], bool] = nowhere,
) -> list[str]:
    """List the rules in force in a place, the title first.

    here: what people call the place. called: what they call it and those around it instead, by
    id. adult: as in `Gate.in_force`.
    """
    held = await app.gate.in_force(place, adult)
    title = words.rules_title.format(where=called.get(place, here))
    return [title, *rule_lines(held, words, called)]
