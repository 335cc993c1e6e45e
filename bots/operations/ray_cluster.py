"""Where a Ray cluster is, and what `marble doctor` says of it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Final

from bots.operations.doctor import Finding, State
from bots.operations.settings import Settings
from engine.executors.base import end_task
from engine.executors.config import EngineConfig
from engine.executors.ray_connection import LOCAL, MODE, Connection, Nodes, RaySettings, has_token
from engine.executors.ray_errors import no_answer, ray_at
from engine.executors.ray_executor import no_room, room_on

PATIENCE: Final = 60.0  # seconds for a cluster to tell of its machines
INSTALL: Final = "`pip install 'marble[ray]'`"
TOKEN_CURE: Final = (
    "run `ray get-auth-token --generate` on the head, copy ~/.ray/auth_token to every machine, and "
    "start Ray everywhere with RAY_AUTH_MODE=token (docs/scaling.md)"
)


def ray_settings(settings: Settings) -> RaySettings:
    """Return where the Ray cluster is, and what an engine takes of it."""
    return RaySettings(
        address=settings.ray_address,
        engines=settings.ray_engines,
        resources=settings.ray_resources,
    )


async def check_ray(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the token, and at the cluster's machines."""
    if find_spec("ray") is None:
        yield Finding("ray", State.BAD, "Ray is not installed", INSTALL)
        return
    ray = ray_settings(settings)
    if not ray.is_loopback:
        yield look_at_token(ray)
    if ray.address == LOCAL:
        yield Finding("ray", State.GOOD, "a cluster is started on this machine with the first job")
    else:
        yield await _look_at_machines(settings, ray)


def look_at_token(ray: RaySettings) -> Finding:
    """Return whether a token keeps others away from a cluster."""
    mode = os.environ.get(MODE, "").lower()
    if has_token() and mode in ("", "token"):
        return Finding("ray", State.GOOD, f"a token is used to talk to {ray_at(ray.address)}")
    what = f"{MODE} is {mode}" if has_token() else "this machine has no token for it"
    who = f"whoever reaches {ray_at(ray.address)}"
    text = f"{who} may run code on the cluster's machines ({what})"
    return Finding("ray", State.POOR, text, TOKEN_CURE)


async def _look_at_machines(settings: Settings, ray: RaySettings) -> Finding:
    found: list[Nodes] = []
    changed = asyncio.Event()

    def on_nodes(nodes: Nodes) -> None:
        found.append(nodes)
        changed.set()

    connection = Connection(
        EngineConfig(models_dir=settings.models_dir),
        ray,
        on_nodes,
        changed.set,
        backoff=lambda failures: PATIENCE,
    )
    running = asyncio.create_task(connection.run(), name="marble-ray")
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not found and not connection.reason:
                changed.clear()
                await changed.wait()
    await end_task(running)
    if not found:
        return Finding("ray", State.BAD, connection.reason or no_answer(ray.address))
    rooms: Counter[str] = Counter()
    free: Counter[str] = Counter()
    for node in found[0]:
        rooms[node["host"]] += room_on(node["resources"], ray.resources)
        free[node["host"]] += room_on(node["free"], ray.resources)
    if not rooms.total():
        return Finding("ray", State.BAD, no_room(found[0], ray.resources))
    each = ", ".join(f"{host} ({n}, {free[host]} free)" for host, n in sorted(rooms.items()))
    return Finding("ray", State.GOOD, f"{ray_at(ray.address)} has room for engines: {each}")
