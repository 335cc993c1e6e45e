"""The executors' contract, kept by an actor of a Ray cluster; and what a cluster adds to it."""

import asyncio
import hashlib
import os
import platform
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from engine.errors import EngineError, Lost, UserError
from engine.events import Picture, Stage
from engine.executors import Health
from engine.executors.config import EngineConfig
from engine.executors.inprocess import InProcessExecutor
from engine.executors.ray_connection import RaySettings
from engine.executors.ray_engine import OTHER_CODE
from engine.executors.ray_executor import RayExecutor
from engine.files.stored import picture_path
from engine.recipe.parts import Lora
from engine.spec import Spec
from tests.engine.executors.clusters import RESOURCE, add_node, ray_nodes
from tests.engine.executors.test_executors import (  # noqa: F401  # the contract, run here as well
    STUB,
    collect,
    collect_rest,
    make_spec,
    test_a_job_gives_its_events_in_order,
    test_a_job_that_is_held_back_can_be_cancelled,
    test_a_refusal_reaches_people_as_it_is,
    test_a_suspect_runs_with_nobody_beside_it,
    test_an_engine_that_is_ready_begins_at_once,
    test_an_unexpected_error_ends_what_is_at_work_and_not_the_engine,
    test_cancelling_ends_a_job_and_leaves_the_others,
    test_closing_the_events_early_stops_the_work,
    test_jobs_run_together,
    test_what_is_unknown_or_over_can_be_cancelled_in_vain,
    test_who_is_at_work_when_it_is_closed_is_lost_and_nobody_blamed,
)
from tests.factories import make_recipe

PATIENCE: Final = 60.0  # seconds; there are many waits, and none is long
pytestmark = [
    pytest.mark.slow,
    # Ray reads its environment when it is imported, which the cluster's own is set for first.
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Yield a cluster with a head and one node with room for two engines."""
    with ray_nodes() as nodes:
        add_node(nodes, engines=2)
        yield nodes


def make(
    nodes: Any, config: EngineConfig = STUB, engines: int | None = 1, **more: Any
) -> RayExecutor:
    settings = RaySettings(address=nodes.address, engines=engines, resources={RESOURCE: 1})
    return RayExecutor(config, settings, **{"backoff": lambda failures: 0.1, "look": 0.5, **more})


@pytest.fixture
async def executor(nodes: Any) -> AsyncIterator[RayExecutor]:
    """Yield one actor, with an engine that has no model."""
    async with make(nodes) as executor, asyncio.timeout(PATIENCE):
        await executor.ready()
        yield executor


def pid_of(executor: RayExecutor) -> int:
    (engine,) = executor.health().engines.values()
    assert engine.pid
    return engine.pid


async def until(executor: RayExecutor, there: Callable[[Health], object]) -> Health:
    """Wait until an executor's health is as wanted, and return it."""
    async with asyncio.timeout(PATIENCE):
        while not there(executor.health()):  # noqa: ASYNC110  # several things change it
            await asyncio.sleep(0.05)
    return executor.health()


@pytest.mark.parametrize("stage", Stage)
async def test_an_actor_killed_in_any_stage_loses_its_jobs_and_there_is_another(
    executor: RayExecutor, stage: Stage
) -> None:
    before = pid_of(executor)
    doomed, beside = await asyncio.gather(
        collect(executor, make_spec(f"die in {stage}")),
        collect(executor, make_spec("hang", job=2)),
        return_exceptions=True,
    )
    assert isinstance(doomed, Lost)
    assert isinstance(beside, Lost)
    assert not doomed.alone
    assert "its process died" in str(doomed)
    await executor.ready()
    again = await collect(executor, make_spec(f"die in {stage}", epoch=2))
    assert isinstance(again[-1], Picture)
    assert executor.health().restarts == 1
    assert pid_of(executor) != before


async def test_a_job_that_its_actor_died_with_alone_is_told_from_one_of_several(
    executor: RayExecutor,
) -> None:
    with pytest.raises(Lost) as lost:
        await collect(executor, make_spec("die in load"))
    assert lost.value.alone


@pytest.mark.parametrize("word", ["wreck", "break and wreck"])
async def test_an_actor_that_lost_its_device_makes_room_for_a_new_one(
    executor: RayExecutor, word: str
) -> None:
    with pytest.raises(Lost):
        await collect(executor, make_spec(word))
    await executor.ready()
    assert isinstance((await collect(executor, make_spec(word, epoch=2)))[-1], Picture)


async def test_an_actor_that_is_stopped_is_given_up_and_nothing_more_is_taken_from_it(
    nodes: Any,
) -> None:
    async with make(nodes, silence=1.0) as executor, asyncio.timeout(PATIENCE):
        await executor.ready()
        events, stopped = executor.run(make_spec("go on")), pid_of(executor)
        await anext(events)
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(Lost, match="did not answer for 1 s"):
            await collect_rest(events)
        with suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGCONT)
        await executor.ready()
        assert isinstance((await collect(executor, make_spec(epoch=2)))[-1], Picture)
        assert pid_of(executor) != stopped


