"""Commands that owners start on a page: what runs, what came of it, and the button that ends it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from bots.service.chores import Chore
from bots.web.request import Request, see_other


@dataclass(frozen=True, slots=True)
class Shown:
    """A command with the seconds that it took, or has been running for."""

    chore: Chore
    seconds: float


def chores_of(request: Request, *kinds: str) -> list[Shown]:
    """Return the latest command of each of these kinds, the latest first."""
    latest, now = request.app.chores.latest, datetime.now(UTC)
    found = sorted((latest[kind] for kind in kinds if kind in latest), key=lambda each: each.began)
    return [Shown(each, ((each.ended or now) - each.began).total_seconds()) for each in found[::-1]]


async def cancel_chore(request: Request, back: str) -> web.StreamResponse:
    """End the command that runs."""
    await request.app.chores.cancel(by=request.person)
    return see_other(back)
