"""Bans: who may not ask for pictures, where, and until when."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from bots.admission.naming import read_person
from bots.admission.roles import Role
from bots.chat import moderation
from bots.web.engine_room.page import TABS, present_place, read_form, show
from bots.web.errors import NO_FAULT, Fault, fault_of
from bots.web.request import Request, Route, see_other
from bots.worker.pausing import check_reason
from engine.errors import OptionError, UserError
from engine.recipe.limits import read_whole
from engine.sentences import Sentence
from storage.records import EVERYWHERE

PATH: Final = TABS["bans"][0]
LISTED: Final = 200


async def bans(request: Request) -> web.StreamResponse:
    """Show the bans that hold, and a form for another."""
    return await _show(request, {})


async def _show(
    request: Request, form: dict[str, str], fault: Fault = NO_FAULT
) -> web.StreamResponse:
    """Return the page; form: what somebody sent, of which a fault is said."""
    found = await request.app.storage.moderation.bans(LISTED + 1)
    return show(
        request,
        "bans",
        status=fault.status,
        headers=fault.headers,
        sentence=fault.sentence,
        form={"person": "", "place": EVERYWHERE, "reason": "", "hours": "", **form},
        bans=found[:LISTED],
        more=len(found) > LISTED,
        most=moderation.HOURS,
    )


async def ban(request: Request) -> web.StreamResponse:
    """Ban a person from a place and all that lies in it; what is wrong is said above the form."""
    form = await read_form(request)
    try:
        await moderation.ban(
            request.app,
            read_person(form.get("person", "")),
            by=request.person,
            place=await present_place(request, form.get("place", "")),
            reason=check_reason(form.get("reason", "")),
            hours=_hours(form.get("hours", "")),
        )
    except UserError as error:
        return await _show(request, form, fault_of(error, request.words, request.web_words))
    return see_other(PATH)


async def lift(request: Request) -> web.StreamResponse:
    """Lift a ban; raises `UserError` where there is none."""
    form = await read_form(request)
    person = read_person(form.get("person", ""))
    place = await present_place(request, form.get("place", ""))
    if not await moderation.lift_ban(request.app, person, by=request.person, place=place):
        raise UserError(request.words.no_ban.format(who=person))
    return see_other(PATH)


def _hours(text: str) -> int | None:
    if not text:
        return None
    if (hours := read_whole(text, 1, moderation.HOURS)) is None:
        raise OptionError("hours", text, Sentence("whole_between", low=1, high=moderation.HOURS))
    return hours


ROUTES: Final = (
    Route("GET", PATH, bans, least=Role.MODERATOR),
    Route("POST", PATH, ban, least=Role.MODERATOR),
    Route("POST", f"{PATH}/lift", lift, least=Role.MODERATOR),
)
