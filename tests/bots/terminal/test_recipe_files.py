"""`marble read` and `marble run`: recipes of others, read and drawn."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bots.terminal.chat import dropped
from engine.formats.metadata import write_png
from engine.recipe.parts import Variation
from tests.bots.terminal.conftest import Answer, Marble
from tests.bots.terminal.test_commands import TINY, path_of
from tests.engine.formats import others
from tests.engine.formats.test_comfy import default_graph
from tests.engine.formats.test_graphs import DEFAULT_WORKFLOW
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
    (tmp_path / "ours.png").write_bytes(write_png(pixels(0), make_recipe(seed=2**60), 0))
    answer = marble("read", "ours.png")
    assert answer.code == 0
    assert str(2**60) in answer.out
    assert "written by" in answer.out
    write(tmp_path / "graph.json", default_graph())
    answer = marble("read", "graph.json")
    assert "ComfyUI" in answer.out
    assert "beautiful scenery nature glass bottle landscape" in answer.out


def test_a_workflow_that_begins_with_a_byte_order_mark_is_read(
    marble: Marble, tmp_path: Path
) -> None:
    graph = default_graph()
    graph["4"]["inputs"]["ckpt_name"] = "half \ud800"
    text = "\ufeff" + json.dumps(graph)
    (tmp_path / "graph.json").write_text(text, encoding="utf-8")
    answer = marble("read", "graph.json")
    assert (answer.code, answer.err) == (0, "")
    assert "half \ufffd" in answer.out


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("none.png", None, "There is no file 'none.png'"),
        ("bare.png", b"\x89PNG\r\n\x1a\n", "is incomplete"),
        ("text.txt", b"hello", "no PNG, JPEG, WebP, AVIF or GIF picture"),
        ("graph.json", b"{", "not valid JSON"),
        ("null.json", b"null", "The file holds no ComfyUI workflow"),
        ("none.json", None, "There is no file 'none.json'"),
        (".", None, "'.' is a folder"),
        ("", None, "The file's name is empty"),
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
    (tmp_path / "input" / "cat.png").touch()
    empty = marble("run", file)
    said = (
        "marble: The ComfyUI workflow loads 'cat.png', which cannot be used: The file is empty.\n"
    )
    assert (empty.code, empty.err) == (2, said)
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


def text_of(graph: Any) -> bytes:
    return json.dumps(graph).encode()


def spoilt(**changes: Any) -> bytes:
    """Return ComfyUI's default graph with inputs of its sampler changed."""
    graph = default_graph()
    graph["3"]["inputs"].update(changes)
    return text_of(graph)


# What is wrong with graphs that say something all the same.
HUGE = b"1" + b"0" * 400
UNDRAWN: dict[str, tuple[bytes, str]] = {
    "missing input": (spoilt(model=None), "'model' of KSampler (node 3) is not connected"),
    "a link to nowhere": (
        spoilt(model=["99", 0]),
        "'model' of KSampler (node 3) comes from node 99, which does not exist",
    ),
    "a word for a number": (
        spoilt(steps="many"),
        "'steps' of KSampler (node 3) is not a number",
    ),
    "nothing saved": (
        text_of({name: node for name, node in default_graph().items() if name != "9"}),
        "saves nothing: it has none of these nodes: SaveImage, PreviewImage",
    ),
    "unknown node": (
        text_of({**default_graph(), "4": {"class_type": "LoadMagic", "inputs": {}}}),
        "comes from LoadMagic (node 4), a node that Marble does not support",
    ),
    "wrong type": (spoilt(positive=["4", 1]), "gets CLIP from CheckpointLoaderSimple"),
    "NaN": (spoilt(cfg=float("nan")), "guidance_scale: nan (it must be between 0 and 30)"),
    "infinite": (spoilt(denoise=float("inf")), "denoises only in part"),
    "huge seed": (spoilt(seed=1).replace(b'"seed": 1', b'"seed": ' + HUGE), "seed: 1000000"),
    "huge steps": (spoilt(steps=1).replace(b'"steps": 1', b'"steps": ' + HUGE), "steps: 1000000"),
}
BAD: dict[str, tuple[bytes, str]] = {
    "circle": (spoilt(latent_image=["3", 0]), "has a circle at KSampler"),
    "not JSON": (b"{'3': 1}", "not valid JSON"),
    "a list": (b"[1, 2]", "has no nodes"),
    "deep": (b'{"a":' * 100_000, "not valid JSON"),
    "too many digits": (b'{"3": 1' + b"0" * 5000 + b"}", "not valid JSON"),
    "a canvas without nodes": (b'{"nodes": [], "links": []}', "has no nodes"),
}