async def test_an_engine_that_does_nothing_is_ended_and_its_job_lost(nodes: Any) -> None:
    async with make(nodes, idleness=1.0) as executor, asyncio.timeout(PATIENCE):
        await executor.ready()
        with pytest.raises(Lost, match="did nothing for too long"):
            await collect(executor, make_spec("hang"))
        await executor.ready()


async def test_an_engine_that_cannot_be_made_fails_its_jobs(nodes: Any) -> None:
    config = replace(STUB, factory="tests.engine.stub:open_nothing")
    async with make(nodes, config) as executor, asyncio.timeout(PATIENCE):
        await executor.ready()
        with pytest.raises(EngineError, match="no such device"):
            await collect(executor, make_spec())


async def test_an_engine_whose_process_never_starts_is_told_by_the_job(nodes: Any) -> None:
    config = replace(STUB, factory="tests.engine.stub:open_and_die")
    async with make(nodes, config) as executor, asyncio.timeout(PATIENCE):
        await executor.ready()
        assert (executor.health().alive, executor.health().failing) == (False, True)
        with pytest.raises(EngineError, match="does not start"):
            await collect(executor, make_spec())


async def test_the_process_that_is_connected_to_ray_may_be_killed(executor: RayExecutor) -> None:
    events = executor.run(make_spec("go on"))
    await anext(events)
    bridge = executor.connection.pid
    assert bridge
    os.kill(bridge, signal.SIGKILL)
    with pytest.raises(Lost, match="has ended"):
        await collect_rest(events)
    await executor.ready()
    assert isinstance((await collect(executor, make_spec(epoch=2)))[-1], Picture)


async def test_engines_follow_the_machines_of_the_cluster(nodes: Any) -> None:
    async with make(nodes, engines=None) as executor, asyncio.timeout(PATIENCE):
        await executor.ready()
        assert len(executor.health().engines) == 2
        node = add_node(nodes)
        health = await until(executor, lambda now: sum(e.alive for e in now.engines.values()) == 3)
        (new,) = (name for name in health.engines if node.node_id[:6] in name)
        events = executor.run(replace(make_spec("go on"), engine=new))
        await anext(events)
        nodes.remove_node(node, False)
        with pytest.raises(Lost):
            await collect_rest(events)
        await until(executor, lambda now: len(now.engines) == 2)
        with pytest.raises(Lost, match="has left"):
            await collect(executor, replace(make_spec(epoch=2), engine=new))
        assert isinstance((await collect(executor, make_spec(epoch=3)))[-1], Picture)


async def test_engines_are_as_many_as_others_leave_room_for(nodes: Any) -> None:
    async with make(nodes, engines=None) as executor, asyncio.timeout(PATIENCE):
        async with make(nodes, engines=1) as tenant:
            await tenant.ready()
            await executor.ready()
            health = await until(executor, lambda now: len(now.engines) == 1)
            assert [each.waits for each in health.engines.values()] == [""]
        await until(executor, lambda now: sum(e.alive for e in now.engines.values()) == 2)
        async with make(nodes, engines=None) as late:
            asking = asyncio.create_task(late.ready())
            health = await until(late, lambda now: now.waits)
            assert (health.waits, health.engines) == (
                f"others use all that the Ray cluster has of {RESOURCE}: 1: an engine starts as "
                "soon as that is free; add a machine, or change MARBLE_RAY_RESOURCES",
                {},
            )
        await asking


