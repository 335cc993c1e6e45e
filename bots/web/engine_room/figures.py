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
    budget = held.rules["daily"]
    # On one scale: up to the budget or, where that is larger, to what was spent most.
    top = max(budget or 0, *(each.spent / MILLION for each in day.spenders[:1]), 0)
    return show(
        request,
        "figures",
        day=day,
        pictures=plot([hour.pictures for hour in hours]),
        waits=plot([hour.half_within for hour in hours], [hour.most_within for hour in hours]),
        failures=plot([hour.failed for hour in hours]),
        spenders=[
            (each, plot([spent / MILLION for spent in each.hours], top=top))
            for each in day.spenders
        ],
        budget=budget,
        million=MILLION,
    )


ROUTES: Final = (Route("GET", PATH, figures, least=Role.OWNER),)