@pytest.mark.parametrize("name", UNDRAWN)
def test_a_graph_that_cannot_be_drawn_is_read_all_the_same(
    marble: Marble, tmp_path: Path, name: str
) -> None:
    data, said = UNDRAWN[name]
    (tmp_path / "bad.json").write_bytes(data)
    answer = marble("read", "bad.json")
    assert (answer.code, answer.err) == (0, "")
    assert said in answer.out
    assert re.search(r"text, watermark +CLIPTextEncode \(node 7\): text\n", answer.out)
    assert "euler" in answer.out


@pytest.mark.parametrize("name", BAD)
def test_a_bad_graph_costs_one_sentence(marble: Marble, tmp_path: Path, name: str) -> None:
    data, said = BAD[name]
    (tmp_path / "bad.json").write_bytes(data)
    answer = marble("read", "bad.json")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert said in answer.err
    assert len(answer.err) < 300


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (20, "16 MiB at most"),
        (100, "The file 'large.json' is too large; it may have 64 MiB at most."),
    ],
)
def test_a_file_of_hundred_megabytes_costs_one_sentence(
    marble: Marble, tmp_path: Path, size: int, said: str
) -> None:
    with (tmp_path / "large.json").open("wb") as file:
        file.write(b"{")
        file.truncate(size * 2**20)
    answer = marble("read", "large.json")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert said in answer.err


def start(name: str) -> dict[str, Any]:
    """Return nodes that start from a picture, under a mask that is its red channel."""
    return {
        "20": {"class_type": "LoadImage", "inputs": {"image": name}},
        "21": {"class_type": "VAEEncode", "inputs": {"pixels": ["20", 0], "vae": ["4", 2]}},
        "22": {"class_type": "LoadImageMask", "inputs": {"image": "mask.png", "channel": "red"}},
        "23": {
            "class_type": "SetLatentNoiseMask",
            "inputs": {"samples": ["21", 0], "mask": ["22", 0]},
        },
    }


@pytest.mark.parametrize("inverted", [False, True])
def test_a_channel_of_another_picture_is_a_mask(
    marble: Marble, tmp_path: Path, inverted: bool
) -> None:
    graph = small(default_graph()) | start("cat.png [input]")
    if inverted:
        graph["24"] = {"class_type": "InvertMask", "inputs": {"mask": ["22", 0]}}
        graph["23"]["inputs"]["mask"] = ["24", 0]
    graph["3"]["inputs"].update(latent_image=["23", 0], denoise=1)
    before = Image.fromarray(pixels(3, 64, 64))
    before.save(tmp_path / "cat.png")
    mask = Image.new("RGB", (64, 64), (0, 255, 255))
    mask.paste((255, 0, 0), (0, 0, 32, 64))
    mask.save(tmp_path / "mask.png")
    drawn = marble("run", write(tmp_path / "graph.json", graph))
    with Image.open(path_of(drawn.out, "1.1")) as image:
        kept = (0, 0, 32, 64) if inverted else (32, 0, 64, 64)
        assert image.convert("RGB").crop(kept).tobytes() == before.crop(kept).tobytes()
        assert image.convert("RGB").tobytes() != before.tobytes()


