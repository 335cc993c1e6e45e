"""The folder of workflows: names, what is left out, and what is read again."""

import json
import os
from pathlib import Path

import pytest

from bots.requests import workflow_folder
from bots.requests.workflow_file import read_workflow
from bots.requests.workflow_folder import WorkflowFolder
from engine.formats.metadata import write_png
from tests.bots.workflow_graphs import from_picture, marked, write
from tests.engine.formats import others
from tests.factories import make_recipe, pixels


def test_no_folder_and_an_empty_one_hold_nothing(tmp_path: Path) -> None:
    for folder in (None, tmp_path, tmp_path / "gone"):
        found = WorkflowFolder(folder).look()
        assert (found.workflows, found.broken) == ({}, {})


def test_names_are_those_of_files_and_what_is_broken_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, portrait=marked(), **{"two words (1)": marked(), "肖像": marked()})
    write(tmp_path, **{"a;b": marked(), "x" * 101: marked(), "needs": from_picture({"20": "x"})})
    (tmp_path / "torn.json").write_text('{"nodes": [')
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "binary.json").write_bytes(b"\x00\xff")
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / ".hidden.json").write_text("{")
    (tmp_path / "folder.json").mkdir()
    found = WorkflowFolder(tmp_path).look()
    assert sorted(found.workflows) == ["portrait", "two words (1)", "肖像"]
    assert {file: str(error) for file, error in found.broken.items()} == {
        "a;b.json": "Its name may have 1 to 100 letters, digits, blanks and -_.()+, and begins "
        "with a letter, a digit or _.",
        f"{'x' * 101}.json": str(found.broken["a;b.json"]),
        "binary.json": "The file holds no ComfyUI workflow: it is not valid JSON.",
        "list.json": "The ComfyUI graph has no nodes.",
        "needs.json": "It loads 'cat.png', which is neither beside it nor in a folder `input`.",
        "torn.json": "The file holds no ComfyUI workflow: it is not valid JSON.",
    }


def test_a_link_that_leads_nowhere_is_named_until_it_leads_to_a_file(tmp_path: Path) -> None:
    folder = WorkflowFolder(tmp_path / "workflows")
    write(tmp_path / "workflows", good=marked())
    (tmp_path / "workflows" / "lost.json").symlink_to(tmp_path / "gone.json")
    (tmp_path / "workflows" / "round.json").symlink_to(tmp_path / "workflows" / "round.json")
    found = folder.look()
    assert list(found.workflows) == ["good"]
    assert {file: str(error) for file, error in found.broken.items()} == {
        "lost.json": "It cannot be read (No such file or directory).",
        "round.json": "It cannot be read (Too many levels of symbolic links).",
    }
    write(tmp_path, gone=marked())
    assert sorted(folder.look().workflows) == ["good", "lost"]


def test_pngs_may_hold_workflows_and_others_are_only_pictures(tmp_path: Path) -> None:
    write(tmp_path, twice=marked())
    for name in ("portrait", "twice"):
        (tmp_path / f"{name}.png").write_bytes(others.png({"prompt": json.dumps(marked())}))
    (tmp_path / "cat.png").write_bytes(write_png(pixels(0), make_recipe(), 0))
    found = WorkflowFolder(tmp_path).look()
    assert sorted(found.workflows) == ["portrait", "twice"]
    said = "Another file holds a workflow named twice."
    assert {file: str(error) for file, error in found.broken.items()} == {"twice.png": said}


def test_only_files_that_change_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, **{f"w{number}": marked() for number in range(1_000)})
    opened: list[str] = []
    real = read_workflow

    def counted(name: str, folder: Path, data: bytes) -> object:
        opened.append(name)
        return real(name, folder, data)

    monkeypatch.setattr(workflow_folder, "read_workflow", counted)
    folder = WorkflowFolder(tmp_path)
    assert len(folder.look().workflows) == len(opened) == 1_000
    opened.clear()
    write(tmp_path, w7=marked({}), new=marked())
    os.remove(tmp_path / "w8.json")
    (tmp_path / "w9.json").write_text("{")
    found = folder.look()
    assert sorted(opened) == ["new", "w7", "w9"]
    assert found.workflows["w7"].inputs == ("prompt", "seed", "count")
    assert {"w8", "w9"} & found.workflows.keys() == set()
    assert list(found.broken) == ["w9.json"]
    opened.clear()
    assert folder.look() == found
    assert opened == []


def test_a_picture_that_comes_later_mends_what_loads_it(tmp_path: Path) -> None:
    write(tmp_path, sketch=from_picture({"20": "x"}))
    folder = WorkflowFolder(tmp_path)
    assert list(folder.look().broken) == ["sketch.json"]
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "cat.png").write_bytes(b"")
    assert list(folder.look().workflows) == ["sketch"]


def test_an_error_that_nobody_expected_leaves_out_one_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, bad=marked(), good=marked())
    real = read_workflow

    def broken(name: str, folder: Path, data: bytes) -> object:
        return real(name, folder, data) if name == "good" else 1 // 0

    monkeypatch.setattr(workflow_folder, "read_workflow", broken)
    found = WorkflowFolder(tmp_path).look()
    assert list(found.workflows) == ["good"]
    assert str(found.broken["bad.json"]) == "It cannot be read (ZeroDivisionError)."
    assert "the workflow bad.json cannot be read" in caplog.text
