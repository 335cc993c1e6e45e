"""The process that is connected to a Ray cluster: it passes frames between Marble and its actors.

python -m engine.executors.ray_bridge FD

Ray's calls may block, its libraries print and may end their process when a cluster is gone: none of
that reaches the process that serves. What ends this process ends its actors, too. Frames of an
engine bear its name; the others are about the connection:

    in   {"connect": …}
         {"engine": E, "open": …}  {"engine": E, "run": …}  {"engine": E, "cancel": …}
         {"engine": E, "close": true}  {"measured": …}
    out  {"connected": …}  {"failed": why}  {"nodes": […]}  {"beat": true}
         {"engine": E, "pending": why}  {"engine": E, "placed": true}  {"engine": E, "actor": …}
         {"engine": E, "gone": why}
         and an engine's own frames
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

from engine.errors import MissingPicture, PicturesAway, first_line
from engine.executors import wire
from engine.executors.ray_errors import how_it_ended, is_outside, why_not
from engine.files.bucket import open_store
from engine.spec import Spec

log = logging.getLogger("engine.executors.ray_bridge")  # it runs as `__main__`

BEAT: Final = 5.0  # seconds between two signs of life: of this process, and of an actor
PENDING: Final = 10.0  # seconds after which an actor that has no place is told
PLACING: Final = 600.0  # seconds after which an actor without a place is asked for anew
STARTING: Final = 600.0  # seconds for an actor to start, which reads all headers of its models
PRINTED: Final = 2**20  # bytes of what Ray prints while it connects that are looked at
KNOCKING: Final = 5.0  # seconds to connect to an address
PICTURES: Final = 30.0  # seconds for which pictures are asked for while their store is away
CLOSING: Final = 5.0  # seconds to leave the cluster, or to end one that was started here
ORDINARY: Final = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
UNANSWERED: Final = 6  # looks without an answer after which what Ray said to be free is forgotten
BEHIND: Final = 1.0  # seconds by which what Ray tells of its machines may be behind
CUT_OFF: Final = "the connection to Ray was lost for too long"
LOCAL_STORE: Final = 500_000_000  # bytes of the object store of a cluster that is started here


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """What a connection needs: where to, what an engine takes, and how long to wait.

    address: as `MARBLE_RAY_ADDRESS`; resources: of one engine; silence: seconds without an answer
    after which an actor is given up; look: seconds between two looks at the cluster's machines.
    """

    address: str
    resources: Mapping[str, float]
    silence: float
    look: float
    level: int
    config: Mapping[str, Any]


@dataclass(slots=True)
class Line:
    """The way to one actor: commands that wait to be sent, and the task that talks with it.

    node: the machine that was asked for; placed_at: since when the actor has its place there.
    """

    node: str | None = None
    placed_at: float | None = None
    commands: asyncio.Queue[wire.Frame] = field(default_factory=asyncio.Queue)
    task: asyncio.Task[None] | None = None


class NoPlace(Exception):
    """Say that an actor got no place for long; another one is asked for."""


class Bridge:
    """Connects to Ray, and keeps a task for each engine."""

    def __init__(self, writer: asyncio.StreamWriter, connect: Connect) -> None:
        self._writer = writer
        self._connect = connect
        self._lines: dict[str, Line] = {}
        self._measured: dict[str, Any] = {}  # what is known of calls' costs
        self._free: Mapping[str, Mapping[str, float]] = {}  # by machine, of those that are known
        self._asked_at = 0.0  # when Ray was asked for that
        self._unanswered = 0  # looks since then
        folder, url = connect.config["pictures"], connect.config["pictures_url"]
        self._pictures = open_store(Path(folder) if folder else None, url)

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Send a frame to the process that serves."""
        self._writer.write(wire.Frame(header, payload).to_bytes())

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Connect, then take commands until the other end closes; an error ends the process."""
        with TemporaryFile() as printed:
            # Some of what is wrong Ray only prints. Later it may print much, which is in its logs.
            os.dup2(printed.fileno(), sys.stderr.fileno())
            try:
                await asyncio.to_thread(self._join)
            except Exception as error:
                printed.seek(0)
                text = printed.read(PRINTED).decode(errors="replace")
                self.send({"failed": why_not(error, self._connect.address, text)})
                await self._writer.drain()
                return
            finally:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        self.send({"connected": True})
        beats = asyncio.create_task(self._beat(), name="beat")
        nodes = asyncio.create_task(self._watch_nodes(), name="nodes")
        commands = asyncio.create_task(self._take_all(reader), name="commands")
        tasks = (beats, nodes, commands)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in tasks:
            each.cancel()
        if nodes.done() and not nodes.cancelled():
            self.send({"failed": nodes.result()})
            await self._writer.drain()

    async def _take_all(self, reader: asyncio.StreamReader) -> None:
        with suppress(EOFError, ConnectionError):
            while True:
                self._take(await wire.receive(reader))

    def _join(self) -> None:
        import ray

        address = self._connect.address
        knock(address)
        more: dict[str, Any] = {}
        if address == "local":
            more = {"include_dashboard": False, "object_store_memory": LOCAL_STORE}
            more["resources"] = {
                name: total
                for name, total in self._connect.resources.items()
                if name not in ORDINARY
            }
        ray.init(
            address=address,
            configure_logging=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **more,
        )

    async def _beat(self) -> None:
        while True:
            self.send({"beat": True})
            await asyncio.sleep(BEAT)

    async def _watch_nodes(self) -> str:
        """Tell of the cluster's machines, and what is free there, now and then.

        Returns why there is no connection any more: Ray's client does not connect again once it
        has given up, and another process has to.
        """
        import ray

        away = False
        answered = time.monotonic()
        while True:
            if not is_connected(self._connect.address):
                return CUT_OFF
            try:
                async with asyncio.timeout(BEAT):
                    found = await asyncio.to_thread(ray.nodes)
            except Exception as error:  # Ray's head is away, and may come back
                if not away:
                    log.warning("Ray's head does not answer (%s)", first_line(error))
                away = True
                if time.monotonic() - answered > self._connect.silence + BEAT:
                    return f"Ray's head did not answer for {self._connect.silence:.0f} s"
            else:
                away = False
                answered = time.monotonic()
                await self._look_what_is_free()
                self.send({"nodes": [self._describe(node) for node in found if node["Alive"]]})
            await asyncio.sleep(self._connect.look)

    async def _look_what_is_free(self) -> None:
        """Ask Ray; what it said before stands for some looks in which it does not answer."""
        asked_at = time.monotonic()
        try:
            async with asyncio.timeout(BEAT):
                self._free = await find_free(self._connect.address)
        except Exception as error:
            self._unanswered += 1
            if self._unanswered == 1:
                log.warning("Ray does not say what is free on its machines: %s", first_line(error))
            if self._unanswered == UNANSWERED:
                self._free = {}
        else:
            self._asked_at, self._unanswered = asked_at, 0

    def _describe(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Return a machine as it is told: of its resources, those that an engine takes.

        What Ray does not say to be in use counts as free, but for what engines got since then.
        """
        total, name = node["Resources"], node["NodeID"]
        free = self._free.get(name, total)
        since = self._asked_at - BEHIND
        new = [
            each
            for each in self._lines.values()
            if each.node == name and each.placed_at is not None and each.placed_at > since
        ]
        wanted = self._connect.resources
        return {
            "id": name,
            "host": node["NodeManagerHostname"],
            "resources": {each: total.get(each, 0.0) for each in wanted},
            "free": {
                each: max(0.0, free.get(each, 0.0) - len(new) * number)
                for each, number in wanted.items()
            },
        }

    def _take(self, frame: wire.Frame) -> None:
        header = frame.header
        if "measured" in header:
            self._measured = header["measured"]
            for each in self._lines.values():
                each.commands.put_nowait(frame)
            return
        name = header["engine"]
        if "open" in header:
            line = self._lines[name] = Line(node=header["open"])
            line.task = asyncio.create_task(self._keep(name, line), name=name)
        elif "close" in header:
            if (ended := self._lines.pop(name, None)) and ended.task:
                ended.task.cancel()
        elif name in self._lines:
            self._lines[name].commands.put_nowait(frame)

    async def _keep(self, name: str, line: Line) -> None:
        """Make an actor, talk with it until it ends or is given up, and end it."""
        import ray

        tell = partial(self._tell, name)
        actor = None
        try:
            actor = await asyncio.to_thread(self._make, line.node)
            await self._placed(actor, tell)
            line.placed_at = time.monotonic()
            tell({"placed": True})
            tell({"actor": await self._started(actor)})
            sending = asyncio.create_task(self._send_commands(actor, line), name=f"{name} commands")
            receiving = asyncio.create_task(self._receive(actor, tell), name=f"{name} frames")
            try:
                done, _ = await asyncio.wait(
                    (sending, receiving), return_when=asyncio.FIRST_COMPLETED
                )
                done.pop().result()  # raises how it ended
            finally:
                sending.cancel()
                receiving.cancel()
        except NoPlace as error:
            tell({"gone": str(error), "outside": True})
        except TimeoutError:
            tell({"gone": f"it did not answer for {self._connect.silence:.0f} s", "silent": True})
        except Exception as error:
            if is_connected(self._connect.address):
                tell({"gone": how_it_ended(error), "outside": is_outside(error)})
            else:
                tell({"gone": CUT_OFF, "outside": True})
        finally:
            self._lines.pop(name, None)
            if actor is not None:
                with suppress(Exception):
                    await asyncio.shield(asyncio.to_thread(ray.kill, actor))

    def _tell(self, name: str, header: dict[str, Any], payload: bytes = b"") -> None:
        self.send({**header, "engine": name}, payload)

    def _make(self, node: str | None) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from engine.executors.ray_actor import Engine

        wanted = self._connect.resources
        options: dict[str, Any] = {ORDINARY[key]: n for key, n in wanted.items() if key in ORDINARY}
        options["resources"] = {key: n for key, n in wanted.items() if key not in ORDINARY}
        if node:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        # The database alone decides what runs again.
        kept = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 8}
        return ray.remote(Engine).options(**{"num_cpus": 0, **options, **kept}).remote()

    async def _placed(self, actor: Any, tell: Any) -> None:
        """Wait until an actor has a place, where its process runs; say so while it has none."""
        wanted = ", ".join(f"{key}: {n:g}" for key, n in self._connect.resources.items())
        why = f"no machine of the Ray cluster has {wanted} free"
        placing = asyncio.ensure_future(_value(actor.here.remote()))
        try:
            async with asyncio.timeout(PLACING):
                while not (await asyncio.wait((placing,), timeout=PENDING))[0]:
                    tell({"pending": why})
            placing.result()
        except TimeoutError:
            raise NoPlace(why) from None
        finally:
            placing.cancel()

    async def _started(self, actor: Any) -> Any:
        """Wait until an actor that has a place has started; return what it tells.

        Raises `TimeoutError` where it starts for too long, or does not answer meanwhile.
        """
        # An engine is given the pictures that it starts from, and no key to where they are.
        config = {**self._connect.config, "pictures": None, "pictures_url": None}
        config["notes"] = config["notes"] and own_folder(config["notes"])
        start = actor.start.remote(config, self._connect.level, self._measured)
        starting = asyncio.ensure_future(_value(start))
        try:
            async with asyncio.timeout(STARTING):
                while not (await asyncio.wait((starting,), timeout=PENDING))[0]:
                    await self._ask(actor.here)
            return starting.result()
        finally:
            starting.cancel()

    async def _send_commands(self, actor: Any, line: Line) -> None:
        number = 0
        while True:
            header, _ = await line.commands.get()
            number += 1
            pictures = {}
            if "run" in header:
                names = Spec.from_dict(header["run"]).recipe.inputs
                pictures = await asyncio.to_thread(self._read, names)
            await self._ask(actor.command, number, dict(header), pictures)

    def _read(self, names: Iterable[str]) -> dict[str, bytes]:
        found = {}
        until = time.monotonic() + PICTURES
        for name in names:
            while name not in found:
                try:
                    found[name] = self._pictures.read(name)
                except MissingPicture:  # the engine says so itself
                    break
                except PicturesAway as error:
                    if time.monotonic() >= until:
                        log.warning("%s", error.detail)
                        break
                    time.sleep(1)
        return found

    async def _receive(self, actor: Any, tell: Any) -> None:
        received = 0
        while True:
            frames = await self._ask(actor.frames, received, BEAT)
            received += len(frames)
            for header, payload in frames:
                tell(dict(header), payload)
            await self._writer.drain()

    async def _ask(self, method: Any, *arguments: Any) -> Any:
        """Call a method of an actor; again while its machine cannot be reached, for so long.

        Raises `TimeoutError` where no answer comes.
        """
        from ray.exceptions import ActorUnavailableError

        until = time.monotonic() + self._connect.silence + BEAT
        while True:
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    return await _value(method.remote(*arguments))
            except ActorUnavailableError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.5)