def test_a_padded_picture_is_kept_within_its_margins(marble: Marble, tmp_path: Path) -> None:
    pad = {"image": ["20", 0], "left": 0, "top": 0, "right": 64, "bottom": 0, "feathering": 8}
    fill = {"pixels": ["22", 0], "vae": ["4", 2], "mask": ["22", 1], "grow_mask_by": 6}
    graph = small(default_graph()) | {
        "20": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
        "22": {"class_type": "ImagePadForOutpaint", "inputs": pad},
        "21": {"class_type": "VAEEncodeForInpaint", "inputs": fill},
    }
    graph["3"]["inputs"].update(latent_image=["21", 0], denoise=1)
    before = Image.fromarray(pixels(3, 64, 64))
    before.save(tmp_path / "cat.png")
    drawn = marble("run", write(tmp_path / "graph.json", graph))
    with Image.open(path_of(drawn.out, "1.1")) as image:
        assert image.size == (128, 64)
        kept = (0, 0, 32, 64)  # beyond the strip over which a margin fades
        assert image.convert("RGB").crop(kept).tobytes() == before.crop(kept).tobytes()


@pytest.mark.parametrize("name", ["../cat.png", "/cat.png", "x" * 5_000])
def test_a_workflow_takes_pictures_from_beside_it_alone(
    marble: Marble, tmp_path: Path, name: str
) -> None:
    Image.fromarray(pixels(3, 64, 64)).save(tmp_path / "cat.png")
    (tmp_path / "inner").mkdir()
    Image.fromarray(pixels(4, 64, 64)).save(tmp_path / "inner" / "mask.png")
    name = f"{tmp_path}{name}" if name.startswith("/") else name
    graph = small(default_graph()) | start(name)
    graph["3"]["inputs"].update(latent_image=["23", 0], denoise=1)
    answer = marble("run", write(tmp_path / "inner" / "graph.json", graph))
    assert answer.code == 2
    assert "neither beside it nor in a folder `input`" in answer.err
    assert "Traceback" not in answer.err


def test_a_channel_that_no_picture_has_costs_one_sentence(marble: Marble, tmp_path: Path) -> None:
    graph = small(default_graph()) | start("cat.png")
    graph["22"]["inputs"]["channel"] = "purple"
    graph["3"]["inputs"].update(latent_image=["23", 0], denoise=1)
    for name in ("cat.png", "mask.png"):
        Image.fromarray(pixels(3, 64, 64)).save(tmp_path / name)
    answer = marble("run", write(tmp_path / "graph.json", graph))
    assert answer.code == 2
    assert "takes a mask from 'purple'" in answer.err
    assert "Traceback" not in answer.err


def test_a_picture_from_a_picture_comes_back_by_its_graph(marble: Marble, tmp_path: Path) -> None:
    Image.fromarray(pixels(3, 64, 64)).save(tmp_path / "cat.png")
    words = ("imagine", "a cat", "--image", "cat.png", "--strength", "0.6", "--size", "64", *TINY)
    drawn = path_of(marble(*words).out, "1.1")
    with Image.open(drawn) as image:
        (tmp_path / "graph.json").write_text(image.info["prompt"])
        (tmp_path / "canvas.json").write_text(image.info["workflow"])
        assert "Denoising strength: 0.6" in image.info["parameters"]
    # The picture store holds what the graph loads by its name there.
    assert path_of(marble("run", "graph.json").out, "2.1") == drawn
    assert path_of(marble("run", "canvas.json").out, "3.1") == drawn


def test_what_others_cannot_say_is_left_out_and_said(marble: Marble, tmp_path: Path) -> None:
    varied = make_recipe(variations=(Variation(seed=9, amount=0.5),))
    (tmp_path / "varied.png").write_bytes(write_png(pixels(0), varied, 0))
    with Image.open(tmp_path / "varied.png") as image:
        assert image.info.keys() == {"marble"}
    said = marble("read", "varied.png").out
    assert "No ComfyUI graph: its noise is turned towards another seed's." in said
    assert "No A1111 line: its noise is turned towards another seed's." in said
    masked = make_recipe(image="a" * 64, mask="b" * 64, strength=1)
    (tmp_path / "masked.png").write_bytes(write_png(pixels(0), masked, 0))
    said = marble("read", "masked.png").out
    assert "The ComfyUI graph is nearly the same: the mask's edge fades otherwise there." in said


