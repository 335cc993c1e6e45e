"""Parts of what draws on a Ray cluster, without one."""

import asyncio
import importlib.util
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.device.figures import add_figures, figures_in
from engine.errors import MissingPicture, SettingError
from engine.events import Key
from engine.executors import wire
from engine.executors.choose import make_executor
from engine.executors.config import EngineConfig
from engine.executors.ray_actor import Engine, GivenPictures, Outbox, code, of_this_machine
from engine.executors.ray_connection import RaySettings, environment
from engine.executors.ray_errors import how_it_ended, why_not
from engine.executors.ray_executor import RayExecutor, room_on
from engine.models.catalogue import STARTER_FOLDER


def frames(*numbers: int) -> list[wire.Frame]:
    return [wire.Frame({"counts": {"ticks": number}}) for number in numbers]


async def test_frames_are_kept_until_they_were_received() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    assert await outbox.after(0, patience=0) == []
    for frame in frames(1, 2, 3):
        outbox.send(frame)
    await asyncio.sleep(0)
    assert await outbox.after(0, patience=60) == frames(1, 2, 3)
    assert await outbox.after(2, patience=60) == frames(3)
    assert await outbox.after(2, patience=60) == frames(3)  # the answer may have been lost
    assert await outbox.after(3, patience=0) == []


async def test_log_records_are_frames_and_left_out_where_there_is_no_room() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    for number in range(300):
        outbox.emit(logging.LogRecord("a", logging.INFO, "", 0, f"{number}", (), None))
    await asyncio.sleep(0)
    found = await outbox.after(0, patience=0)
    assert found[0] == wire.Frame({"log": ["a", logging.INFO, "0"]})
    assert len(found) == 256


def test_pictures_are_kept_while_a_job_needs_them() -> None:
    pictures = GivenPictures()
    pictures.keep(Key(1, 1), {"a": b"A", "b": b"B"})
    pictures.keep(Key(2, 1), {"b": b"B"})
    pictures.drop(Key(1, 1))
    assert pictures.read("b") == b"B"
    with pytest.raises(MissingPicture):
        pictures.read("a")
    pictures.drop(Key(2, 1))
    with pytest.raises(MissingPicture):
        pictures.read("b")


def test_a_picture_that_comes_again_while_it_is_dropped_stays() -> None:
    pictures = GivenPictures()
    coming = threading.Thread(target=pictures.keep, args=(Key(2, 1), {"a": b"A"}))

    class Slow(dict[str, bytes]):
        def pop(self, *arguments: Any) -> Any:
            coming.start()
            coming.join(0.2)  # it has to wait until this is over
            return super().pop(*arguments)

    pictures._pictures = Slow()
    pictures.keep(Key(1, 1), {"a": b"A"})
    pictures.drop(Key(1, 1))
    coming.join()
    assert pictures.read("a") == b"A"


def test_a_machine_uses_its_own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = EngineConfig(
        models_dir=Path("/not/here"), starter=Path("/not/here"), pictures=Path("/p")
    )
    own = of_this_machine(sent.to_dict())
    assert (own.models_dir, own.starter, own.pictures) == (None, STARTER_FOLDER, None)
    monkeypatch.setenv("MARBLE_MODELS_DIR", str(tmp_path))
    assert of_this_machine(sent.to_dict()).models_dir == tmp_path


def test_a_machine_may_have_the_safety_model_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARBLE_SAFETY_MODEL", "/models/safety")
    checked = EngineConfig(safety_model="/served/safety").to_dict()
    assert of_this_machine(checked).safety_model == "/models/safety"
    assert of_this_machine(EngineConfig().to_dict()).safety_model is None