async def _value(reference: Any) -> Any:
    return await reference


def is_connected(address: str) -> bool:
    """Whether Ray is still connected, or its client may yet connect again by itself."""
    if address.startswith("ray://"):
        from ray.util.client import ray as client

        return bool(client.is_connected())
    import ray

    return bool(ray.is_initialized())


async def find_free(address: str) -> Mapping[str, Mapping[str, float]]:
    """Return what of each machine's resources nobody uses, by the machine's id."""
    if address.startswith("ray://"):  # whose client knows only the sum
        return dict(await _value(_asking_there().remote()))
    return await asyncio.to_thread(free_resources)


@cache
def _asking_there() -> Any:
    import ray

    return ray.remote(num_cpus=0)(free_resources)


def free_resources() -> dict[str, dict[str, float]]:
    """Return the same, in a process that is part of the cluster."""
    from ray._private.state import available_resources_per_node

    return dict(available_resources_per_node())


def own_folder(notes: str) -> str:
    """Return the name of the folder in which machines keep what this Marble's engines measured.

    What another Marble measured is not used: the bits of pictures follow from it.
    """
    return hashlib.sha256(f"{platform.node()}:{notes}".encode()).hexdigest()[:12]


def knock(address: str) -> None:
    """Raise `OSError` where nothing listens at an address, for which Ray would wait long."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCKING).close()


async def main(descriptor: int) -> None:
    """Pass frames until the process that serves has gone."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    os.set_inheritable(descriptor, False)
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    first = (await wire.receive(reader)).header["connect"]
    connect = Connect(**first)
    bridge = Bridge(writer, connect)
    logging.basicConfig(
        level=connect.level, handlers=[_Records(bridge)], format=wire.BARE, force=True
    )
    logging.getLogger("ray").setLevel(logging.ERROR)
    await bridge.run(reader)
    with suppress(Exception):
        async with asyncio.timeout(CLOSING):
            await asyncio.to_thread(_leave)


def _leave() -> None:
    import ray

    ray.shutdown()


class _Records(logging.Handler):
    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge
        self._asyncio = asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        header = {"log": [record.name, record.levelno, self.format(record)]}
        self._asyncio.call_soon_threadsafe(self._bridge.send, header)


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main(int(sys.argv[1])))
    os._exit(0)  # threads that wait for Ray do not hold it up
