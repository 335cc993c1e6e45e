"""Commands that owners start from afar: one at a time, each a process that ends with its task."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bots.admission.roles import Roles
from bots.service import chores as module
from bots.service.chores import BACKUP, CHECK, DOCTOR, GET, Chore, Chores
from engine.errors import UserError
from storage import Storage
from tests.conftest import PATIENCE

ADA, MOD = "discord:ada", "discord:mod"


@pytest.fixture
async def chores() -> AsyncIterator[Chores]:
    found = Chores(Roles(owners=[ADA], moderators=[MOD]))
    yield found
    await found.close()


async def end(chores: Chores) -> None:
    """Wait until nothing runs."""
    assert chores._task
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait([chores._task])


async def until(true: Callable[[], object]) -> None:
    """Wait until something holds that other processes bring about."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def play(monkeypatch: pytest.MonkeyPatch, script: str) -> list[tuple[str, ...]]:
    """Let a shell run a script in place of Marble's commands; return those that were meant."""
    asked, start = [], asyncio.create_subprocess_exec

    async def shell(*command: str, **options: Any) -> asyncio.subprocess.Process:
        asked.append(command)
        return await start("sh", "-c", script, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", shell)
    return asked


async def test_a_real_command_is_run_and_what_it_says_is_kept(
    chores: Chores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARBLE_DATA_DIR", str(tmp_path))
    async with Storage.open(tmp_path):
        chore = chores.start(BACKUP, str(tmp_path / "copy"), by=ADA)
        await end(chores)
    assert (chore.code, chores.running, chores.latest[BACKUP]) == (0, None, chore)
    assert (tmp_path / "copy").stat().st_size > 0
    assert "was copied to" in chore.lines[0]
    assert chore.ended
    assert chore.ended > chore.began


async def test_a_name_that_begins_with_a_dash_is_a_name(chores: Chores) -> None:
    chore = chores.start(GET, "--help", by=ADA)
    await end(chores)
    assert chore.code == 2
    assert "There is no offer '--help'" in chore.note
    assert not chore.lines


async def test_progress_is_the_latest_line_of_a_bar(
    chores: Chores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "gate")
    bar = r"printf 'a.safetensors:  7%%|#  | 1/9\ra.safetensors:  45%%|## | 4/9\r' >&2"
    asked = play(monkeypatch, f"echo begun; {bar}; cat {tmp_path}/gate; echo ended")
    chore = chores.start(GET, "sd15", by=ADA)
    await until(lambda: chore.percent == 45)
    assert chores.running is chore
    with pytest.raises(UserError, match="Another command is running"):
        chores.start(DOCTOR, by=ADA)
    await asyncio.to_thread((tmp_path / "gate").write_text, "")
    await end(chores)
    assert (list(chore.lines), chore.code) == (["begun", "ended"], 0)
    assert asked[0][-3:] == ("get", "--", "sd15")


@pytest.mark.parametrize("begun", [True, False])
async def test_a_command_that_is_cancelled_ends_with_all_its_processes(
    chores: Chores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, begun: bool
) -> None:
    os.mkfifo(tmp_path / "never")
    play(monkeypatch, f"cat {tmp_path}/never & echo $!; wait")
    chore = chores.start(CHECK, "tiny", by=ADA)
    await until(lambda: chore.lines or not begun)
    assert await chores.cancel(by=ADA)
    assert (chore.code, chores.running) == (None, None)
    assert chore.ended
    if begun:
        child = Path("/proc") / chore.lines[0] / "cmdline"
        await until(lambda: not child.exists() or not child.read_text())  # a zombie's is empty
    assert not await chores.cancel(by=ADA)


async def test_only_owners_start_and_cancel(
    chores: Chores, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = play(monkeypatch, "exit 0")
    for person in (MOD, "discord:anybody"):
        with pytest.raises(UserError, match="owner"):
            chores.start(DOCTOR, by=person)
        with pytest.raises(UserError, match="owner"):
            await chores.cancel(by=person)
    assert (asked, chores.latest) == ([], {})


async def test_where_no_process_can_be_started_that_is_said(
    chores: Chores, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*command: str, **options: Any) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
    chore = chores.start(DOCTOR, by=ADA)
    await end(chores)
    assert (chore.code, chore.note) == (1, "no more processes")


async def test_of_much_output_the_end_is_kept(
    chores: Chores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 10)
    play(monkeypatch, "seq 1 2000; printf '%s' aaaaaaaaaaaaaaaaaaaaa")
    chore: Chore = chores.start(DOCTOR, by=ADA)
    await end(chores)
    assert list(chore.lines) == [*map(str, range(1502, 2001)), "a" * 10]
