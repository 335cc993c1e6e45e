"""The models: a list of what is there, checks, and fetching from the hub."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import web

from bots.admission.roles import Role
from bots.presentation.lines import fit_text
from bots.service.commands import CHECK, GET
from bots.texts import EngineRoom, Words, tell
from bots.web.engine_room.commands import cancel_command, commands_of
from bots.web.engine_room.page import TABS, read_form, room_of, show, wants_part
from bots.web.request import Request, Route, see_other
from bots.worker.engines_view import load_engines
from engine.errors import BrokenModel, UnknownModel, UserError
from engine.models.catalogue import Catalogue
from engine.models.downloads import find, offers
from engine.models.families import Defaults
from engine.models.memory_plan import Room, plan
from engine.models.model_files import find_parts, list_parts

PATH: Final = TABS["models"][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model that can be used, or why it cannot; fit: whether it fits into memory, if known."""

    name: str
    problem: str = ""
    title: str = ""
    size: int = 0
    fit: str = ""
    defaults: Defaults | None = None


async def models(request: Request) -> web.StreamResponse:
    """Show models, what lies beside them, what can be fetched, and commands about them."""
    facts = {"commands": commands_of(request, CHECK, GET), "running": request.app.commands.running}
    if wants_part(request):
        return show(request, "models", **facts)
    settings, catalogue = request.app.settings, request.app.studio.catalogue
    known = [each.room for each in await load_engines(settings) if each.room]
    room = Room(**known[0]) if known else None  # the first engine's, as in the terminal
    texts = request.words, room_of(request)
    return show(
        request,
        "models",
        **facts,
        rows=await asyncio.to_thread(_rows, catalogue, room, *texts),
        is_known=room is not None,
        parts=await asyncio.to_thread(list_parts, settings.models_dir),
        offers=offers(),
        folder=settings.models_dir,
    )


def _rows(catalogue: Catalogue, room: Room | None, words: Words, texts: EngineRoom) -> list[Row]:
    """Return a row for each model; reads what their files say of them."""
    rows = []
    for name in catalogue.names():
        try:
            its = catalogue.get(name)
            rows.append(
                Row(
                    name=name,
                    title=its.title,
                    size=its.size,
                    fit=fit_text(plan(its, room), texts) if room else "",
                    defaults=its.defaults,
                )
            )
        except BrokenModel as error:
            rows.append(Row(name=name, problem=error.reason))
        except UserError as error:  # it was removed meanwhile
            rows.append(Row(name=name, problem=tell(error, words)))
    return rows


async def check(request: Request) -> web.StreamResponse:
    """Start a check of a model, of a file beside the models, or of everything."""
    name = (await read_form(request)).get("name", "")
    if name:
        await asyncio.to_thread(_know, request.app.studio.catalogue, name)
    names = [name] if name else []
    request.app.commands.start(CHECK, *names, by=request.person)
    return see_other(PATH)


def _know(catalogue: Catalogue, name: str) -> None:
    """Raise `UserError` for a name that means neither a model nor a file beside them."""
    try:
        catalogue.resolve(name)
    except UnknownModel:
        if not find_parts(catalogue.models_dir, name):
            raise


async def get(request: Request) -> web.StreamResponse:
    """Start to fetch a model; an unknown name is told at once."""
    name = (await read_form(request)).get("name", "")
    find(name)
    request.app.commands.start(GET, name, by=request.person)
    return see_other(PATH)


ROUTES: Final = (
    Route("GET", PATH, models, least=Role.OWNER),
    Route("POST", f"{PATH}/check", check, least=Role.OWNER),
    Route("POST", f"{PATH}/get", get, least=Role.OWNER),
    Route("POST", f"{PATH}/cancel", partial(cancel_command, back=PATH), least=Role.OWNER),
)
