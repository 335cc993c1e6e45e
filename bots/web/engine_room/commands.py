"""Commands that owners start on a page: what runs, what came of it, and the button that ends it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from bots.operations.doctor import Finding
from bots.service.commands import DOCTOR, Command
from bots.web.request import Request, see_other


@dataclass(frozen=True, slots=True)
class Row:
    """A command with the seconds that it took, or has been running for."""

    command: Command
    seconds: float

    @property
    def findings(self) -> list[Finding]:
        """Return what `marble doctor` found; empty of any other command."""
        if self.command.kind != DOCTOR:
            return []
        return [found for line in self.command.lines if (found := Finding.read(line))]


def commands_of(request: Request, *kinds: str) -> list[Row]:
    """Return the latest command of each of these kinds, the latest first."""
    latest, now = request.app.commands.latest, datetime.now(UTC)
    found = sorted((latest[kind] for kind in kinds if kind in latest), key=lambda each: each.began)
    return [Row(each, ((each.ended or now) - each.began).total_seconds()) for each in found[::-1]]


async def cancel_command(request: Request, back: str) -> web.StreamResponse:
    """End the command that runs."""
    await request.app.commands.cancel(by=request.person)
    return see_other(back)
