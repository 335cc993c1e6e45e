"""One engine on a machine of a Ray cluster, as an executor."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from engine.executors import Health, wire
from engine.executors.config import EngineConfig
from engine.executors.ray_connection import Connection, Link
from engine.executors.restarting import SILENCE, Death, NotYet, RestartingExecutor
from engine.models.fingerprints import differing

log = logging.getLogger(__name__)

COPY_IT: Final = "it gets no job for it until the same file is copied there"
OTHER_CODE: Final = (
    "it runs another version of Marble, torch, diffusers or transformers: install the same ones on "
    "that machine"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine runs: a machine of the cluster ("": any that has room), and a number."""

    node: str
    host: str
    number: int

    def __str__(self) -> str:
        return f"{self.host}-{self.node[:6]}/{self.number}" if self.node else f"ray/{self.number}"


class RayEngine(RestartingExecutor):
    """Runs the engine in one actor, and a task that asks for another when it has died.

    models: returns what this machine's folder holds, as `engine.models.fingerprints` tells it.
    """

    def __init__(
        self,
        config: EngineConfig,
        connection: Connection,
        place: Place,
        models: Callable[[], Mapping[str, str]],
        *,
        backoff: Callable[[int], float],
        silence: float = SILENCE,
    ) -> None:
        super().__init__(config, backoff=backoff, silence=silence)
        self.place = place
        self._host = place.host
        self._connection = connection
        self._ours = models
        self._theirs: Mapping[str, str] = {}
        self._others: frozenset[str] = frozenset()  # that are not the same as here
        self._has: frozenset[str] = frozenset()
        self._waits = ""  # why it has not started
        self.placed = False  # it has what it takes of a machine
        self.pending = False  # no machine had room for it when it was asked for
        self._link: Link | None = None

    @property
    def name(self) -> str:
        """Return what messages call it."""
        where = f" on {self._host}" if self._host and not self.place.node else ""
        return f"the engine {self.place}{where}"

    def health(self) -> Health:
        """Return as `RestartingExecutor.health` does, and what its machine has.

        That is what lies in its folder of models, but for other files than those of this machine.
        """
        own = super().health()
        device = f"{self.place}/{own.device}" if own.device else str(self.place)
        return replace(own, device=device, has=self._has, waits=self._waits, beside=())

    def compare(self) -> None:
        """Find what its machine has but other files than this one's, and warn of those."""
        others = frozenset(differing(self._ours(), self._theirs))
        for name in sorted(others - self._others):
            log.warning("%s has another %s than this machine: %s", self.name, name, COPY_IT)
        self._others, self._has = others, frozenset(self._theirs) - others
        self.on_change()

    def _is_wanted(self) -> bool:
        return not self._closed

    def _send(self, header: dict[str, Any]) -> None:
        if self._link:
            self._link.send(header)

    async def _run_once(self) -> Death:
        await self._connection.connected.wait()
        link = self._link = self._connection.open(self.place.node or None)
        try:
            async with self._watched(lambda: link.close("it did nothing for too long")):
                while "gone" not in (frame := await link.get()).header:
                    self._receive_one(frame)
                self._waits = how = str(frame.header["gone"])
                if frame.header.get("outside"):
                    raise NotYet(how)
                # Of one that is silent its machine or the network may be to blame.
                return Death(how, outside=frame.header.get("silent", False))
        except NotYet as error:
            self._waits = str(error)
            raise
        finally:
            link.close()
            self._link = None
            self.placed = False
            self._know({})

    def _receive_one(self, frame: wire.Frame) -> None:
        header = frame.header
        if "pending" in header:
            self._last_message_at = time.monotonic()
            self.pending = True
            self._wait(header["pending"])
        elif "placed" in header:
            self._last_message_at = time.monotonic()
            self.placed, self.pending, self._waits = True, False, ""
        elif "actor" in header:
            actor = header["actor"]
            self._host, self._pid = actor["host"], actor["pid"]
            if actor["code"] != own_code():
                raise NotYet(OTHER_CODE)
            self._know(actor["models"])
        elif "models" in header:
            self._know(header["models"])
        else:
            if "ready" in header:
                self._waits = ""
            self._take(frame)

    def _know(self, models: Mapping[str, str]) -> None:
        self._theirs = models
        self.compare()

    def _wait(self, why: str) -> None:
        if why != self._waits:
            log.warning("%s waits: %s", self.name, why)
            self._waits = why
            self.on_change()


@lru_cache(1)
def own_code() -> str:
    """Return the hash of this machine's source of the engine."""
    from engine.executors.ray_actor import code

    return code()
