"""Figures of the last day as plots: pictures, waits, failures; errors; who spent how much."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from bots.admission.roles import Role
from bots.web.engine_room.page import TABS, show
from bots.web.engine_room.plots import plot
from bots.web.request import SLOW, Request, Route
from engine.queue.estimates import MILLION
from storage.records import EVERYWHERE

PATH: Final = TABS["figures"][0]


async def figures(request: Request) -> web.StreamResponse:
    """Show the last day."""
    app = request.app
    async with request.http.app[SLOW]:
        day = await app.storage.figures.day()
    hours = day.hours
    held = await app.gate.in_force(EVERYWHERE)
    return show(
        request,
        "figures",
        day=day,
        pictures=plot([hour.pictures for hour in hours]),
        waits=plot([hour.half_within for hour in hours], [hour.most_within for hour in hours]),
        failures=plot([hour.failed for hour in hours]),
        budget=held.rules["daily"],
        million=MILLION,
    )


ROUTES: Final = (Route("GET", PATH, figures, least=Role.OWNER),)
