"""Commands that owners start from afar: one at a time, each a process that ends with its task."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bots.admission.roles import Roles
from bots.service import commands as module
from bots.service.commands import BACKUP, CHECK, DOCTOR, GET, Command, Commands
from engine.errors import UserError
from storage import Storage
from tests.conftest import PATIENCE

ADA, MOD = "discord:ada", "discord:mod"


@pytest.fixture
async def commands() -> AsyncIterator[Commands]:
    found = Commands(Roles(owners=[ADA], moderators=[MOD]))
    yield found
    await found.close()


async def end(commands: Commands) -> None:
    """Wait until nothing runs."""
    assert commands._task
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait([commands._task])


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
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARBLE_DATA_DIR", str(tmp_path))
    async with Storage.open(tmp_path):
        command = commands.start(BACKUP, str(tmp_path / "copy"), by=ADA)
        await end(commands)
    assert (command.code, commands.running, commands.latest[BACKUP]) == (0, None, command)
    assert (tmp_path / "copy").stat().st_size > 0
    assert "was copied to" in command.lines[0]
    assert command.ended
    assert command.ended > command.began


async def test_a_name_that_begins_with_a_dash_is_a_name(commands: Commands) -> None:
    command = commands.start(GET, "--help", by=ADA)
    await end(commands)
    assert command.code == 2
    assert "There is no offer '--help'" in command.note
    assert not command.lines


async def test_progress_is_the_latest_line_of_a_bar(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "gate")
    bar = r"printf 'a.safetensors:  7%%|#  | 1/9\ra.safetensors:  45%%|## | 4/9\r' >&2"
    asked = play(monkeypatch, f"echo begun; {bar}; cat {tmp_path}/gate; echo ended")
    command = commands.start(GET, "sd15", by=ADA)
    await until(lambda: command.percent == 45)
    assert commands.running is command
    with pytest.raises(UserError, match="Another command is running"):
        commands.start(DOCTOR, by=ADA)
    await asyncio.to_thread((tmp_path / "gate").write_text, "")
    await end(commands)
    assert (list(command.lines), command.code) == (["begun", "ended"], 0)
    assert asked[0][-3:] == ("get", "--", "sd15")


@pytest.mark.parametrize("begun", [True, False])
async def test_a_command_that_is_cancelled_ends_with_all_its_processes(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, begun: bool
) -> None:
    os.mkfifo(tmp_path / "never")
    play(monkeypatch, f"cat {tmp_path}/never & echo $!; wait")
    command = commands.start(CHECK, "tiny", by=ADA)
    await until(lambda: command.lines or not begun)
    assert await commands.cancel(by=ADA)
    assert (command.code, commands.running) == (None, None)
    assert command.ended
    if begun:
        child = Path("/proc") / command.lines[0] / "cmdline"
        await until(lambda: not child.exists() or not child.read_text())  # a zombie's is empty
    assert not await commands.cancel(by=ADA)


async def test_only_owners_start_and_cancel(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = play(monkeypatch, "exit 0")
    for person in (MOD, "discord:anybody"):
        with pytest.raises(UserError, match="owner"):
            commands.start(DOCTOR, by=person)
        with pytest.raises(UserError, match="owner"):
            await commands.cancel(by=person)
    assert (asked, commands.latest) == ([], {})


async def test_where_no_process_can_be_started_that_is_said(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*command: str, **options: Any) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
    command = commands.start(DOCTOR, by=ADA)
    await end(commands)
    assert (command.code, command.note) == (1, "no more processes")


async def test_what_nobody_expected_stands_in_the_log_and_is_no_cancelling(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*command: str, **options: Any) -> None:
        raise RuntimeError("inner words")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
    command = commands.start(DOCTOR, by=ADA)
    await end(commands)
    await until(lambda: command.ended)
    assert (command.code, commands.running) == (1, None)
    assert "inner words" in caplog.text


async def test_of_much_output_the_end_is_kept(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 10)
    play(monkeypatch, "seq 1 2000; printf '%s' aaaaaaaaaaaaaaaaaaaaa")
    command: Command = commands.start(DOCTOR, by=ADA)
    await end(commands)
    assert list(command.lines) == [*map(str, range(1502, 2001)), "a" * 10]
