"""The engines and queues of the serving processes as any process can show them, from files.

Beside each file is a lock that the system drops when its process ends, however it ends.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from bots.operations.settings import Settings
from bots.worker.progress import Place
from engine.executors import Health
from engine.files.atomic import read_object, replace_text
from engine.queue.order import Order
from storage.liveness.alive import FileAlive

UP: Final = "up"
FRESH: Final = 60.0  # seconds after which a process that wrote nothing is taken for gone
AGAIN: Final = 20.0  # seconds between two writes where nothing has changed


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """An engine: its device and kind, its state in words, models, running jobs and deaths.

    width: rows of a call of the network, in the mean since its start (with guidance a picture has
    two); pid: of its process. room: what it has for models (`engine.events.About`).
    """

    device: str
    kind: str
    state: str
    models: tuple[str, ...]
    jobs: int
    restarts: int
    width: float | None = None
    pid: int | None = None
    room: Mapping[str, Any] | None = None


def engine_rows(health: Health, order: Order) -> list[EngineRow]:
    """Return a row for each engine, in the order of the settings."""
    engines: Mapping[str, Health] = health.engines or {"": health}
    return [
        EngineRow(
            device=each.device or name,
            kind=each.kind,
            state=_state(each),
            models=each.held,
            jobs=order.engines.jobs(name),
            restarts=each.restarts,
            width=_width(each),
            pid=each.pid,
            room=each.room,
        )
        for name, each in engines.items()
    ]


def _width(health: Health) -> float | None:
    ticks = health.counts.get("ticks")
    return round(health.counts.get("rows", 0) / ticks, 1) if ticks else None


def _state(health: Health) -> str:
    if health.fault:
        return health.fault
    if health.failing:
        return "does not start"
    return UP if health.alive else health.waits or "not running"


class EngineBoard:
    """Writes a process's engines, and what it told people of places in its queue and of times, to
    a file of its own in the data folder whenever they change.

    worker: the process's name.
    """

    def __init__(self, settings: Settings, worker: str) -> None:
        self._alive = FileAlive(_base(settings))
        self._worker = worker
        self._file = self._alive.folder / f"{worker}.json"
        self._since: float | None = None  # when it was first written
        self._written: tuple[list[EngineRow], Sequence[Place]] | None = None
        self._at = 0.0

    async def show(self, rows: list[EngineRow], places: Sequence[Place] = ()) -> None:
        """Write both if they changed, or from time to time; errors are ignored."""
        now = time.time()
        if (rows, places) == self._written and abs(now - self._at) < AGAIN:
            return
        with suppress(OSError):
            if self._since is None:
                await asyncio.to_thread(self._file.parent.mkdir, parents=True, exist_ok=True)
                await self._alive.take(self._worker)
                self._since = now
                await _living(self._alive)  # whoever was killed left a file
            process = {"at": now, "since": self._since, "process": os.getpid()}
            engines = [asdict(row) for row in rows]
            text = json.dumps({**process, "engines": engines, "queue": places})
            await asyncio.to_thread(replace_text, self._file, text)
            self._written, self._at = (rows, places), now

    async def clear(self) -> None:
        """Remove the file: no engine of this process runs any more."""
        with suppress(OSError):
            await asyncio.to_thread(self._file.unlink, missing_ok=True)
            await self._alive.release()


async def load_engines(settings: Settings) -> list[EngineRow]:
    """Return the rows that each serving process wrote last, the first started first.

    Files of processes that have ended are removed. Where there are several processes, each row
    tells which.
    """
    found = []
    for data in await _boards(settings):
        with suppress(KeyError, TypeError, ValueError):
            found.append((float(data["since"]), int(data["process"]), _rows(data["engines"])))
    found.sort(key=lambda each: each[:2])
    if len(found) == 1:
        return found[0][2]
    return [
        replace(row, device=f"{row.device} (process {process})")
        for _, process, rows in found
        for row in rows
    ]


async def load_places(settings: Settings) -> list[Place] | None:
    """Return the places and times that the serving processes told last; None where none serves.

    Where several have a job in their queues, what the first of them expects counts.
    """
    boards, found = await _boards(settings), dict[int, Place]()
    for data in boards:
        with suppress(KeyError, TypeError, ValueError):
            for job, position, end in data["queue"]:
                place = Place(int(job), int(position), None if end is None else float(end))
                other = found.get(place.job, place)
                ends = [each.end for each in (place, other) if each.end is not None]
                position = min(place.position, other.position)
                found[place.job] = Place(place.job, position, min(ends, default=None))
    return [*found.values()] if boards else None


async def _boards(settings: Settings) -> list[dict[str, Any]]:
    """Return what each serving process wrote, if it was lately."""
    found = []
    for file in await _living(FileAlive(_base(settings))):
        data = await asyncio.to_thread(read_object, file)
        with suppress(KeyError, TypeError):
            if abs(time.time() - data["at"]) < FRESH:
                found.append(data)
    return found


async def _living(alive: FileAlive) -> list[Path]:
    """Return the files of processes that live, and remove those of others."""
    files = {file.stem: file for file in alive.folder.glob("*.json")}
    with suppress(OSError):  # another user's: whatever was written lately counts
        for name in await alive.dead(files):
            await asyncio.to_thread(files.pop(name).unlink, missing_ok=True)
    return [*files.values()]


def _rows(written: Sequence[Mapping[str, Any]]) -> list[EngineRow]:
    return [EngineRow(**{**row, "models": tuple(row["models"])}) for row in written]


def _base(settings: Settings) -> Path:
    return settings.data_dir / "engine" / "serving"
