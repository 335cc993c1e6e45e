"""`--workflow` and `marble workflows`: the owner's workflows in a terminal."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bots.presentation.test_presentation import png
from tests.bots.terminal.conftest import Answer, Marble
from tests.bots.terminal.test_commands import path_of
from tests.bots.workflow_graphs import canvas, from_picture, marked, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write(tmp_path / "flows", portrait=marked(model="tiny"), redraw=from_picture())
    monkeypatch.setenv("MARBLE_WORKFLOWS_DIR", str(folder))
    return folder


@pytest.mark.usefixtures("folder")
def test_a_workflow_draws_what_its_recipe_draws(marble: Marble) -> None:
    words = ("a", "cat", "--seed", "7")
    first = marble("imagine", *words, "--workflow", "portrait", "--steps", "2")
    assert (first.code, first.err) == (0, "")
    same = marble(
        "imagine", *words, "--no", "text, watermark", "--steps", "2", "--cfg", "8", "--sampler",
        "euler", "--schedule", "normal", "--size", "64", "--model", "tiny",
    )  # fmt: skip
    assert path_of(first.out, "1.1").read_bytes() == path_of(same.out, "2.1").read_bytes()
    assert (
        path_of(marble("rerun", "1").out, "3.1").read_bytes()
        == path_of(first.out, "1.1").read_bytes()
    )
    own = marble("imagine", "--workflow", "portrait")
    assert "beautiful scenery nature glass bottle landscape" in own.out


def test_what_a_workflow_does_not_take_costs_one_sentence(
    marble: Marble, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "dog.png").write_bytes(png(64, 64))
    control = ("--control", "canny:dog.png")
    for words, said in (
        (("--workflow", "portrait", "--image", "dog.png"), "marked as image; what may be set: pro"),
        (("--workflow", "portrait", *control), "marked as controls; what may be set: prompt, neg"),
        (("--workflow", "redraw"), "starts from a picture of yours: give it as image."),
        (("--workflow", "gone"), "no workflow 'gone'; available workflows: portrait, redraw."),
        (("--workflow", "portrait", "--model", "tiny"), "nothing is marked as model"),
        ((), "prompt must be a description of the picture"),
    ):
        answer = marble("imagine", *words)
        assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert said in answer.err, answer.err


def test_the_list_has_inputs_and_what_is_left_out_or_ignored(
    marble: Marble, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "torn.json").write_text("{")
    write(folder, drawing=canvas({6: "prompt"}))
    lines = [line.strip() for line in marble("workflows").out.splitlines() if line.strip()]
    assert [" ".join(line.split()) for line in lines] == [
        "drawing prompt, seed, count",
        "portrait prompt, negative, seed, size, count, steps, guidance",
        "redraw prompt, negative, image, seed, count, strength",
        "Left out: torn.json: The file holds no ComfyUI workflow: it is not valid JSON.",
    ]
    doctor = marble("doctor").out
    assert "look  workflows  torn.json is left out: The file holds no ComfyUI workflow" in doctor
    monkeypatch.setenv("MARBLE_WORKFLOWS_DIR", "")
    assert "MARBLE_WORKFLOWS_DIR names no folder" in marble("workflows").out


@pytest.mark.usefixtures("folder")
def test_a_conversation_draws_by_workflows(chat: Callable[[str], Answer]) -> None:
    answer = chat(
        "a cat --workflow portrait --steps 2\n"
        "/imagine --workflow portrait --seed 3\n"
        "a cat --workflow potrait\n"
        ":seed 1 --workflow portrait\n"
    )
    assert answer.code == 2
    assert "a cat" in answer.out
    assert "beautiful scenery nature glass bottle landscape" in answer.out
    assert "There is no workflow 'potrait' (did you mean 'portrait'?)" in answer.out
    assert "There is no option '--workflow'" in answer.out