def test_engines_agree_on_what_they_draw_with(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.9.0+cu126", "diffusers": "0.35.1", "transformers": "4.57.0"}
    monkeypatch.setattr("engine.executors.ray_actor.version", versions.__getitem__)
    before = code()
    versions["torch"] = "2.9.0+cpu"
    assert code() == before
    versions["diffusers"] = "0.35.2"
    assert code() != before


async def test_an_engine_uses_what_was_measured_first_and_tells_what_is_new(
    tmp_path: Path,
) -> None:
    add_figures(tmp_path, {"a": 2}, keep=True)  # of this machine
    engine = Engine()
    engine._config = EngineConfig(notes=tmp_path)
    engine._outbox = Outbox(asyncio.get_running_loop())
    engine._told = {}
    engine._learn({"a": 1})
    assert figures_in(tmp_path) == {"a": 1}
    add_figures(tmp_path, {"b": 3}, keep=True)
    for _ in range(2):
        engine._tell_figures()
    await asyncio.sleep(0)
    assert await engine._outbox.after(0, patience=0) == [wire.Frame({"measured": {"b": 3}})]


VERSIONS = """Version mismatch: The cluster was started with:
    Ray: 2.59.0
    Python: 3.12.1
This process on 10.0.0.2 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


@pytest.mark.parametrize(
    ("error", "printed", "said"),
    [
        (
            RuntimeError(VERSIONS),
            "",
            "Ray at head:1 runs Ray 2.59.0 and Python 3.12.1, this machine Ray 2.60.0 and Python "
            "3.11.7: install the same versions on all machines",
        ),
        (
            ConnectionError("Failed to connect"),
            "Unauthenticated: RPC error: InvalidAuthToken",
            "Ray at head:1 refuses this machine's token: copy the cluster's into "
            "~/.ray/auth_token, and set RAY_AUTH_MODE=token",
        ),
        (
            ConnectionRefusedError(111, "Connection refused"),
            "",
            "nothing that is Ray answers at head:1 ([Errno 111] Connection refused): start it with "
            "`ray start --head`, or correct MARBLE_RAY_ADDRESS",
        ),
        (
            ImportError("No module named 'grpc'"),
            "",
            "ray:// needs grpcio: `pip install 'ray[client]'`",
        ),
        (
            ConnectionAbortedError(
                "Initialization failure from server:\nTraceback (most recent call last):\n"
                '  File "proxier.py", line 771, in Datapath\nRuntimeError: Starting Ray client '
                "server failed. See ray_client_server_23000.err for detailed logs.\n"
            ),
            "",
            "Ray at head:1 could not start a server for this machine (Starting Ray client server "
            "failed. See ray_client_server_23000.err for detailed logs): try again",
        ),
        (  # what Ray's client says where the cluster wants another token, and at another server
            ConnectionError("ray client connection timeout"),
            "",
            "Ray at head:1 is reached and does not let this machine in: copy the cluster's token "
            "into ~/.ray/auth_token and set RAY_AUTH_MODE=token, or correct the port in "
            "MARBLE_RAY_ADDRESS (10001, unless the head was started with another one)",
        ),
    ],
)
def test_why_there_is_no_connection(error: Exception, printed: str, said: str) -> None:
    assert why_not(error, "head:1", printed) == said


def test_why_this_machine_has_no_cluster() -> None:
    nothing = ConnectionError("Could not find any running Ray instance. Please specify the one …")
    assert why_not(nothing, "auto") == (
        "no Ray runs on this machine: start one with `ray start --head`, or make the machine a "
        "part of a cluster with `ray start --address=HEAD:6379 --num-gpus=0`"
    )
    assert why_not(OSError("it is full"), "local") == (
        "nothing that is Ray answers on this machine (it is full): start it with `ray start "
        "--head`, or correct MARBLE_RAY_ADDRESS"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "The actor died because of an error raised in its creation task …\n"
            "ModuleNotFoundError: No module named 'engine'",
            "Marble cannot be imported there (no module engine): install the same Marble on that "
            "machine, in the environment that runs Ray",
        ),
        ("The actor died because its node has died. Node Id: 12", "its machine left the cluster"),
        (
            "The actor is not schedulable: The node specified via NodeAffinitySchedulingStrategy "
            "doesn't exist any more or is infeasible, and soft=False was specified",
            "its machine left the cluster",
        ),
        (
            "Worker unexpectedly exits with a connection error code 2. End of file.",
            "its process died",
        ),
    ],
)
def test_how_an_actor_ended(text: str, said: str) -> None:
    assert how_it_ended(RuntimeError(text)) == said


def test_a_machine_has_room_for_as_many_engines_as_its_scarcest_resource_allows() -> None:
    assert room_on({"GPU": 4.0, "CPU": 8.0}, {"GPU": 0.5, "CPU": 2.0}) == 4
    assert room_on({"CPU": 8.0}, {"GPU": 1.0}) == 0
    assert room_on({"GPU": 1.0}, {"GPU": 0.1}) == 10
    assert room_on({"GPU": 2.0}, {"GPU": 0.6}) == 2  # no engine lies on two GPUs


async def test_without_ray_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.executors.ray_executor.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"pip install 'marble\[ray\]'"):
        make_executor("ray", EngineConfig())


def test_a_token_that_is_there_is_used_unless_somebody_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    elsewhere = RaySettings(address="10.0.0.1:6379")
    assert "RAY_AUTH_MODE" not in environment(elsewhere)
    (tmp_path / "token").write_text("secret", encoding="utf-8")
    assert environment(elsewhere)["RAY_AUTH_MODE"] == "token"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "RAY_AUTH_MODE" not in environment(elsewhere)


@pytest.mark.parametrize(
    ("address", "is_loopback"),
    [("local", True), ("127.0.0.1:6379", True), ("ray://localhost:10001", True),
     ("ray://[::1]:10001", True), ("localnode.example.com:6379", False),
     ("ray://127.example.com:10001", False),
     ("10.0.0.1:6379", False), ("ray://head:10001", False), ("auto", False)],
)  # fmt: skip
def test_which_addresses_nobody_else_reaches(address: str, is_loopback: bool) -> None:
    assert RaySettings(address=address).is_loopback is is_loopback


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
async def test_a_connection_that_was_never_asked_for_is_not_missed() -> None:
    async with RayExecutor(EngineConfig()) as executor:
        assert (executor.health().alive, executor.health().waits) == (False, "")
        assert executor.slots == 8
