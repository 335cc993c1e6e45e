"""The moderators' log: who did what, filtered by place and person, page by page."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from bots.admission.naming import read_person
from bots.admission.roles import Role
from bots.chat.listings import act_detail
from bots.chat.moderation import latest_acts
from bots.web.engine_room.page import TABS, present_place, show, within
from bots.web.request import Request, Route

PATH: Final = TABS["log"][0]
LISTED: Final = 50


async def log(request: Request) -> web.StreamResponse:
    """Show what was done."""
    query = request.http.query
    place = await present_place(request, query.get("place", "").strip())
    person = query.get("person", "").strip()
    last = query.get("before", "")
    acts = await latest_acts(
        request.app,
        place,
        person=read_person(person) if person else None,
        before=int(last) if last.isascii() and last.isdigit() and len(last) < 19 else None,
        limit=LISTED + 1,
    )
    shown = acts[:LISTED]
    older = ""
    if len(acts) > LISTED:
        older = within(PATH, place=place, person=person, before=str(shown[-1].id))
    return show(
        request,
        "log",
        acts=[(act, act_detail(act, request.words)) for act in shown],
        place=place,
        person=person,
        older=older,
    )


ROUTES: Final = (Route("GET", PATH, log, least=Role.MODERATOR),)
