"""What other processes see of the engines."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bots.operations.settings import Settings, load_settings
from bots.worker.engines_view import EngineBoard, EngineRow, engine_rows, load_engines
from engine.executors import Health
from engine.queue.engines import Facts
from engine.queue.order import Order
from tests.engine.crowds import task

ROW = EngineRow(device="cuda:0", kind="K", state="up", models=("m",), jobs=1, restarts=2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(load_settings({}, env_file=""), data_dir=tmp_path)


async def test_other_processes_see_the_engines_until_they_are_closed(settings: Settings) -> None:
    board = EngineBoard(settings, "a")
    await board.show([ROW])
    assert await load_engines(settings) == [ROW]
    await board.clear()
    assert await load_engines(settings) == []


async def test_each_serving_process_has_a_file_and_one_that_died_is_not_shown(
    settings: Settings,
) -> None:
    boards = [EngineBoard(settings, name) for name in ("b", "a")]
    other = replace(ROW, device="cuda:1")
    for board, row in zip(boards, (ROW, other), strict=True):
        await board.show([row])
    devices = [f"{device} (process {os.getpid()})" for device in ("cuda:0", "cuda:1")]
    assert [row.device for row in await load_engines(settings)] == devices
    await boards[0]._alive.release()  # as its system does when a process is killed
    assert await load_engines(settings) == [other]
    assert [file.name for file in boards[0]._file.parent.glob("*.json")] == ["a.json"]


async def test_the_next_process_removes_what_one_that_was_killed_left(settings: Settings) -> None:
    killed = EngineBoard(settings, "a")
    await killed.show([ROW])
    await killed._alive.release()
    await EngineBoard(settings, "b").show([ROW])
    assert sorted(file.name for file in killed._file.parent.iterdir()) == ["b.json", "b.lock"]


async def test_what_was_written_long_ago_is_not_shown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await EngineBoard(settings, "a").show([ROW])
    monkeypatch.setattr("bots.worker.engines_view.FRESH", 0.0)
    assert await load_engines(settings) == []


def test_each_engine_of_a_pool_has_a_row() -> None:
    order = Order()
    order.put("auto", Facts(slots=8, kind="K"))
    order.submit(task(1))
    assert order.choose(0.0, 0)
    engines = {
        "auto": Health(alive=True, device="cuda:0", kind="K", held=("m",), restarts=2),
        "cuda:1": Health(alive=False, device="cuda:1"),
        "cuda:2": Health(alive=True, device="cuda:2", fault="no memory"),
        "node/0": Health(alive=False, waits="its machine left the cluster"),
        "node/1": Health(alive=True, waits=""),
    }
    first, *others = engine_rows(Health(alive=True, engines=engines), order)
    assert first == ROW
    assert [each.state for each in others] == [
        *("not running", "no memory", "its machine left the cluster", "up")
    ]


def test_an_engine_alone_has_a_row() -> None:
    order = Order()
    order.submit(task(1))
    assert order.choose(0.0, 1)
    [row] = engine_rows(Health(alive=True, device="cpu", kind="cpu, 2 threads"), order)
    assert (row.device, row.state, row.jobs) == ("cpu", "up", 1)


def test_the_rows_of_a_call_are_told_in_the_mean() -> None:
    counts = {"ticks": 8, "rows": 26}
    [row] = engine_rows(Health(alive=True, counts=counts, pid=12), Order())
    assert (row.width, row.pid) == (3.2, 12)
    assert engine_rows(Health(alive=True), Order())[0].width is None