def test_pictures_that_a_graph_loads_are_named_where_it_is_only_read(
    marble: Marble, tmp_path: Path
) -> None:
    graph = small(default_graph()) | start("cat.png")
    graph["3"]["inputs"].update(latent_image=["23", 0], denoise=0.5)
    write(tmp_path / "graph.json", graph)
    said = marble("read", "graph.json").out
    assert "cat.png" in said
    assert "mask.png (red)" in said


def test_another_programs_picture_is_drawn_and_what_is_not_honoured_is_said(
    marble: Marble, tmp_path: Path
) -> None:
    text = (
        'a cat, "quoted"\nNegative prompt: text\nSteps: 2, Sampler: Euler a, CFG scale: 4, '
        "Seed: 5, Size: 64x64, Model: tiny, Tiling: True, Version: v1.10.1"
    )
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    Image.new("RGB", (8, 8)).save(tmp_path / "theirs.jpg", exif=exif)
    drawn = marble("rerun", "theirs.jpg")
    assert drawn.code == 0
    assert "Could not be used: Tiling: True" in drawn.out
    with Image.open(path_of(drawn.out, "1.1")) as image:
        assert image.info["parameters"].startswith('a cat, "quoted"\nNegative prompt: text\n')


LINE = "a hut\nSteps: 2, Sampler: Euler, CFG scale: 6, Seed: 3, Size: 64x64, Model: starter"


def test_a_text_file_beside_a_picture_is_read_and_drawn(marble: Marble, tmp_path: Path) -> None:
    (tmp_path / "cat.txt").write_text(LINE, "utf-8")
    assert dropped("cat.txt") == Path("cat.txt")
    answer = marble("read", "cat.txt")
    assert (answer.code, "A1111" in answer.out, "a hut" in answer.out) == (0, True, True)
    assert marble("run", "cat.txt").code == 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_workflow_is_read_in_any_encoding(marble: Marble, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "graph.json").write_bytes(json.dumps(default_graph()).encode(encoding))
    answer = marble("read", "graph.json")
    assert (answer.code, "ComfyUI" in answer.out) == (0, True)


