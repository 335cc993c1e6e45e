"""The engines of all processes, the GPUs, and the machine that the page comes from."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from bots.admission.roles import Role
from bots.operations.machine import memory_of, read_gpus, read_machine
from bots.web.engine_room.page import TABS, show
from bots.web.request import Request, Route
from bots.worker.engines_view import UP, load_engines

PATH: Final = TABS["devices"][0]
ELSEWHERE: Final = "ray"  # the executor whose engines may be on other machines


async def devices(request: Request) -> web.StreamResponse:
    """Show what each engine does, and what it does it with."""
    settings = request.app.settings
    here = settings.executor != ELSEWHERE
    engines = await load_engines(settings)
    return show(
        request,
        "devices",
        engines=[(row, memory_of(row.pid) if here else None) for row in engines],
        up=UP,
        gpus=await read_gpus(),
        machine=read_machine(),
    )


ROUTES: Final = (Route("GET", PATH, devices, least=Role.OWNER),)
