import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.files.atomic import replace_text, sweep_drafts


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "engine" / "speeds.json"
    replace_text(file, "one")
    replace_text(file, "two")
    assert file.read_text() == "two"
    assert list(file.parent.iterdir()) == [file]


def test_a_draft_that_cannot_be_written_leaves_the_file(tmp_path: Path) -> None:
    file = tmp_path / "speeds.json"
    replace_text(file, "one")
    (tmp_path / f"speeds.{os.getpid()}").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_text(file, "two")
    assert file.read_text() == "one"


def test_only_drafts_of_the_dead_go(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f"a.{dead.pid}", f"a.{os.getpid()}", f"a.{2**70}", f"a.{os.getppid()}", "a.json", "a"]
    for name in names:
        (tmp_path / name).touch()
    sweep_drafts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"a.{os.getppid()}", "a.json", "a"}


def test_a_folder_that_is_not_there_holds_none(tmp_path: Path) -> None:
    sweep_drafts(tmp_path / "engine")