async def test_an_engine_that_has_no_room_waits_for_it_and_says_so(nodes: Any) -> None:
    async with make(nodes, engines=3) as executor, asyncio.timeout(PATIENCE):
        await executor.ready()
        health = await until(executor, lambda now: any(e.waits for e in now.engines.values()))
        waiting = [each.waits for each in health.engines.values() if each.waits]
        assert waiting == [f"no machine of the Ray cluster has {RESOURCE}: 1 free"]
        assert isinstance((await collect(executor, make_spec()))[-1], Picture)


async def test_a_cluster_without_a_machine_for_an_engine_says_so(nodes: Any) -> None:
    settings = RaySettings(address=nodes.address, resources={"GPU": 64})
    async with RayExecutor(STUB, settings) as executor:
        asking = asyncio.create_task(executor.ready())
        health = await until(executor, lambda now: "GPU" in now.waits)
        assert not asking.done()
        assert health.waits == (
            "no machine of the Ray cluster has GPU: 64: add one, or change MARBLE_RAY_RESOURCES"
        )
    await asking


async def test_a_machine_with_another_version_of_marble_gets_no_job(
    nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.executors.ray_engine.own_code", lambda: "another")
    async with make(nodes) as executor:
        asking = asyncio.create_task(executor.ready())
        health = await until(executor, lambda now: "version" in now.waits)
        assert health.waits == OTHER_CODE
        assert not asking.done()
        monkeypatch.undo()
        async with asyncio.timeout(PATIENCE):
            await asking


async def test_an_engine_tells_what_its_machine_has(nodes: Any, tmp_path: Path) -> None:
    here, there, other = (tmp_path / name for name in ("here", "there", "other"))
    for folder, names in ((here, "ab"), (there, "a"), (other, "b")):
        for name in names:
            words = "another file" if (folder, name) == (other, "b") else name
            save_lora(folder / "loras" / f"{name}.safetensors", words)
    node = add_node(nodes, resource="with_models", env_vars={"MARBLE_MODELS_DIR": str(there)})
    second = add_node(nodes, resource="with_models", env_vars={"MARBLE_MODELS_DIR": str(other)})
    config = replace(STUB, models_dir=here)
    settings = RaySettings(address=nodes.address, resources={"with_models": 1})
    try:
        async with RayExecutor(config, settings, look=0.5) as executor:
            asking = asyncio.create_task(executor.ready())
            health = await until(
                executor,
                lambda now: sum(e.alive and bool(e.has) for e in now.engines.values()) == 2,
            )
            await asking
            has = {name[-8:-2]: {*(each.has or ())} for name, each in health.engines.items()}
            assert has == {
                node.node_id[:6]: {"checkpoint starter", "LoRA a"},
                second.node_id[:6]: {"checkpoint starter"},
            }
            (able,) = (name for name, e in health.engines.items() if "LoRA a" in (e.has or ()))
            recipe = make_recipe(loras=(Lora(name="a"),))
            spec = Spec(job=1, epoch=1, recipe=recipe, engine=able)
            assert isinstance((await collect(executor, spec))[-1], Picture)
    finally:
        for each in (node, second):
            nodes.remove_node(each, False)


def save_lora(path: Path, words: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"x": torch.zeros(1)}, path, metadata={"words": words})


async def test_a_cluster_that_is_not_there_is_asked_again_until_it_is(nodes: Any) -> None:
    executor = make(nodes)
    executor.connection.settings = RaySettings(address="127.0.0.1:1")
    async with executor:
        asking = asyncio.create_task(executor.ready())
        health = await until(executor, lambda now: "answers" in now.waits)
        assert health.waits.startswith("nothing that is Ray answers at 127.0.0.1:1")
        assert not asking.done()
        executor.connection.settings = make(nodes).connection.settings
        async with asyncio.timeout(PATIENCE):
            await asking
        assert isinstance((await collect(executor, make_spec()))[-1], Picture)