def test_what_is_left_of_a_damaged_recipe_is_shown(marble: Marble, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("marble", json.dumps(make_recipe(seed=77).to_dict() | {"steps": 999}))
    Image.new("RGB", (8, 8)).save(tmp_path / "cat.png", pnginfo=info)
    answer = marble("read", "cat.png")
    assert (answer.code, "77" in answer.out) == (0, True)
    assert "Missing: steps." in answer.out
    assert "steps: 999 (it must be a whole number between 1 and 150)" in answer.out


def test_a_file_dropped_into_the_chat_is_drawn_again(marble: Marble, tmp_path: Path) -> None:
    assert dropped("a cat") is dropped("12.3") is dropped("it's") is dropped("no.png") is None
    file = tmp_path / "my cat.png"
    file.write_bytes(write_png(pixels(0), make_recipe(), 0))
    assert dropped(f"'{file}'") == dropped(f"{tmp_path}/my\\ cat.png ") == file
    write(tmp_path / "graph.json", default_graph())
    assert dropped("graph.json") == Path("graph.json")


def test_a_dropped_picture_is_answered_in_the_chat(
    marble: Marble, chat: Callable[[str], Answer], tmp_path: Path
) -> None:
    first = path_of(marble("imagine", "a cat", *TINY).out, "1.1")
    (tmp_path / "cat.png").write_bytes(first.read_bytes())
    answer = chat(f"{tmp_path}/cat.png\n")
    assert answer.code == 0
    assert path_of(answer.out, "2.1") == first


def test_what_a_file_does_not_say_is_the_models_own_and_the_model_is_asked_for(
    marble: Marble, tmp_path: Path
) -> None:
    text = "Steps: 2, Seed: 5, Size: 70x64, CFG scale: 4, App: SD.Next"
    (tmp_path / "theirs.png").write_bytes(others.png({"parameters": text}))
    said = marble("read", "theirs.png").out
    assert re.search(r"written by +SD.Next\n", said)
    assert re.search(r"seed +5 +Seed\n", said)
    assert re.search(r'prompt +"" +prompt\n', said)
    assert "Missing: sampler, schedule, model.\n" in said
    assert "Could not be used: 70×64 pixels become 64×64, in whole latents\n" in said
    refused = marble("run", "theirs.png")
    assert (refused.code, refused.out.count("\n"), refused.err.count("\n")) == (2, 1, 1)
    assert "The text by SD.Next does not name its model: choose one with `--model`" in refused.err
    drawn = marble("run", "theirs.png", *TINY, "--sampler", "heun")
    assert "so it is taken from the model 'tiny': schedule, model.\n" not in drawn.out
    assert "so it is taken from the model 'tiny': schedule.\n" in drawn.out
    with Image.open(path_of(drawn.out, "1.1")) as image:
        assert (image.size, image.info["parameters"].splitlines()[0]) == ((64, 64), "")
        assert "Sampler: Heun" in image.info["parameters"]


def test_a_result_is_chosen_and_the_choice_said(marble: Marble, tmp_path: Path) -> None:
    graph = small(default_graph())
    scaled = {"image": ["8", 0], "upscale_method": "lanczos", "scale_by": 2.0}
    graph["12"] = {"class_type": "ImageScaleBy", "inputs": scaled}
    graph["13"] = {"class_type": "SaveImage", "inputs": {"images": ["12", 0]}}
    file = write(tmp_path / "graph.json", graph)
    said = "SaveImage (node 13) is taken, not SaveImage (node 9) (`--result 9`, or"
    for result, side in ((), 128), (("--result", "9"), 64), (("--result", "13"), 128):
        answer = marble("run", file, *result)
        assert (said in answer.out) == (not result)
        with Image.open(path_of(answer.out, re.findall(r"(\d+\.1)  ", answer.out)[0])) as image:
            assert image.size == (side, side)
    assert ("factor 2" in marble("read", file, "--result", "9").out) is False
    refused = marble("run", file, "--result", "8")
    assert "has no result '8'; its results: SaveImage (node 9), SaveImage (node 13)." in refused.err


@pytest.mark.parametrize("command", ["read", "run"])
def test_a_result_of_what_has_but_one_is_refused(
    marble: Marble, tmp_path: Path, command: str
) -> None:
    (tmp_path / "a1111.png").write_bytes(others.png(others.TEXTS["A1111"]))
    (tmp_path / "ours.png").write_bytes(write_png(pixels(0), make_recipe(), 0))
    for name, wrote in (("a1111.png", "A1111"), ("ours.png", "Marble")):
        answer = marble(command, name, "--result", "9")
        assert (answer.code, answer.out) == (2, "")
        assert f"a ComfyUI graph; what {wrote} wrote into this file is one picture's" in answer.err


def test_a_start_images_size_is_its_files_or_none(marble: Marble, tmp_path: Path) -> None:
    graph = default_graph() | start("cat.png")
    graph["3"]["inputs"].update(latent_image=["21", 0], denoise=0.5)
    file = write(tmp_path / "graph.json", graph)
    said = marble("read", file).out
    assert "Missing: width, height.\n" in said
    assert "the size is that of the picture that it loads" in said
    Image.fromarray(pixels(3, 96, 64)).save(tmp_path / "cat.png")
    said = marble("read", file).out
    assert "Missing" not in said
    assert re.search(r"width +96\n", said)


def test_a_dropped_file_that_cannot_be_drawn_is_shown(
    chat: Callable[[str], Answer], tmp_path: Path
) -> None:
    graph = default_graph()
    graph["10"] = {"class_type": "MagicFilter", "inputs": {"image": ["8", 0]}}
    graph["9"]["inputs"]["images"] = ["10", 0]
    (tmp_path / "odd.png").write_bytes(others.png({"prompt": json.dumps(graph)}))
    answer = chat(f"{tmp_path}/odd.png\n")
    assert answer.code == 2
    assert "beautiful scenery nature glass bottle landscape" in answer.out
    assert "comes from MagicFilter (node 10)" in answer.out
