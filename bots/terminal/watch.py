"""`marble queue`: what runs and what waits, live or as a table."""

import argparse
import asyncio
from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bots.cli import OK
from bots.line import Standing, look
from bots.presentation import duration
from bots.settings import Settings
from bots.texts.en import EN
from storage import Job, Storage

EVERY: Final = 1.0  # seconds between two looks
ROWS: Final = 40  # that are shown live; a table shows all


async def queue(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show the queue: live in a terminal, until interrupted; else once."""
    console = Console(highlight=False)
    async with Storage.open(settings.data_dir, settings.database_url) as storage:
        if arguments.once or not console.is_terminal:
            console.print(view(await look(storage, settings)))
        else:
            await _watch(storage, settings, console)
    return OK


async def _watch(storage: Storage, settings: Settings, console: Console) -> None:
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(view(await look(storage, settings), ROWS), refresh=True)
            await asyncio.sleep(EVERY)


def view(standings: Sequence[Standing], rows: int | None = None) -> RenderableType:
    """Return the queue as a table of so many rows, with a line on what it leaves out."""
    if not standings:
        return Text("Nothing runs and nothing waits.")
    table = Table(box=None, pad_edge=False)
    for heading in ("place", "id", "person", "age", "ready in", "what"):
        table.add_column(heading, no_wrap=heading != "what")
    for standing in standings[:rows]:
        table.add_row(*_cells(standing))
    hidden = len(standings[rows:]) if rows else 0
    return Group(table, Text(f"… and {hidden:,} more")) if hidden else table


def _cells(standing: Standing) -> list[str]:
    job = standing.job
    place = str(standing.position or "running")
    ready = "" if standing.eta is None else f"about {duration(standing.eta, EN)}"
    return [place, str(job.id), escape(job.person), duration(standing.age, EN), ready, _what(job)]


def _what(job: Job) -> str:
    recipe = job.recipe
    pictures = len(recipe.pictures)
    count = f"{pictures} × " if pictures > 1 else ""
    return escape(
        f"{count}{recipe.width}×{recipe.height}, {recipe.steps} steps, {recipe.checkpoint}"
    )
