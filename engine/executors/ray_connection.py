"""The connection to a Ray cluster: a process of its own (`engine.executors.ray_bridge`).

It is started again, after a growing wait, whenever it ends or does not answer, so that Ray may be
gone for an hour; `Connection.reason` says why there is none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from engine.device.figures import Figures, add_figures, figures_in
from engine.errors import first_line
from engine.executors import wire
from engine.executors.child import end, spawn
from engine.executors.config import EngineConfig
from engine.executors.ray_errors import no_answer

log = logging.getLogger(__name__)

STARTING: Final = 90.0  # seconds to start a cluster here
CONNECTING: Final = 45.0  # seconds to connect to one
SILENCE: Final = 60.0  # seconds without a sign of life: of the bridge, or of an actor
BEATING: Final = 15.0  # seconds that the bridge, which beats every 5 s, may be silent at least
LOOK: Final = 5.0  # seconds between two looks at the cluster's machines
LEAVING: Final = 8.0  # seconds for the bridge to leave the cluster
LOCAL: Final = "local"  # the address of a cluster that is started here
MODE: Final = "RAY_AUTH_MODE"
TOKEN: Final = "RAY_AUTH_TOKEN"
TOKEN_PATH: Final = "RAY_AUTH_TOKEN_PATH"

Nodes = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """Where the cluster is, how many engines it runs (None: as fit), and what each one takes."""

    address: str = LOCAL
    engines: int | None = None
    resources: Mapping[str, float] = field(default_factory=lambda: {"GPU": 1.0})

    @property
    def is_loopback(self) -> bool:
        """Return whether nobody but this machine is talked to, as far as the address tells."""
        if self.address == LOCAL:
            return True
        host = self.address.removeprefix("ray://").rpartition(":")[0].strip("[]")
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


class Connection:
    """Keeps the bridge running.

    on_nodes: called with the cluster's machines after each look at them, changed or not; on_change:
    called when `reason` has changed. silence, look: see `LOOK` and `SILENCE`.
    """

    def __init__(
        self,
        config: EngineConfig,
        settings: RaySettings,
        on_nodes: Callable[[Nodes], None],
        on_change: Callable[[], None],
        *,
        backoff: Callable[[int], float],
        silence: float = SILENCE,
        look: float = LOOK,
    ) -> None:
        self.reason: str | None = None  # why there is no connection
        self.connected = asyncio.Event()
        self.pid: int | None = None  # of the bridge
        self._config = config
        self.settings = settings
        self._on_nodes = on_nodes
        self._on_change = on_change
        self._backoff = backoff
        self._silence = silence
        self._look = look
        self._links: dict[str, Link] = {}
        self._opened = 0
        self._writer: asyncio.StreamWriter | None = None

    def open(self, node: str | None) -> Link:
        """Ask for an actor on a machine, and return the way to it.

        It has a name that none had before: nothing is taken any more from one that was given up.
        """
        self._opened += 1
        name = f"engine {self._opened}"
        link = self._links[name] = Link(name, self)
        self.send({"open": node, "engine": name})
        return link

    def send(self, header: Mapping[str, Any]) -> None:
        """Send a frame to the bridge, if there is one."""
        if self._writer and not self._writer.is_closing():
            self._writer.write(wire.Frame(header).to_bytes())

    def forget(self, name: str) -> None:
        """Refuse what an actor still sends, and end it."""
        if self._links.pop(name, None):
            self.send({"close": True, "engine": name})

    async def run(self) -> None:
        """Stay connected until cancelled."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                why = await self._connect_once()
            except OSError as error:
                why = f"no process can be started for Ray: {error}"
            except Exception as error:
                log.exception("an unexpected error ended the connection to Ray")
                why = f"an unexpected error ended it ({first_line(error)})"
            failures = 1 if time.monotonic() - began > STARTING else failures + 1
            wait = self._backoff(failures)
            level = logging.DEBUG if why == self.reason else logging.WARNING
            log.log(level, "no connection to Ray: %s; it is tried again until there is one", why)
            self._say(why)
            await asyncio.sleep(wait)

    async def _connect_once(self) -> str:
        """Connect, and pass frames on until the bridge ends; return why it did."""
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        why = "the process that was connected to Ray has ended"
        try:
            with theirs:
                bridge = spawn("engine.executors.ray_bridge", theirs, environment(self.settings))
        except BaseException:
            writer.close()
            raise
        self.pid, self._writer = bridge.pid, writer
        try:
            with closing(writer):
                self.send({"connect": self._how()})
                why = await self._receive(reader)
        except TimeoutError:
            why = (
                "the process that is connected to Ray does not answer"
                if self.connected.is_set()
                else no_answer(self.settings.address)
            )
            bridge.kill()
        except (EOFError, ConnectionError):
            pass
        finally:
            self._writer = self.pid = None
            self.connected.clear()
            for link in [*self._links.values()]:
                link.put(wire.Frame({"gone": why, "outside": True}))
            self._links.clear()
            await asyncio.shield(_end_in_good_order(bridge))
        return why

    async def _receive(self, reader: asyncio.StreamReader) -> str:
        """Pass frames on; return why there is no connection. Raises `TimeoutError`, `EOFError`."""
        patience = STARTING if self.settings.address == LOCAL else CONNECTING
        while True:
            async with asyncio.timeout(patience):
                header, payload = await wire.receive(reader)
            if "engine" in header:
                if "measured" in header:
                    self._share(header["measured"])
                elif link := self._links.get(header["engine"]):
                    link.put(wire.Frame(header, payload))
            elif "nodes" in header:
                self._say(None)
                self._on_nodes(header["nodes"])
            elif "connected" in header:
                log.info("connected to Ray")
                patience = max(self._silence, BEATING)
                self.send({"measured": figures_in(self._config.notes)})
                self.connected.set()
            elif "log" in header:
                name, level, text = header["log"]
                logging.getLogger(name).log(level, "%s", text)
            elif "failed" in header:
                return str(header["failed"])

    def _share(self, measured: Figures) -> None:
        """Keep what an engine measured first, and tell all engines."""
        if folder := self._config.notes:
            try:
                add_figures(folder, measured, keep=True)
            except OSError as error:
                log.warning("measurements cannot be saved (%s)", error.strerror)
            self.send({"measured": figures_in(folder)})

    def _how(self) -> dict[str, Any]:
        return {
            "address": self.settings.address,
            "resources": dict(self.settings.resources),
            "silence": self._silence,
            "look": self._look,
            "level": log.getEffectiveLevel(),
            "config": self._config.to_dict(),
        }

    def _say(self, reason: str | None) -> None:
        if reason != self.reason:
            self.reason = reason
            self._on_change()


