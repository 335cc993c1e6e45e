"""The process that is connected to Ray, with stand-ins for Ray's own state."""

import asyncio
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.device.figures import add_figures, figures_in
from engine.executors import ray_bridge, ray_connection, wire
from engine.executors.base import end_task
from engine.executors.config import EngineConfig
from engine.executors.ray_actor import of_this_machine
from engine.executors.ray_bridge import UNANSWERED, Bridge, Connect, Line, NoPlace, own_folder
from engine.executors.ray_connection import Connection, RaySettings, environment
from engine.executors.ray_executor import RayExecutor
from tests.conftest import PATIENCE

CONNECT = Connect(
    address="ray://head:10001",
    resources={"GPU": 1.0},
    silence=0.0,
    look=0.0,
    level=0,
    config={"pictures": None, "pictures_url": None, "notes": None},
)


class Sent:
    """Keep the frames that a bridge sends, as the writer of its socket."""

    def __init__(self) -> None:
        self.headers: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        receiving = wire.receive(reader)
        with pytest.raises(StopIteration) as end:
            receiving.send(None)
        self.headers.append(end.value.value.header)

    async def drain(self) -> None:
        """Do nothing: all is written."""


def make_bridge() -> tuple[Bridge, list[dict[str, Any]]]:
    sent = Sent()
    return Bridge(sent, CONNECT), sent.headers  # type: ignore[arg-type]


def method(call: Callable[[], Awaitable[Any]]) -> Any:
    return SimpleNamespace(remote=lambda *arguments: call())


async def never() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    pass


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
async def test_a_bridge_whose_client_gave_up_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bridge, sent = make_bridge()
    monkeypatch.setattr(bridge, "_join", lambda: None)  # Ray's client is not connected
    monkeypatch.setattr("os.dup2", lambda *descriptors: None)
    async with asyncio.timeout(60):
        await bridge.run(asyncio.StreamReader())
    assert sent[0] == {"connected": True}
    assert sent[-1] == {"failed": "the connection to Ray was lost for too long"}


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
async def test_an_engine_is_not_to_blame_for_a_connection_that_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bridge, sent = make_bridge()

    def make(node: str | None) -> None:
        raise ConnectionError("Ray Client is not connected. Please connect by calling `ray.init`")

    monkeypatch.setattr(bridge, "_make", make)
    bridge._take(wire.Frame({"engine": "engine 1", "open": None}))
    (line,) = bridge._lines.values()
    assert line.task
    await line.task
    assert sent == [
        {
            "engine": "engine 1",
            "gone": "the connection to Ray was lost for too long",
            "outside": True,
        }
    ]


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
async def test_a_bridge_ends_when_the_head_answers_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise OSError("away")

    bridge, _ = make_bridge()
    monkeypatch.setattr(ray_bridge, "is_connected", lambda address: True)
    monkeypatch.setattr(ray_bridge, "BEAT", -1.0)
    monkeypatch.setattr("ray.nodes", fail)
    assert await bridge._watch_nodes() == "Ray's head did not answer for 0 s"


async def test_what_was_measured_goes_to_every_engine() -> None:
    bridge, _ = make_bridge()
    line = bridge._lines["engine 1"] = Line()
    bridge._take(wire.Frame({"measured": {"a": 1}}))
    assert line.commands.get_nowait().header == {"measured": {"a": 1}}

    async def start(config: object, level: int, measured: object) -> object:
        return measured

    actor = SimpleNamespace(here=method(at_once), start=SimpleNamespace(remote=start))
    assert await bridge._started(actor) == {"a": 1}


async def test_what_an_engine_measured_first_is_kept_and_told_to_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_figures(tmp_path, {"a": 1}, keep=True)
    config = EngineConfig(notes=tmp_path)
    connection = Connection(
        config, RaySettings(), lambda nodes: None, lambda: None, backoff=lambda n: 0.0
    )
    sent: list[Any] = []
    monkeypatch.setattr(connection, "send", sent.append)
    reader = asyncio.StreamReader()
    for header in (
        {"connected": True},
        {"engine": "engine 1", "measured": {"a": 2, "b": 2}},
        {"failed": "it is over"},
    ):
        reader.feed_data(wire.Frame(header).to_bytes())
    assert await connection._receive(reader) == "it is over"
    assert sent == [{"measured": {"a": 1}}, {"measured": {"a": 1, "b": 2}}]
    assert figures_in(tmp_path) == {"a": 1, "b": 2}


def test_what_two_marbles_measure_lies_in_folders_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folders = []
    for data in ("/srv/one/engine", "/srv/two/engine"):
        config = EngineConfig(notes=Path(data)).to_dict()
        for _ in range(2):  # the same after each start
            told = {**config, "notes": own_folder(config["notes"])}
            folders.append(of_this_machine(told).notes)
    first, again, second, _ = folders
    assert first == again != second
    assert first
    assert first.parent == tmp_path / "marble" / "engine"
    monkeypatch.setattr("platform.node", lambda: "another-machine")
    assert own_folder("/srv/one/engine") != first.name


