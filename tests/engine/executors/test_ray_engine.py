"""One engine of a Ray cluster, without Ray: what it makes of what the bridge tells."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from engine.errors import Lost
from engine.executors import wire
from engine.executors.config import EngineConfig
from engine.executors.pool import Pool
from engine.executors.ray_connection import Connection, Link, RaySettings
from engine.executors.ray_engine import Place, RayEngine, own_code
from engine.executors.ray_executor import RayExecutor
from engine.models.fingerprints import differing
from tests.conftest import PATIENCE
from tests.engine.executors.test_executors import collect, make_spec

ACTOR = {"actor": {"host": "h", "pid": 1, "code": own_code(), "models": {}}}
READY = {"ready": True, "about": None, "fault": ""}


class Cable(Connection):
    """A connection to nothing: the test says what actors send."""

    def __init__(self) -> None:
        super().__init__(
            EngineConfig(),
            RaySettings(),
            lambda nodes: None,
            lambda: None,
            backoff=lambda failures: 0,
        )
        self.connected.set()
        self.links: asyncio.Queue[Link] = asyncio.Queue()
        self.told_to_run = asyncio.Event()

    def open(self, node: str | None) -> Link:
        """Keep the way to an actor for the test."""
        link = super().open(node)
        self.links.put_nowait(link)
        return link

    def send(self, header: Mapping[str, Any]) -> None:
        """Look whether a job would be sent."""
        if "run" in header:
            self.told_to_run.set()


@pytest.fixture
async def executor(monkeypatch: pytest.MonkeyPatch) -> RayExecutor:
    """Return an executor that is connected to nothing."""
    monkeypatch.setattr("engine.executors.ray_executor.find_spec", lambda name: True)
    return RayExecutor(EngineConfig())


@pytest.fixture
async def cable() -> Cable:
    """Return a connection to nothing."""
    return Cable()


@pytest.fixture
async def engine(cable: Cable) -> AsyncIterator[RayEngine]:
    """Yield an engine that is ready."""
    place = Place("f" * 8, "h", 0)
    made = RayEngine(EngineConfig(), cable, place, lambda: {}, backoff=lambda failures: 0)
    starting = asyncio.create_task(made.ready())
    await begin(cable)
    async with made, asyncio.timeout(PATIENCE):
        await starting
        yield made


async def begin(cable: Cable) -> Link:
    """Return the way to the next actor, which is ready."""
    link = await cable.links.get()
    for header in (ACTOR, READY):
        link.put(wire.Frame(header))
    return link


async def lose(engine: RayEngine, cable: Cable, how: dict[str, Any]) -> Lost:
    """Return how a job ends whose actor has gone."""
    job = asyncio.create_task(collect(engine, make_spec()), name="job")
    await cable.told_to_run.wait()
    for link in [*cable._links.values()]:
        link.put(wire.Frame(how))
    with pytest.raises(Lost) as lost:
        await job
    return lost.value


@pytest.mark.parametrize(
    ("how", "outside", "restarts", "logged"),
    [
        (
            {"gone": "the connection has ended", "outside": True},
            *(True, 0, "the engine h-ffffff/0 takes no jobs: the connection has ended"),
        ),
        (
            {"gone": "it did not answer for 60 s", "silent": True},
            *(True, 1),
            "the engine h-ffffff/0 ended (it did not answer for 60 s) with 1 running job",
        ),
        (
            {"gone": "its process died"},
            *(False, 1, "the engine h-ffffff/0 ended (its process died) with 1 running job"),
        ),
    ],
)
async def test_a_connection_or_machine_that_is_lost_is_no_jobs_fault(
    engine: RayEngine,
    cable: Cable,
    how: dict[str, Any],
    outside: bool,
    restarts: int,
    logged: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lost = await lose(engine, cable, how)
    assert (lost.alone, lost.outside) == (True, outside)
    assert str(lost) == f"The engine h-ffffff/0 ended ({how['gone']})."
    assert [each.message for each in caplog.records if each.levelno >= logging.WARNING] == [logged]
    await begin(cable)
    await engine.ready()
    assert engine.health().restarts == restarts


async def test_a_job_whose_machine_is_lost_again_and_again_is_blamed_in_the_end(
    executor: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(pool: Pool, spec: object) -> AsyncIterator[None]:
        raise Lost("its machine left", alone=True, outside=True)
        yield

    monkeypatch.setattr(Pool, "run", run)
    async with executor:
        found = []
        for job in (1, 1, 1, 2, 1):
            with pytest.raises(Lost) as lost:
                await collect(executor, make_spec(job=job))
            found.append((lost.value.alone, lost.value.outside))
    assert found == [(True, True)] * 4 + [(True, False)]


def node(total: float, free: float) -> dict[str, Any]:
    return {"id": "f" * 8, "host": "h", "resources": {"GPU": total}, "free": {"GPU": free}}


def numbers(executor: RayExecutor) -> list[int]:
    """Return the numbers of the engines that there are."""
    return sorted(int(name.rpartition("/")[2]) for name in executor.health().engines)


async def test_engines_are_asked_for_where_something_is_free(executor: RayExecutor) -> None:
    async with executor:
        executor._follow([node(4, free=2)])
        assert numbers(executor) == [0, 1]
        executor._follow([node(4, free=0)])  # they got it, though their processes still start
        assert numbers(executor) == [0, 1]
        for name in executor.health().engines:
            executor._engine(name).placed = True
        executor._follow([node(4, free=1)])
        assert numbers(executor) == [0, 1, 2]
        first = executor._engine("h-ffffff/0")
        first.placed = False  # it died, and is started again
        executor._follow([node(4, free=1)])
        assert numbers(executor) == [0, 1, 2]
        first.pending = True  # somebody else was faster
        executor._follow([node(4, free=0)])
        assert numbers(executor) == [1, 2]
        executor._follow([node(4, free=4)])
        assert numbers(executor) == [0, 1, 2, 3]


async def test_a_machine_that_leaves_and_is_back_at_once_has_an_engine_of_its_own(
    executor: RayExecutor,
) -> None:
    async with executor:
        executor._follow([node(1, free=1)])
        first = executor._engine("h-ffffff/0")
        executor._follow([])
        assert numbers(executor) == []
        executor._follow([node(1, free=1)])
        await asyncio.gather(*executor._leaving)
        executor._follow([node(1, free=1)])
        assert numbers(executor) == [0]
        assert executor._engine("h-ffffff/0") is not first


async def test_an_engine_whose_machine_leaves_while_all_are_closed_is_closed_once(
    executor: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = 0

    async def close() -> None:
        nonlocal closed
        closed += 1
        executor._follow([])

    async with executor:
        executor._follow([node(1, free=1)])
        monkeypatch.setattr(executor._engine("h-ffffff/0"), "close", close)
    assert closed == 1
    assert not executor._leaving


async def test_a_look_at_machines_that_are_the_same_wakes_nobody(executor: RayExecutor) -> None:
    async with executor:
        executor._follow([node(1, free=1)])
        assert executor._changed.is_set()
        executor._changed.clear()
        executor._follow([node(1, free=1)])
        assert not executor._changed.is_set()


async def test_messages_name_an_engine_and_its_machine_once_that_is_known(cable: Cable) -> None:
    made = [
        RayEngine(EngineConfig(), cable, place, lambda: {}, backoff=lambda failures: 0)
        for place in (Place("f" * 8, "h", 1), Place("", "", 2))
    ]
    assert [each.name for each in made] == ["the engine h-ffffff/1", "the engine ray/2"]
    for each in made:
        each._receive_one(wire.Frame(ACTOR))
    assert [each.name for each in made] == ["the engine h-ffffff/1", "the engine ray/2 on h"]


async def test_a_cluster_whose_machines_others_use_says_so(executor: RayExecutor) -> None:
    async with executor:
        executor._follow([node(0, free=0)])
        assert executor.health().waits == (
            "no machine of the Ray cluster has GPU: 1: add one, or change MARBLE_RAY_RESOURCES"
        )
        executor._follow([node(4, free=0)])
        assert executor.health().waits == (
            "others use all that the Ray cluster has of GPU: 1: an engine starts as soon as that "
            "is free; add a machine, or change MARBLE_RAY_RESOURCES"
        )


async def test_files_are_compared_when_either_folder_changes_and_not_at_each_look(
    cable: Cable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours = {"LoRA a": "1", "LoRA b": "1"}
    compared: list[Mapping[str, str]] = []

    def compare(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
        compared.append(theirs)
        return differing(ours, theirs)

    monkeypatch.setattr("engine.executors.ray_engine.differing", compare)
    place = Place("f" * 8, "h", 0)
    engine = RayEngine(EngineConfig(), cable, place, lambda: ours, backoff=lambda failures: 0)
    engine._know({"LoRA a": "1", "LoRA b": "2"})
    assert [engine.health().has for _ in range(9)] == [frozenset({"LoRA a"})] * 9
    assert len(compared) == 1
    ours = {"LoRA a": "2", "LoRA b": "2"}
    engine.compare()
    assert engine.health().has == frozenset({"LoRA b"})
    assert [r.message.partition(":")[0] for r in caplog.records] == [
        f"the engine h-ffffff/0 has another LoRA {name} than this machine" for name in "ba"
    ]
