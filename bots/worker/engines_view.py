"""The engines of a serving process as any process can show them, from a small file."""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bots.operations.settings import Settings
from engine.executors import Health
from engine.files.atomic import read_object, replace_text
from engine.queue.order import Order

UP: Final = "up"
FRESH: Final = 60.0  # seconds after which a process that wrote nothing is taken for gone
AGAIN: Final = 20.0  # seconds between two writes where nothing has changed


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """An engine: its device and kind, its state in words, models, running jobs and deaths."""

    device: str
    kind: str
    state: str
    models: tuple[str, ...]
    jobs: int
    restarts: int


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
        )
        for name, each in engines.items()
    ]


def _state(health: Health) -> str:
    if health.fault:
        return health.fault
    if health.failing:
        return "does not start"
    return UP if health.alive else "not running"


class EngineBoard:
    """Writes the engines' rows to a file in the data folder whenever they change."""

    def __init__(self, settings: Settings) -> None:
        self._file = _file(settings)
        self._written: list[EngineRow] | None = None
        self._at = 0.0

    async def show(self, rows: list[EngineRow]) -> None:
        """Write the rows if they changed, or from time to time; errors are ignored."""
        now = time.time()
        if rows == self._written and abs(now - self._at) < AGAIN:
            return
        text = json.dumps({"at": now, "engines": [asdict(row) for row in rows]})
        with suppress(OSError):
            await asyncio.to_thread(replace_text, self._file, text)
            self._written, self._at = rows, now

    async def clear(self) -> None:
        """Remove the file: no engine runs any more."""
        with suppress(OSError):
            await asyncio.to_thread(self._file.unlink, missing_ok=True)


async def load_engines(settings: Settings) -> list[EngineRow]:
    """Return the rows that a serving process wrote last; none where it is gone."""
    data = await asyncio.to_thread(read_object, _file(settings))
    with suppress(KeyError, TypeError, ValueError):
        if abs(time.time() - data["at"]) < FRESH:
            return [EngineRow(**{**row, "models": tuple(row["models"])}) for row in data["engines"]]
    return []


def _file(settings: Settings) -> Path:
    return settings.data_dir / "engine" / "engines.json"