def test_without_a_connection_no_call_starts_a_cluster() -> None:
    settings = RaySettings(address="ray://head:10001")
    assert environment(settings)["RAY_ENABLE_AUTO_CONNECT"] == "0"


async def test_an_actor_that_hangs_in_its_start_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_bridge, "STARTING", 0.0)
    bridge, _ = make_bridge()
    with pytest.raises(TimeoutError):
        await bridge._started(SimpleNamespace(here=method(at_once), start=method(never)))


NODE = {"NodeID": "n1", "NodeManagerHostname": "h", "Resources": {"GPU": 8.0}}


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, float]]:
    """Return what Ray says to be free, by machine."""
    said = {"n1": {"GPU": 5.0}}

    async def find_free(address: str) -> dict[str, dict[str, float]]:
        if not said:
            raise AttributeError("no available_resources_per_node")
        return dict(said)

    monkeypatch.setattr(ray_bridge, "find_free", find_free)
    return said


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
async def test_what_an_engine_got_since_ray_was_asked_is_not_free(
    monkeypatch: pytest.MonkeyPatch, free: dict[str, dict[str, float]]
) -> None:
    bridge, sent = make_bridge()
    starts = asyncio.Event()

    async def start() -> None:
        starts.set()
        await never()

    actor = SimpleNamespace(here=method(at_once), start=method(start))
    monkeypatch.setattr(bridge, "_make", lambda node: actor)
    monkeypatch.setattr("ray.kill", lambda actor: None)
    await bridge._look_what_is_free()
    executor = RayExecutor(EngineConfig())
    async with executor:
        executor._follow([bridge._describe(NODE)])
        assert len(executor._places) == 5  # others use 3
        bridge._take(wire.Frame({"engine": "engine 1", "open": "n1"}))
        async with asyncio.timeout(PATIENCE):
            await starts.wait()
        assert sent == [{"engine": "engine 1", "placed": True}]
        executor._engine("h-n1/0").placed = True
        assert bridge._describe(NODE)["free"] == {"GPU": 4.0}
        executor._follow([bridge._describe(NODE)])
        assert len(executor._places) == 5
        monkeypatch.setattr(ray_bridge, "BEHIND", -60.0)  # what Ray says now has it
        free["n1"] = {"GPU": 4.0}
        assert bridge._describe({**NODE, "NodeID": "n2"})["free"] == {"GPU": 8.0}
        await bridge._look_what_is_free()
        assert bridge._describe(NODE)["free"] == {"GPU": 4.0}
        executor._follow([bridge._describe(NODE)])
        assert len(executor._places) == 5
    (line,) = bridge._lines.values()
    assert line.task
    await end_task(line.task)


async def test_what_was_free_is_forgotten_where_ray_says_no_more_of_it(
    free: dict[str, dict[str, float]], caplog: pytest.LogCaptureFixture
) -> None:
    bridge, _ = make_bridge()
    await bridge._look_what_is_free()
    assert bridge._describe(NODE)["free"] == {"GPU": 5.0}
    assert bridge._describe({**NODE, "NodeID": "new"})["free"] == {"GPU": 8.0}
    free.clear()
    told = []
    for _ in range(UNANSWERED + 1):
        await bridge._look_what_is_free()
        told.append(bridge._describe(NODE)["free"]["GPU"])
    assert told == [5.0] * (UNANSWERED - 1) + [8.0] * 2
    free["n1"] = {"GPU": 2.0}
    await bridge._look_what_is_free()
    assert bridge._describe(NODE)["free"] == {"GPU": 2.0}
    assert [record.message for record in caplog.records] == [
        "Ray does not say what is free on its machines: no available_resources_per_node"
    ]  # once


async def test_an_actor_without_a_place_is_asked_for_anew_after_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_bridge, "PLACING", 0.0)
    bridge, _ = make_bridge()
    with pytest.raises(NoPlace, match="has GPU: 1 free"):
        await bridge._placed(SimpleNamespace(here=method(never)), lambda header: None)


async def test_a_header_of_an_actor_does_not_name_its_engine() -> None:
    bridge, sent = make_bridge()
    bridge._tell("engine 1", {"counts": {}, "engine": "engine 2"})
    assert sent == [{"counts": {}, "engine": "engine 1"}]


async def test_an_unexpected_error_does_not_end_the_attempts_to_connect(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []
    again = asyncio.Event()

    def fail(*arguments: object) -> None:
        tries.append(len(tries))
        if len(tries) == 3:
            again.set()
        raise KeyError("resources")

    monkeypatch.setattr(ray_connection, "spawn", fail)
    connection = Connection(
        EngineConfig(), RaySettings(), lambda nodes: None, lambda: None, backoff=lambda n: 0.0
    )
    running = asyncio.create_task(connection.run())
    async with asyncio.timeout(60):
        await again.wait()
    assert connection.reason == "an unexpected error ended it ('resources')"
    await end_task(running)
    told = [each.message for each in caplog.records if each.message.startswith("no connection")]
    assert told == [
        "no connection to Ray: an unexpected error ended it ('resources'); it is tried again "
        "until there is one"
    ]  # once, however often it is tried
