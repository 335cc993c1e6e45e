"""The engines of all processes, the GPUs, and the machine that the page comes from."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from bots.admission.roles import Role
from bots.operations.machine import Gpus, memory_of, read_machine
from bots.web.engine_room.page import TABS, show
from bots.web.request import Request, Route
from bots.worker.engines_view import UP, load_engines

PATH: Final = TABS["devices"][0]
GPUS: Final = web.AppKey("gpus", Gpus)
ELSEWHERE: Final = "ray"  # the executor whose engines may be on other machines


async def devices(request: Request) -> web.StreamResponse:
    """Show what each engine does, and what it does it with."""
    settings = request.app.settings
    here = settings.executor != ELSEWHERE
    engines = await load_engines(settings)
    pids = [row.pid if here else None for row in engines]
    memory = await asyncio.to_thread(lambda: [memory_of(pid) for pid in pids])
    return show(
        request,
        "devices",
        engines=list(zip(engines, memory, strict=True)),
        up=UP,
        gpus=await request.http.app[GPUS].read(),
        machine=await asyncio.to_thread(read_machine),
    )


ROUTES: Final = (Route("GET", PATH, devices, least=Role.OWNER),)
