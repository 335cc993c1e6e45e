"""`marble read` and `marble run`: recipes of others, read and drawn."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.metadata import encode_png
from tests.bots.terminal.conftest import Marble
from tests.bots.terminal.test_commands import TINY, path_of
from tests.engine.test_comfy import default_graph
from tests.engine.test_graphs import DEFAULT_WORKFLOW
from tests.factories import make_recipe, pixels


def write(path: Path, graph: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(graph))
    return str(path)


def small(graph: dict[str, Any]) -> dict[str, Any]:
    """Return the graph for the tiny model, at its size."""
    graph["4"] = {"class_type": "DiffusersLoader", "inputs": {"model_path": "tiny"}}
    graph["5"]["inputs"].update(width=64, height=64)
    graph["3"]["inputs"].update(steps=2)
    return graph


def test_any_ones_picture_is_read(marble: Marble, tmp_path: Path) -> None:
    (tmp_path / "ours.png").write_bytes(encode_png(pixels(0), make_recipe(seed=2**60), 0))
    answer = marble("read", "ours.png")
    assert answer.code == 0
    assert str(2**60) in answer.out
    assert "written by" in answer.out
    write(tmp_path / "graph.json", default_graph())
    answer = marble("read", "graph.json")
    assert "ComfyUI" in answer.out
    assert "beautiful scenery nature glass bottle landscape" in answer.out


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("none.png", None, "No such file"),
        ("bare.png", b"\x89PNG\r\n\x1a\n", "cut short"),
        ("text.txt", b"hello", "not a PNG, JPEG or WebP"),
        ("graph.json", b"{", "not valid JSON"),
    ],
)
def test_what_holds_no_recipe_costs_one_sentence(
    marble: Marble, tmp_path: Path, name: str, data: bytes | None, said: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    answer = marble("read", name)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert said in answer.err


def test_comfyuis_default_workflow_runs_in_both_formats(marble: Marble, tmp_path: Path) -> None:
    # Its model is not here: any other may stand in.
    api = write(tmp_path / "api.json", default_graph())
    ui = write(tmp_path / "ui.json", DEFAULT_WORKFLOW)
    refused = marble("run", api)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "There is no model 'v1-5-pruned-emaonly.ckpt'" in refused.err
    first = marble("run", api, *TINY, "--size", "64")
    second = marble("run", ui, *TINY, "--size", "64")
    assert (first.code, second.code) == (0, 0)
    assert path_of(first.out, "1.1").read_bytes() == path_of(second.out, "2.1").read_bytes()


def test_a_graph_draws_what_its_recipe_draws(marble: Marble, tmp_path: Path) -> None:
    graph = small(default_graph())
    first = marble("run", write(tmp_path / "graph.json", graph))
    words = graph["6"]["inputs"]["text"]
    same = marble(
        "imagine", words, "--no", "text, watermark", "--seed", str(graph["3"]["inputs"]["seed"]),
        "--cfg", "8", "--sampler", "euler", "--schedule", "normal", "--size", "64", *TINY,
    )  # fmt: skip
    assert path_of(first.out, "1.1").read_bytes() == path_of(same.out, "2.1").read_bytes()


def test_pictures_that_a_workflow_loads_are_found_beside_it(marble: Marble, tmp_path: Path) -> None:
    graph = small(default_graph())
    graph["20"] = {"class_type": "LoadImage", "inputs": {"image": "cat.png"}}
    graph["21"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["20", 0], "vae": ["4", 2]}}
    graph["3"]["inputs"].update(latent_image=["21", 0], denoise=0.5)
    file = write(tmp_path / "user" / "graph.json", graph)
    missing = marble("run", file)
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    assert "loads 'cat.png'" in missing.err
    (tmp_path / "input").mkdir()
    Image.fromarray(pixels(3, 64, 96)).save(tmp_path / "input" / "cat.png")
    drawn = marble("run", file)
    assert drawn.code == 0
    with Image.open(path_of(drawn.out, "1.1")) as image:
        assert image.size == (64, 96)


@pytest.mark.parametrize("name", ["cat.webp", "cat.jpg"])
def test_a_copy_takes_the_form_its_name_asks_for(marble: Marble, tmp_path: Path, name: str) -> None:
    first = marble("imagine", "a cat", *TINY)
    assert marble("show", "1", "--out", name).code == 0
    with Image.open(tmp_path / name) as image:
        assert image.format == {"cat.webp": "WEBP", "cat.jpg": "JPEG"}[name]
    again = marble("rerun", name)
    assert path_of(first.out, "1.1").read_bytes() == path_of(again.out, "2.1").read_bytes()
