import asyncio
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bots.operations.settings import load_settings
from bots.terminal.top import gpu_line
from bots.worker.engines_view import UP, EngineBoard, EngineRow
from engine.events import Picture
from storage import NewJob, Storage
from storage.clock import utc_now
from tests.bots.terminal.conftest import Marble
from tests.factories import add_claimed, make_recipe


async def live(data: Path) -> None:
    """Draw two jobs, let two fail, and leave one waiting; another ended long ago."""
    new = NewJob(recipe=make_recipe(), person="discord:ada", place="discord")
    async with Storage.open(data, now=lambda: utc_now() - timedelta(hours=2)) as storage:
        old = await add_claimed(storage, new)
        await storage.jobs.failed(old.id, 1, "Long ago.")
    async with Storage.open(data) as storage:
        for number in range(4):
            job = await add_claimed(storage, new)
            if number < 2:
                picture = Picture(index=0, width=8, height=8, png=b"png%d" % number)
                await storage.jobs.rendered(job.id, 1, [picture])
            else:
                await storage.jobs.failed(job.id, 1, "The marble cracked.")
        await storage.jobs.add(new)
        await storage.moderation.pause("A new card.", by="terminal:ada")


def test_it_shows_what_runs_what_ended_and_what_went_wrong(marble: Marble, data: Path) -> None:
    asyncio.run(live(data))
    answer = marble("top")
    assert (answer.code, answer.err) == (0, "")
    assert "0 running   1 waiting   paused: A new card." in answer.out
    assert "2 drawn (2 pictures)   2 failed   0 cancelled   half within" in answer.out
    assert "replies that wait   5   discord 5" in answer.out
    assert "2 × The marble cracked." in " ".join(answer.out.split())
    assert "Long ago" not in answer.out
    assert "GB free" in answer.out


def test_each_engine_of_a_service_has_a_line(marble: Marble, data: Path) -> None:
    settings = replace(load_settings({}, env_file=""), data_dir=data)
    rows = [
        EngineRow(device=f"cuda:{n}", kind="K", state=UP, models=("m",) * n, jobs=n, restarts=0)
        for n in range(2)
    ]
    asyncio.run(EngineBoard(settings, "a").show(rows))
    lines = (
        ["cuda:0", "K", "up", "0", "jobs", "0", "restarts", "no", "model", "yet"],
        ["cuda:1", "K", "up", "1", "job", "0", "restarts", "m"],
    )
    for command in ("top", "queue"):
        told = [line.split() for line in marble(command).out.splitlines()]
        assert all(line in told for line in lines)


@pytest.mark.parametrize(
    ("said", "code", "line"),
    [
        ("H200, 93, 1200, 144000, 61", 0, "H200   93 % busy   1200 of 144000 MiB   61 °C"),
        ("No devices were found", 0, ""),
        ("", 9, ""),
    ],
)
async def test_a_gpu_is_told_of_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: int, line: str
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{said}'\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert await gpu_line() == line


async def test_without_a_gpu_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert await gpu_line() == ""
