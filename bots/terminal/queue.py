"""`marble queue`: what runs and what waits, live or as a table; `marble pause` and `resume`."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live

from bots.operations.settings import Settings
from bots.presentation.lines import duration
from bots.terminal.console import Listing, open_console, styled
from bots.terminal.places import person
from bots.texts import EN
from bots.worker.engines_view import UP, EngineRow, load_engines
from bots.worker.pausing import check_reason
from bots.worker.queue_view import QueueEntry, QueueView, load_queue
from engine.sentences import fill
from storage import Pause, Storage

EVERY: Final = 1.0  # seconds between two looks
ROWS: Final = 40  # that are shown live; a table shows all


async def queue(arguments: argparse.Namespace, settings: Settings) -> None:
    """Show the queue: live in a terminal, until interrupted; else once."""

    async def look(rows: int | None) -> RenderableType:
        first = await load_queue(storage, settings, rows)
        table = view(first, await storage.moderation.paused())
        engines = await load_engines(settings)
        return Group(engines_table(engines), table) if len(engines) > 1 else table

    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        await show_live(look, ROWS, once=arguments.once)


async def show_live(
    look: Callable[[int | None], Awaitable[RenderableType]],
    rows: int,
    *,
    once: bool,
    screen: bool = False,
) -> None:
    """Show what `look` returns every second until cancelled, or once where there is no terminal.

    look: is called with the number of rows, None for all. screen: use the whole screen.
    """
    console = open_console()
    if once or not console.is_terminal:
        console.print(await look(None))
        return
    with Live(console=console, auto_refresh=False, screen=screen) as live:
        while True:
            live.update(await look(rows), refresh=True)
            await asyncio.sleep(EVERY)


async def pause(arguments: argparse.Namespace, settings: Settings) -> None:
    """Pause the queue of every process, with a reason that people who wait see."""
    reason = check_reason(" ".join(arguments.reason))
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        await storage.moderation.pause(reason, by=person())
    sys.stdout.write("The queue is paused until `marble resume`; running jobs finish.\n")


async def resume(arguments: argparse.Namespace, settings: Settings) -> None:
    """Resume the queue."""
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        found = await storage.moderation.resume(by=person())
    sys.stdout.write("The queue has been resumed.\n" if found else "The queue was not paused.\n")


def engines_table(engines: Sequence[EngineRow]) -> Listing:
    """Return a line for each engine of the process that serves."""
    table = Listing()
    for each in engines:
        state = styled(each.state, "green" if each.state == UP else "red")
        jobs = fill("{n} {n:job|jobs}", n=each.jobs)
        restarts = fill("{n} {n:restart|restarts}", n=each.restarts)
        models = ", ".join(each.models) or "no model yet"
        table.add(each.device, each.kind, state, jobs, restarts, models)
    return table


def view(queue: QueueView, pause: Pause | None = None) -> RenderableType:
    """Return the queue as a table, with a line on what it leaves out."""
    if pause:
        since = duration((datetime.now(UTC) - pause.at).total_seconds(), EN)
        head = styled(f"Paused for {since} by {pause.by}: {pause.reason}", "bold")
        # While nothing starts nobody can say when what waits will be ready.
        entries = [replace(s, eta=None if s.position else s.eta) for s in queue.entries]
        return Group(head, view(replace(queue, entries=entries)))
    if not queue.entries:
        return EN.queue_empty
    table = Listing("place", "id", "person", "age", "ready in", "what")
    for entry in queue.entries:
        job, place = entry.job, str(entry.position or "running")
        ready = "" if entry.eta is None else f"about {duration(entry.eta, EN)}"
        table.add(place, str(job.id), job.person, duration(entry.age, EN), ready, _what(entry))
    return Group(table, f"… and {queue.hidden:,} more") if queue.hidden else table


def _what(entry: QueueEntry) -> str:
    """Describe a job, and why it waits again, or runs alone, after its process died."""
    recipe, note = entry.job.recipe, ""
    if entry.lost:
        note = " (again: the process that drew it died)"
    elif entry.job.suspect:
        note = " (alone: a process that drew it died)"
    pictures = len(recipe.pictures)
    count = f"{pictures} × " if pictures > 1 else ""
    size = f"{recipe.width}×{recipe.height}"
    steps = fill("{n} {n:step|steps}", n=recipe.steps)
    return f"{count}{size}, {steps}, {' → '.join(recipe.models)}{note}"
