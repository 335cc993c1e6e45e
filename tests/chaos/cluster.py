"""A Ray cluster of three nodes for a run of chaos, and what breaks in it.

The head has no engine; each other node has one. Marble draws there, so what is called the engine in
other runs, the process that `marble serve` has started, is the one that is connected to Ray.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.engine.executors.clusters import QUIET, RESOURCE, add_node, ray_nodes

WORKERS: Final = 2
GIVEN_UP: Final = 10.0  # seconds in which a node that goes on hears that it was given up, and ends
WEIGHTS: Final[Mapping[str, int]] = {  # how often each breaks, beside each other
    "actor killed": 4,
    "actor halted": 2,
    "node killed": 3,
    "node halted": 2,
    "kill -9 of the engine": 2,
    "kill -9 of the service": 2,
    "SIGTERM": 1,
    "service halted": 1,
    "network refused": 2,
    "answers lost": 2,
    "server errors": 2,
    "gateway disconnected": 1,
}


@dataclass(eq=False)
class Machines:
    """Hold the nodes of a cluster; blocking calls are made in a thread."""

    nodes: Any
    workers: list[Any] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings with which Marble draws there."""
        return {
            **QUIET,
            "MARBLE_EXECUTOR": "ray",
            "MARBLE_DEVICE": "cpu",
            "MARBLE_RAY_ADDRESS": self.nodes.address,
            "MARBLE_RAY_RESOURCES": json.dumps({RESOURCE: 1}),
        }

    def add(self) -> None:
        """Add a node with an engine; blocks."""
        self.workers.append(add_node(self.nodes))

    def kill(self, chance: Random) -> None:
        """Kill a node with all its processes; blocks."""
        if self.workers:
            node = self.workers.pop(chance.randrange(len(self.workers)))
            self.nodes.remove_node(node, False)

    def replace(self, node: Any) -> None:
        """Put another node in the place of one that has ended; blocks."""
        if node in self.workers:
            self.workers.remove(node)
            self.nodes.remove_node(node, False)
            self.add()

    def actors(self) -> list[int]:
        """Return the processes of the engines."""
        raylets = [pid for node in self.workers for pid in _raylets(node)]
        return [pid for raylet in raylets for pid in _children(raylet, "-f", "^ray::Engine")]

    async def strike(self, chance: Random, how: signal.Signals) -> int | None:
        """Send a signal to one of the engines, and return its process."""
        actors = await asyncio.to_thread(self.actors)
        if not actors:
            return None
        actor = chance.choice(actors)
        _signal([actor], how)
        return actor


@contextmanager
def machines(folder: Path) -> Iterator[Machines]:
    """Yield a cluster of three nodes, whose engines write below a folder only."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        with ray_nodes() as nodes:
            found = Machines(nodes)
            for _ in range(WORKERS):
                found.add()
            yield found
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


async def kill_actor(found: Machines, chance: Random, seconds: float) -> None:
    await found.strike(chance, signal.SIGKILL)


async def halt_actor(found: Machines, chance: Random, seconds: float) -> None:
    """Halt an engine for a while; Marble may have given it up by then."""
    if actor := await found.strike(chance, signal.SIGSTOP):
        await asyncio.sleep(seconds)
        _signal([actor], signal.SIGCONT)


async def kill_node(found: Machines, chance: Random, seconds: float) -> None:
    """Kill a node, and add another one after a while."""
    await asyncio.to_thread(found.kill, chance)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(found.add)


async def halt_node(found: Machines, chance: Random, seconds: float) -> None:
    """Halt a node for a while, as if its network were cut; one that Ray gave up is replaced."""
    if not found.workers:
        return
    node = chance.choice(found.workers)
    raylets = _raylets(node)
    halted = [*raylets]
    for raylet in raylets:
        halted += await asyncio.to_thread(_children, raylet)
    _signal(halted, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    _signal(halted, signal.SIGCONT)
    await asyncio.sleep(GIVEN_UP)
    if not _raylets(node):
        await asyncio.to_thread(found.replace, node)


def _raylets(node: Any) -> list[int]:
    """Return the process that is a node, unless it has ended."""
    there = [each.process for each in node.all_processes.get("raylet", ())]
    return [process.pid for process in there if process.poll() is None]


def _children(process: int, *filters: str) -> list[int]:
    command = ["pgrep", "-P", str(process), *filters]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(line) for line in said.stdout.split()]


def _signal(processes: list[int], how: signal.Signals) -> None:
    for each in processes:
        with suppress(ProcessLookupError):
            os.kill(each, how)


FAULTS: Final[Mapping[str, Callable[[Machines, Random, float], Awaitable[None]]]] = {
    "actor killed": kill_actor,
    "actor halted": halt_actor,
    "node killed": kill_node,
    "node halted": halt_node,
}
