"""The queue: what runs and waits, with buttons to pause, resume and cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from bots.admission.roles import Role
from bots.chat.commands import cancel
from bots.chat.moderation import put_ahead
from bots.web.engine_room.page import TABS, read_form, show
from bots.web.request import Request, Route, see_other
from bots.worker.queue_view import QueueEntry, load_queue
from storage import parse_name

ROWS: Final = 50  # jobs that are shown
PATH: Final = TABS["queue"][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A job as its row shows it; ready_in: seconds, None where they are not known."""

    entry: QueueEntry
    who: str
    own: bool
    ready_in: float | None


async def queue(request: Request) -> web.StreamResponse:
    """Show the queue; people and prompts are told to owners and to who asked alone."""
    app = request.app
    found = await load_queue(app.storage, app.settings, ROWS)
    pause = await app.storage.moderation.paused()
    reason = app.worker.queue.order.reason
    replies = await app.storage.outbox.backlog()
    return show(
        request,
        "queue",
        queue=found,
        rows=[_row(request, entry, stands=bool(pause or reason)) for entry in found.entries],
        pause=pause,
        paused_for=pause and (app.storage.moderation.now() - pause.at).total_seconds(),
        reason=reason,
        replies=sum(replies.values()),
    )


def _row(request: Request, entry: QueueEntry, *, stands: bool) -> Row:
    own = entry.job.person == request.person
    known = own or request.role is Role.OWNER
    return Row(
        entry=entry,
        who=entry.job.person if known else request.words.somebody,
        own=own,
        # While nothing starts nobody can say when what waits will be ready.
        ready_in=None if stands and entry.position else entry.eta,
    )


async def pause(request: Request) -> web.StreamResponse:
    """Pause the queue of every process, with a reason that people see."""
    form = await read_form(request)
    await request.app.pausing.pause(form.get("reason", ""), request.person)
    return see_other(PATH)


async def resume(request: Request) -> web.StreamResponse:
    """Resume the queue."""
    await request.app.pausing.resume(request.person)
    return see_other(PATH)


async def draw_next(request: Request) -> web.StreamResponse:
    """Put a waiting job before all others."""
    form = await read_form(request)
    await put_ahead(request.app, form.get("job", ""), by=request.person)
    return see_other(PATH)


async def cancel_job(request: Request) -> web.StreamResponse:
    """Cancel a job, by the chats' own rules of who may."""
    form = await read_form(request)
    name = form.get("job", "")
    parse_name(name)  # without a name, the chats' rules mean one's own latest job
    await cancel(request.app, request, request.words, name)
    return see_other(PATH)


ROUTES: Final = (
    Route("GET", PATH, queue, least=Role.MODERATOR),
    Route("POST", f"{PATH}/pause", pause, least=Role.MODERATOR),
    Route("POST", f"{PATH}/resume", resume, least=Role.MODERATOR),
    Route("POST", f"{PATH}/next", draw_next, least=Role.OWNER),
    Route("POST", f"{PATH}/cancel", cancel_job, least=Role.MODERATOR),
)
