"""What a machine tells of itself, and what is said where it does not."""

import asyncio
import os
from pathlib import Path

import pytest

from bots.operations import machine
from bots.operations.machine import Gpu, Gpus, memory_of, read_gpus, read_machine
from tests.bots.service.test_commands import until
from tests.conftest import PATIENCE

TOLD = "H200, 93, 1200, 144000, 61\nA40, 0, 3, 46000, 30\nNo more, 1"


async def test_every_gpu_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{TOLD}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert await read_gpus() == [
        Gpu("H200", "93", "1200", "144000", "61"),
        Gpu("A40", "0", "3", "46000", "30"),
    ]


def test_memory_and_load_are_those_that_the_system_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable: 1024 kB\n")
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "statm").write_text("900 30 7 1 0 80 0\n")
    monkeypatch.setattr(machine, "PROC", tmp_path)
    found = read_machine()
    assert (found.memory, found.available) == (2 * 2**20, 2**20)
    assert found.processors == os.cpu_count()
    assert memory_of(12) == 30 * os.sysconf("SC_PAGE_SIZE")
    assert (memory_of(13), memory_of(None)) == (None, None)


def test_where_the_system_tells_nothing_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError

    monkeypatch.setattr(machine, "PROC", tmp_path)
    monkeypatch.setattr(os, "getloadavg", fail)
    found = read_machine()
    assert (found.load, found.memory, found.available) == (None, None, None)


@pytest.fixture
def stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program in the place of NVIDIA's that never ends; its starts stand in the file."""
    starts = tmp_path / "starts"
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho $$ >> {starts}\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(machine, "PATIENCE", 0.5)
    return starts


async def test_a_driver_that_hangs_is_waited_for_once_and_leaves_no_process(stuck: Path) -> None:
    gpus = Gpus()
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*(gpus.read() for _ in range(8))) == [[]] * 8
        [pid] = map(int, (await asyncio.to_thread(stuck.read_text)).split())
        await until(lambda: not _runs(pid))  # which takes the kernel a moment


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
