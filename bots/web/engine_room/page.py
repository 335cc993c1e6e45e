"""What the pages of the engine room share: their tabs, the part that a script refreshes, fields."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from bots.admission.naming import read_place
from bots.admission.roles import Role
from bots.admission.rules import time_text
from bots.presentation.lines import duration, size_of
from bots.texts import EngineRoom, engine_room_of, say
from bots.web.request import Request
from engine.sentences import fill
from storage.records import EVERYWHERE

PART: Final = "part"  # of a query: what changes on a page is asked for alone
# By the names of tabs: the path, and who sees it.
TABS: Final = {
    "queue": ("/engine", Role.MODERATOR),
    "figures": ("/engine/figures", Role.OWNER),
    "devices": ("/engine/devices", Role.OWNER),
    "models": ("/engine/models", Role.OWNER),
    "rules": ("/engine/rules", Role.MODERATOR),
    "bans": ("/engine/bans", Role.MODERATOR),
    "log": ("/engine/log", Role.MODERATOR),
    "upkeep": ("/engine/upkeep", Role.OWNER),
}


def room_of(request: Request) -> EngineRoom:
    """Return the engine room's messages in the reader's language."""
    return engine_room_of(request.language)


def show(request: Request, tab: str, **facts: Any) -> web.Response:
    """Return the page of a tab, or the part of it that was asked for."""
    room, words = room_of(request), request.words
    tabs = [
        (name, path, room.tabs[name])
        for name, (path, least) in TABS.items()
        if request.role >= least
    ]
    return request.render(
        f"engine_room/{tab}{'_part' if wants_part(request) else ''}.html",
        room=room,
        tab=tab,
        tabs=tabs,
        path=TABS[tab][0],
        fill=fill,
        size_of=size_of,
        time_text=time_text,
        duration=lambda seconds: duration(seconds, words),
        say=lambda sentence: say(sentence, words),
        is_owner=request.role is Role.OWNER,
        **facts,
    )


def wants_part(request: Request) -> bool:
    """Return whether a script asks for what changes on a page."""
    return PART in request.http.query


def within(path: str, **query: str) -> str:
    """Return a path with a query."""
    return f"{path}?{urlencode(query)}"


async def read_form(request: Request) -> dict[str, str]:
    """Return the texts of a form's fields, without spaces around them."""
    fields = (await request.form()).items()
    return {name: text.strip() for name, text in fields if isinstance(text, str)}


async def present_place(request: Request, text: str) -> str:
    """Return the id that a place has now, everywhere where none is typed; raises `UserError`."""
    place = read_place(text or EVERYWHERE)
    if place == EVERYWHERE:
        return place
    return await request.app.storage.people.present_place(place)