class Link:
    """The way to one actor: its frames come in here, until it is closed."""

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self._connection = connection
        self._frames: asyncio.Queue[wire.Frame] = asyncio.Queue()

    def put(self, frame: wire.Frame) -> None:
        """Add a frame of the actor."""
        self._frames.put_nowait(frame)

    async def get(self) -> wire.Frame:
        """Return the next frame."""
        return await self._frames.get()

    def send(self, header: Mapping[str, Any]) -> None:
        """Send a command to the actor."""
        self._connection.send({**header, "engine": self.name})

    def close(self, how: str = "") -> None:
        """End the actor; how: for who waits for its next frame."""
        self._connection.forget(self.name)
        if how:
            self.put(wire.Frame({"gone": how}))


async def _end_in_good_order(bridge: subprocess.Popen[bytes]) -> None:
    """Wait until the bridge has left the cluster, which it does when its socket closes."""
    with suppress(subprocess.TimeoutExpired):
        await asyncio.to_thread(bridge.wait, LEAVING)
    await end(bridge)


def environment(settings: RaySettings) -> dict[str, str]:
    """Return the environment of the bridge.

    Ray uses a token where this machine has one, unless the environment says otherwise. A cluster
    that is started here has one in any case.
    """
    # Without a connection, Ray's calls would start a cluster of their own.
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_AUTO_CONNECT": "0"}
    if MODE in os.environ or settings.address == LOCAL or not has_token():
        return quiet
    return {**quiet, MODE: "token"}


def has_token() -> bool:
    """Whether this machine has a token for a cluster, where Ray looks for it."""
    if os.environ.get(TOKEN):
        return True
    path = os.environ.get(TOKEN_PATH) or Path.home() / ".ray" / "auth_token"
    return Path(path).is_file()
