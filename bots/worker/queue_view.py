"""The queue as any process can show it.

A process that serves has the true order and writes it down (`bots.worker.engines_view`). Where none
does, it is rebuilt here from the rows of the database with the same code.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Final

from bots.operations.settings import Settings
from bots.worker.engines_view import load_places
from bots.worker.progress import Place
from engine.files.atomic import replace_text, sweep_drafts
from engine.models.needs import needs_of
from engine.queue.estimates import Speeds, work_of
from engine.queue.forecast import forecast
from engine.queue.meter import Meter
from engine.queue.order import Order
from engine.queue.tasks import Caps, Limits, Priority, Task
from storage import Job, Status, Storage

MEASURED: Final = 50  # finished jobs that speeds are learnt from
PAGE: Final = 500
SIMULATED: Final = 5000  # waiting jobs that are put in order where no process serves
DRAWN: Final = frozenset({Status.RENDERED, Status.DELIVERED})


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEntry:
    """A job's queue position (0: it runs), its age and its expected end, in seconds from now.

    The age of a job that runs is counted from its start. One that is `lost` waits again: the
    process that ran it is dead.
    """

    job: Job
    position: int
    age: float
    eta: float | None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class QueueView:
    """The first jobs of the queue, how many run, and how many wait, listed or not."""

    entries: Sequence[QueueEntry]
    running: int
    waiting: int

    @property
    def hidden(self) -> int:
        """Return how many jobs are not listed."""
        return max(0, self.running + self.waiting - len(self.entries))


def limits_of(settings: Settings) -> Limits:
    """Return how much the queue takes."""
    return Limits(
        running=settings.running_per_person,
        waiting=settings.waiting_per_person,
        length=settings.queue_length,
    )


def task_of(settings: Settings, job: Job, caps: Caps = ()) -> Task:
    """Return a job as the queue takes it."""
    return Task(
        job=job.id,
        person=job.person,
        work=work_of(job.recipe),
        priority=_priority(settings, job),
        caps=caps,
        alone=job.suspect,
        needs=needs_of(job.recipe),
        kind=job.device or "",
    )


def _priority(settings: Settings, job: Job) -> Priority:
    if job.ahead:
        return Priority.AHEAD
    first = job.person in settings.moderators or job.person in settings.owners
    return Priority.MODERATOR if first else Priority.PERSON


async def recall(storage: Storage, settings: Settings) -> Speeds:
    """Return the speeds that the last process measured, or those of the latest jobs."""
    speeds = Speeds()
    with suppress(OSError):
        await asyncio.to_thread(sweep_drafts, _file(settings).parent)
    with suppress(OSError, ValueError, TypeError, AttributeError):  # not there, or not ours
        speeds = Speeds(json.loads(await asyncio.to_thread(_file(settings).read_text)))
    if not speeds:
        await learn(speeds, storage)
    return speeds


async def remember(speeds: Speeds, settings: Settings) -> None:
    """Write the measured speeds to a file for later processes; errors are ignored."""
    text = json.dumps(speeds.to_dict())
    with suppress(OSError):
        await asyncio.to_thread(replace_text, _file(settings), text)


def _file(settings: Settings) -> Path:
    return settings.data_dir / "engine" / "speeds.json"


async def learn(speeds: Speeds, storage: Storage) -> None:
    """Learn speeds from the latest jobs, where nothing better is known.

    Jobs that ran at once shared the engine, and only the database's clock tells how long; it knows
    nothing of stages, so that the loading of models counts as work.
    """
    latest = {job.id: job for job in await storage.history.page(limit=MEASURED)}
    starts_and_ends = []
    for job in latest.values():
        started, ended = job.started_at, job.finished_at
        # Where somebody set the clock, a job may end before it started.
        if job.status in DRAWN and started and ended and ended > started:
            starts_and_ends.append((started.timestamp(), job.id, True))
            starts_and_ends.append((ended.timestamp(), job.id, False))
    meter = Meter()
    for at, number, starts in sorted(starts_and_ends):
        work = work_of(latest[number].recipe)
        if starts:
            meter.start(number, work.width, at)
        else:
            speeds.learn(work, meter.stop(number, at))


async def load_queue(storage: Storage, settings: Settings, rows: int | None = None) -> QueueView:
    """Return what runs, and then what waits in the order in which it is expected to start.

    rows: how many jobs to list. Places and times are those that the serving processes told people;
    where none serves, those that one with a single engine would, of the first `SIMULATED` jobs.
    """
    lost = await storage.worker.lost()
    places = await load_places(settings)
    if places is None:
        return await _simulated(storage, settings, rows, lost)
    now = datetime.now(UTC)
    told = {place.job: place for place in places}
    at_work, queued = await storage.jobs.count_unfinished()
    running = await storage.jobs.list_running(None if rows is None else rows + len(lost))
    again = [job for job in running if job.id in lost]
    jobs = [job for job in running if job.id not in lost][:rows]
    left = None if rows is None else rows - len(jobs)
    line = sorted((place for place in places if place.position), key=itemgetter(1, 0))
    waiting = await _waiting(storage, [place.job for place in line], again, left)
    entries = [
        QueueEntry(
            job=job,
            position=max(0, number - len(jobs)),
            age=_age(job, now, job.id in lost),
            eta=_seconds_left(told.get(job.id), now),
            lost=job.id in lost,
        )
        for number, job in enumerate([*jobs, *waiting], 1)
    ]
    return QueueView(entries, at_work - len(lost), queued + len(lost))


async def _waiting(
    storage: Storage, line: Sequence[int], again: Sequence[Job], rows: int | None
) -> list[Job]:
    """Return what waits: jobs in the order told, then those that died, then those not told of."""
    found: list[Job] = []
    size = PAGE if rows is None else min(PAGE, 2 * rows) or 1
    for first in range(0, len(line), size):
        if rows is not None and len(found) >= rows:
            return found[:rows]
        part = line[first : first + size]
        jobs = {job.id: job for job in await storage.jobs.waiting_among(part)}
        found += [jobs[number] for number in part if number in jobs]
    found += again
    known, after = set(line), 0
    while (rows is None or len(found) < rows) and (
        page := await storage.jobs.list_queued(after, PAGE)
    ):
        found += [job for job in page if job.id not in known]
        after = page[-1].id
    return found[:rows]


def _seconds_left(place: Place | None, now: datetime) -> float | None:
    if place is None or place.end is None:
        return None
    return max(0.0, place.end - now.timestamp())


async def _simulated(
    storage: Storage, settings: Settings, rows: int | None, lost: Collection[int]
) -> QueueView:
    speeds = await recall(storage, settings)
    running = await storage.jobs.list_running()
    waiting = [job for job in running if job.id in lost]
    running = tuple(job for job in running if job.id not in lost)
    queued: list[Job] = []
    while len(queued) < SIMULATED and (
        page := await storage.jobs.list_queued(queued[-1].id if queued else 0, PAGE)
    ):
        queued += page
    _, in_line = await storage.jobs.count_unfinished()
    again = len(waiting)
    waiting = sorted([*waiting, *queued], key=lambda job: job.id)
    entries = queue_entries(running, waiting, settings, speeds, datetime.now(UTC), lost)
    return QueueView(entries[:rows], len(running), in_line + again)


def queue_entries(
    running: Sequence[Job],
    waiting: Sequence[Job],
    settings: Settings,
    speeds: Speeds,
    now: datetime,
    lost: Collection[int] = (),
) -> list[QueueEntry]:
    """Return the queue at a time, from what runs and what waits (`lost`: again)."""
    jobs = {job.id: job for job in (*running, *waiting)}
    order = _order(running, waiting, settings, speeds)
    found = chain.from_iterable(forecast(order, now.timestamp(), len(running)))
    places = sorted(found, key=lambda place: (place.position, place.job))
    return [
        QueueEntry(
            job=jobs[place.job],
            position=place.position,
            age=_age(jobs[place.job], now, place.job in lost),
            eta=None if place.ends_at is None else place.ends_at - now.timestamp(),
            lost=place.job in lost,
        )
        for place in places
    ]


def _order(
    running: Sequence[Job], waiting: Sequence[Job], settings: Settings, speeds: Speeds
) -> Order:
    """Rebuild the order of the process that draws; what runs, runs, whatever the limits say."""
    limits = limits_of(settings)
    most = max(Counter(job.person for job in running).values(), default=0)
    order = Order(replace(limits, running=max(limits.running, most)), speeds)
    for job in running:
        order.submit(replace(task_of(settings, job), alone=False))
        order.choose((job.started_at or job.created_at).timestamp(), len(running))
    for job in waiting:
        order.submit(task_of(settings, job))
    return order


def _age(job: Job, now: datetime, lost: bool) -> float:
    since = job.created_at if lost else job.started_at or job.created_at
    return max(0.0, (now - since).total_seconds())
