"""Upkeep: the disk, backups, and what `marble doctor` finds."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from typing import Final

from aiohttp import web

from bots.admission.roles import Role
from bots.service.commands import BACKUP, DOCTOR
from bots.web.engine_room.commands import cancel_command, commands_of
from bots.web.engine_room.page import TABS, show
from bots.web.request import Request, Route, see_other
from bots.worker.maintenance import list_backups, make_backup_path

PATH: Final = TABS["upkeep"][0]


async def upkeep(request: Request) -> web.StreamResponse:
    """Show how much room there is, the backups, and the latest findings."""
    app = request.app
    return show(
        request,
        "upkeep",
        disk=await asyncio.to_thread(shutil.disk_usage, app.settings.data_dir),
        where=app.storage.database.where,
        kept=app.settings.backups,
        backups=await asyncio.to_thread(list_backups, app.settings),
        commands=commands_of(request, DOCTOR, BACKUP),
        running=app.commands.running,
    )


async def back_up(request: Request) -> web.StreamResponse:
    """Start a backup of the database into the folder of backups."""
    path = await asyncio.to_thread(make_backup_path, request.app.settings)
    request.app.commands.start(BACKUP, str(path), by=request.person)
    return see_other(PATH)


async def examine(request: Request) -> web.StreamResponse:
    """Start to examine everything that Marble stands on."""
    request.app.commands.start(DOCTOR, by=request.person)
    return see_other(PATH)


ROUTES: Final = (
    Route("GET", PATH, upkeep, least=Role.OWNER),
    Route("POST", f"{PATH}/backup", back_up, least=Role.OWNER),
    Route("POST", f"{PATH}/doctor", examine, least=Role.OWNER),
    Route("POST", f"{PATH}/cancel", partial(cancel_command, back=PATH), least=Role.OWNER),
)