async def refuse_as_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def test_an_address_where_something_else_answers_is_told(
    nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.executors.ray_connection.CONNECTING", 8.0)

    server = await asyncio.start_server(refuse_as_http, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    executor = make(nodes)
    executor.connection.settings = RaySettings(address=f"127.0.0.1:{port}")
    async with server, executor:
        asking = asyncio.create_task(executor.ready())
        health = await until(executor, lambda now: "answers" in now.waits)
        assert health.waits.startswith(f"nothing that is Ray answers at 127.0.0.1:{port}")
    await asking


async def test_a_wrong_token_is_told(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong-" * 8)
    async with make(nodes) as executor:
        asking = asyncio.create_task(executor.ready())
        health = await until(executor, lambda now: "token" in now.waits)
        assert health.waits == (
            f"Ray at {nodes.address} refuses this machine's token: copy the cluster's into "
            "~/.ray/auth_token, and set RAY_AUTH_MODE=token"
        )
    await asking


async def test_a_seed_gives_the_same_bytes_there_and_pictures_go_along(
    nodes: Any, tiny_folder: Path, tmp_path: Path
) -> None:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), "teal").save(buffer, "PNG")
    png = buffer.getvalue()
    sha256 = hashlib.sha256(png).hexdigest()
    path = picture_path(tmp_path, sha256)
    path.parent.mkdir()
    path.write_bytes(png)
    config = EngineConfig(starter=tiny_folder, device="cpu", pictures=tmp_path)
    recipe = make_recipe(seed=11, sampler="euler_ancestral", steps=9, image=sha256, strength=0.5)
    spec = Spec(job=1, epoch=1, recipe=recipe)
    async with make(nodes, config) as executor, asyncio.timeout(PATIENCE):
        await executor.ready()
        there = await collect(executor, spec)
        gone = replace(recipe, image="0" * 64)
        with pytest.raises(UserError, match="000000000000"):
            await collect(executor, replace(spec, recipe=gone, job=2))
    async with InProcessExecutor(config) as inside:
        here = await collect(inside, spec)
    drawn = [[e.png for e in events if isinstance(e, Picture)] for events in (there, here)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 1


def customised(folder: Path, code: str) -> str:
    """Return a folder for `PYTHONPATH`: processes of Python run some code when they start."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    return str(folder)


async def test_another_version_of_ray_is_told_with_both(
    nodes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = version("ray")
    other = customised(tmp_path / "code", "import ray\nray.__version__ = '2.59.0'\n")
    monkeypatch.setenv("PYTHONPATH", other)
    async with make(nodes) as executor:
        asking = asyncio.create_task(executor.ready())
        health = await until(executor, lambda now: now.waits)
        python = platform.python_version()
        assert health.waits == (
            f"Ray at {nodes.address} runs Ray {there} and Python {python}, this machine Ray 2.59.0 "
            f"and Python {python}: install the same versions on all machines"
        )
    await asking


WITHOUT_MARBLE = """
import sys
from importlib.abc import MetaPathFinder


class Without(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "engine":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Without())
"""


async def test_a_machine_without_marble_gets_no_job_and_the_others_go_on(
    nodes: Any, tmp_path: Path
) -> None:
    code = customised(tmp_path / "code", WITHOUT_MARBLE)
    node = add_node(nodes, env_vars={"PYTHONPATH": code})
    try:
        async with make(nodes, engines=None) as executor, asyncio.timeout(PATIENCE):
            await executor.ready()
            health = await until(
                executor, lambda now: any("imported" in e.waits for e in now.engines.values())
            )
            (bare,) = (name for name in health.engines if node.node_id[:6] in name)
            assert health.engines[bare].waits == (
                "Marble cannot be imported there (no module engine): install the same Marble on "
                "that machine, in the environment that runs Ray"
            )
            assert isinstance((await collect(executor, make_spec()))[-1], Picture)
    finally:
        nodes.remove_node(node, False)


async def test_an_address_of_rays_client_where_something_else_answers_is_told(
    nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.executors.ray_connection.CONNECTING", 8.0)

    server = await asyncio.start_server(refuse_as_http, "127.0.0.1", 0)
    address = f"ray://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    executor = make(nodes)
    executor.connection.settings = RaySettings(address=address)
    async with server, executor:
        asking = asyncio.create_task(executor.ready())
        health = await until(executor, lambda now: now.waits)
        assert health.waits.startswith(f"nothing that is Ray answers at {address}")
    await asking
