"""Engines on the machines of a Ray cluster: one for each place that has room for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import count
from typing import Any, Final

from engine.errors import Lost, SettingError
from engine.events import Event
from engine.executors import Health
from engine.executors.base import SLOTS, end_task
from engine.executors.config import AUTO, EngineConfig
from engine.executors.pool import Pool, left_out_for
from engine.executors.ray_connection import LOOK, SILENCE, Connection, Nodes, RaySettings
from engine.executors.ray_engine import Place, RayEngine
from engine.executors.restarting import SILENCE as IDLENESS
from engine.executors.restarting import Death, wait_before
from engine.models.fingerprints import Fingerprints
from engine.spec import Spec

log = logging.getLogger(__name__)

NO_RAY: Final = "child or inprocess, as long as Ray is not installed (`pip install 'marble[ray]'`)"
MODELS: Final = 60.0  # seconds between two looks at the folder of models
CPU: Final = "cpu"
SPARED: Final = 3  # losses of a job's connection or machine that do not speak against it
KNOWN: Final = 10_000  # jobs whose losses are remembered


class RayExecutor(Pool):
    """Draws on the machines of a Ray cluster: a pool of engines that follows them."""

    def __init__(
        self,
        config: EngineConfig,
        settings: RaySettings | None = None,
        *,
        backoff: Callable[[int], float] = wait_before,
        silence: float = SILENCE,
        idleness: float = IDLENESS,
        look: float = LOOK,
        wait: Callable[[int], float] = left_out_for,
    ) -> None:
        if find_spec("ray") is None:
            raise SettingError("MARBLE_EXECUTOR", "ray", NO_RAY)
        super().__init__({}, wait=wait)
        # Each actor sees only the device that Ray gives it.
        device = config.device if config.device.startswith(CPU) else AUTO
        self._config = replace(config, device=device.partition(":")[0])
        self._settings = settings or RaySettings()
        self._backoff = backoff
        self._idleness = idleness
        self._models: Mapping[str, str] = {}  # of this machine
        self._places: dict[str, Place] = {}  # by the names of their engines
        self._spared: dict[int, int] = {}  # job → losses in a row that had a cause outside of it
        self._no_room: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self.connection = Connection(
            self._config,
            self._settings,
            self._follow,
            self._changed.set,
            backoff=backoff,
            silence=silence,
            look=look,
        )
        if (number := self._settings.engines) is not None:
            self._have({Place("", "", each) for each in range(number)})

    async def __aexit__(self, *error: object) -> None:
        """End all engines and leave the cluster; running jobs end as `Lost`."""
        await super().__aexit__(*error)
        await asyncio.gather(*self._leaving)
        for task in self._tasks:
            await end_task(task)
        self._changed.set()  # ends `ready`

    @property
    def slots(self) -> int:
        """Return how many jobs may run at once: those of one engine, as long as there is none."""
        return super().slots or SLOTS

    def ask(self, jobs: int) -> None:
        """Connect, unless that has begun, and start all engines: each has models of its own."""
        if not self._tasks and not self._closed:
            running = (self.connection.run(), self._watch_models())
            self._tasks = [asyncio.create_task(each, name="marble-ray") for each in running]
        super().ask(max(jobs, len(self._members)))

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        """Yield a job's events, as `Executor.run` specifies, from the engine that it names."""
        if spec.engine and spec.engine not in self._members:
            raise Lost(f"The engine {spec.engine} has left the Ray cluster.", outside=True)
        try:
            async with aclosing(super().run(spec)) as events:
                async for event in events:
                    yield event
            self._spared.pop(spec.job, None)
        except Lost as error:
            if error.outside and not self._spares(spec.job):
                raise Lost(str(error), alone=error.alone) from error
            raise

    def health(self) -> Health:
        """Return the health of all engines together and of each, and why nothing is drawn."""
        own = super().health()
        if own.alive:
            return own
        waits = (each.waits for each in own.engines.values() if each.waits)
        return replace(own, waits=self.connection.reason or self._no_room or next(waits, ""))

    def _spares(self, job: int) -> bool:
        """Whether a job may be lost once more without being blamed: it may end machines, too."""
        times = self._spared[job] = self._spared.pop(job, 0) + 1
        if len(self._spared) > KNOWN:
            del self._spared[next(iter(self._spared))]
        return times <= SPARED

    async def _watch_models(self) -> None:
        """Know what this machine's folder of models holds, which others are compared with."""
        fingerprints = Fingerprints(self._config.models_dir, self._config.starter)
        while True:
            try:
                found = await asyncio.to_thread(fingerprints.all)
            except Exception as error:  # of one look; the next may succeed
                log.warning("models cannot be listed: %s", error)
            else:
                if found != self._models:
                    self._models = found
                    for name in self._places:
                        self._engine(name).compare()
            await asyncio.sleep(MODELS)

    def _follow(self, nodes: Nodes) -> None:
        """Have an engine for each place that the cluster's machines have for Marble.

        Where the number of engines is set it stands, and Ray finds their places. While it closes
        none comes or goes: those that leave are then waited for once.
        """
        if self._closed or self._settings.engines is not None:
            return
        wanted = {place for node in nodes for place in self._places_on(node)}
        self._no_room = None if wanted else no_room(nodes, self._settings.resources)
        self._have(wanted)

    def _places_on(self, node: Mapping[str, Any]) -> list[Place]:
        """Return the places of engines that a machine has: those that have it, and what is free.

        Those that have been asked for may have it already, or may be about to get what is free.
        Those that wait, since others were faster, are the first that are given up.
        """
        ours = [place for place in self._places.values() if place.node == node["id"]]
        engines = {place: self._engine(str(place)) for place in ours}
        placed = sum(engine.placed for engine in engines.values())
        asked = sum(not engine.placed and not engine.pending for engine in engines.values())
        each = self._settings.resources
        room = placed + max(asked, room_on(node["free"], each))
        room = min(room, room_on(node["resources"], each))
        kept = sorted(ours, key=lambda place: (engines[place].pending, place.number))[:room]
        unused = (number for number in count() if number not in {each.number for each in kept})
        new = [Place(node["id"], node["host"], next(unused)) for _ in range(room - len(kept))]
        return [*kept, *new]

    def _engine(self, name: str) -> RayEngine:
        engine = self._members[name].executor
        assert isinstance(engine, RayEngine)
        return engine

    def _have(self, wanted: set[Place]) -> None:
        for name, place in [*self._places.items()]:
            if place not in wanted:
                log.info("the engine %s has no place on the Ray cluster any more", name)
                del self._places[name]
                self._lose(name)
        for place in sorted(wanted - {*self._places.values()}, key=str):
            self._places[str(place)] = place
            self.add(str(place), partial(self._make, place))
        if self._tasks:
            self.ask(len(self._members))

    def _lose(self, name: str) -> None:
        self._engine(name).lose(Death("its machine left the cluster", outside=True))
        if member := self._take_out(name):
            leaving = asyncio.create_task(self._close(member), name=f"marble-leaving-{name}")
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    def _make(self, place: Place) -> RayEngine:
        return RayEngine(
            self._config,
            self.connection,
            place,
            lambda: self._models,
            backoff=self._backoff,
            silence=self._idleness,
        )


def room_on(there: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    """Return how many engines a machine with these resources has room for."""
    return min(_room(name, there.get(name, 0.0), each) for name, each in wanted.items())


def _room(name: str, total: float, each: float) -> int:
    """Return how many engines have room; a part of a GPU is a part of one of them."""
    if name == "GPU" and each < 1:
        whole = int(total + 1e-6)
        return whole * int(1 / each + 1e-6) + int((total - whole) / each + 1e-6)
    return int(total / each + 1e-6)


def no_room(nodes: Nodes, wanted: Mapping[str, float]) -> str:
    """Return a sentence on a cluster without a machine for an engine, or without a free one."""
    each = ", ".join(f"{name}: {number:g}" for name, number in wanted.items())
    if any(room_on(node["resources"], wanted) for node in nodes):
        return (
            f"others use all that the Ray cluster has of {each}: an engine starts as soon as that "
            "is free; add a machine, or change MARBLE_RAY_RESOURCES"
        )
    return f"no machine of the Ray cluster has {each}: add one, or change MARBLE_RAY_RESOURCES"
