"""`marble top`: what a service is doing, live: queue, rates, errors, disk, the device."""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from rich.console import Group, RenderableType

from bots.operations.machine import read_gpus
from bots.operations.settings import Settings
from bots.presentation.lines import duration
from bots.terminal.console import Listing, styled
from bots.terminal.queue import engines_table, show_live, view
from bots.texts import EN
from bots.worker.engines_view import load_engines
from bots.worker.queue_view import DRAWN, QueueView, load_queue
from engine.sentences import fill
from storage import Job, Pause, Status, Storage

ROWS: Final = 15  # of the queue
LATEST: Final = 500  # jobs that rates are taken from
HOUR: Final = timedelta(hours=1)
ERRORS: Final = 5
GIGABYTE: Final = 2**30


async def top(arguments: argparse.Namespace, settings: Settings) -> None:
    """Show it: live in a terminal, until interrupted; else once."""
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        look = partial(_look, storage, settings)
        await show_live(look, ROWS, once=arguments.once, screen=True)


async def _look(storage: Storage, settings: Settings, rows: int | None) -> RenderableType:
    queue = await load_queue(storage, settings, rows or ROWS)
    latest, hour_ago = await storage.history.page(limit=LATEST), datetime.now(UTC) - HOUR
    ended = [job for job in latest if job.finished_at and job.finished_at > hour_ago]
    gpu = await gpu_line()
    free = shutil.disk_usage(settings.data_dir).free / GIGABYTE
    waiting = await storage.outbox.backlog()
    lines = [
        _counts(queue, await storage.moderation.paused()),
        _rates(ended),
        f"replies that wait   {sum(waiting.values())}"
        + "".join(f"   {name} {count}" for name, count in waiting.items()),
        f"disk                {free:.1f} GB free",
        *([f"device              {gpu}"] if gpu else []),
    ]
    parts = (styled("\n".join(lines), "none"), engines_table(await load_engines(settings)))
    return Group(*parts, _errors(ended), view(queue))


async def gpu_line() -> str:
    """Return what NVIDIA's own program says of the first GPU, or nothing where there is none."""
    if not (gpus := await read_gpus()):
        return ""
    first = gpus[0]
    memory = f"{first.used} of {first.total} MiB"
    return f"{first.name}   {first.busy} % busy   {memory}   {first.heat} °C"


def _counts(queue: QueueView, pause: Pause | None) -> str:
    paused = f"   paused: {pause.reason}" if pause else ""
    return f"jobs                {queue.running} running   {queue.waiting} waiting{paused}"


def _rates(ended: Sequence[Job]) -> str:
    """Count the jobs of the last hour, with the median time from asking to the picture."""
    count = Counter(job.status for job in ended)
    drawn = [job for job in ended if job.status in DRAWN]
    waits = sorted(
        (job.finished_at - job.created_at).total_seconds() for job in drawn if job.finished_at
    )
    wait = f"   half within {duration(waits[len(waits) // 2], EN)}" if waits else ""
    pictures = sum(len(job.pictures) for job in drawn)
    return (
        f"last hour           {len(drawn)} drawn "
        f"({fill('{n} {n:picture|pictures}', n=pictures)})   "
        f"{count[Status.FAILED]} failed   {count[Status.CANCELLED]} cancelled{wait}"
    )


def _errors(ended: Sequence[Job]) -> Listing:
    """List the most frequent errors of the last hour with their number."""
    table = Listing()
    errors = Counter(job.error or "" for job in ended if job.status is Status.FAILED)
    for text, count in errors.most_common(ERRORS):
        table.add(styled(f"{count} ×", "bold red"), text)
    return table
