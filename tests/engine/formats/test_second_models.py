"""A second model in pictures' texts: graphs and lines, both ways."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.formats.a1111.reader import from_a1111
from engine.formats.a1111.writer import to_a1111
from engine.formats.comfy.layout import to_workflow
from engine.formats.comfy.limits import no_graph_reasons
from engine.formats.comfy.writer import to_graph
from engine.formats.metadata import read_recipe, write_png
from engine.formats.png_texts import read_texts
from engine.formats.reading import Reading
from engine.formats.tools import read_json
from engine.models.catalogue import Checkpoint
from engine.models.families import BY_KEY
from engine.recipe.limits import ANEW, BY_NOISE
from engine.recipe.parts import Lora, Upscale
from engine.recipe.recipe import Recipe
from tests.engine.formats import others
from tests.engine.formats.test_known_nodes import PICTURES
from tests.engine.recipes import IMAGE, read_graph
from tests.factories import make_recipe

FILES = {"checkpoint": "base.safetensors", "refiner": "refiner.safetensors"}


def refined(**changes: Any) -> Recipe:
    return make_recipe(**{**FILES, "negative_prompt": "fog", "steps": 20, **changes})


def model(key: str) -> Checkpoint:
    family = BY_KEY[key]
    return Checkpoint(name=key, folder=Path(key), family=family, defaults=family.defaults(1024))


XL, REFINER = model("sdxl"), model("refiner")
WRITTEN: dict[str, Recipe] = {
    "plain": refined(refiner_at=0.75),
    "anew": refined(sampler="dpmpp_2m", schedule="karras", refiner_by=ANEW),
    "with noise": refined(sampler="euler_ancestral", noise="gpu", refiner_by=ANEW),
    "LoRA, clip skip": refined(loras=(Lora(name="ink", weight=0.5),), clip_skip=2),
    "scores": refined(aesthetic_score=7.0, negative_aesthetic_score=1.5),
    "BREAK, rescale": refined(prompt="a cat BREAK a dog", guidance_rescale=0.5),
    "another VAE": refined(vae="mse"),
    "start image": refined(image=IMAGE, strength=0.5, steps=10, refiner_at=0.6),
    "second pass": refined(upscale=Upscale(factor=1.5, by="latent", strength=0.5)),
    "slice": refined(count=3, picture=1),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_graph_of_two_models_is_read_as_the_recipe_that_it_was_written_from(kind: str) -> None:
    recipe = WRITTEN[kind]
    assert no_graph_reasons(recipe, XL, REFINER) == ()
    graph = json.loads(json.dumps(to_graph(recipe, XL, REFINER)))
    for form in (graph, to_workflow(recipe, XL, REFINER)):
        found = read_graph(form, PICTURES)
        assert found.recipe == recipe
        assert found.ignored == ()


def test_the_nodes_of_base_and_refiner() -> None:
    graph = to_graph(refined(), XL, REFINER)
    first, last = graph["3"]["inputs"], graph["84"]["inputs"]
    assert (first["start_at_step"], first["end_at_step"], first["steps"]) == (0, 16, 20)
    assert (first["add_noise"], first["return_with_leftover_noise"]) == ("enable", "enable")
    assert (last["add_noise"], last["return_with_leftover_noise"]) == ("disable", "disable")
    assert (last["start_at_step"], last["latent_image"]) == (16, ["3", 0])
    assert graph["82"]["class_type"] == "CLIPTextEncodeSDXLRefiner"
    assert (graph["82"]["inputs"]["ascore"], graph["83"]["inputs"]["ascore"]) == (6.0, 2.5)
    assert graph["8"]["inputs"]["vae"] == ["80", 2]
    assert to_graph(refined())["82"]["class_type"] == "CLIPTextEncode"


NO_GRAPH: dict[str, tuple[Recipe, str]] = {
    "one sampler with a memory": (refined(sampler="dpmpp_2m"), "within a sampler's run"),
    "by noise": (refined(refiner_by=BY_NOISE), "within a sampler's run"),
    "one step": (refined(steps=1), "left no step"),
    "a mask": (refined(image=IMAGE, mask=IMAGE, strength=1.0), "under its mask"),
    "its steps": (refined(schedule="ddim_uniform"), "other steps than are asked for"),
    "a LoRA": (refined(loras=(Lora(name="ink"),)), "made for its first model"),
}


@pytest.mark.parametrize("kind", NO_GRAPH)
def test_what_no_graph_can_say_of_two_models(kind: str) -> None:
    recipe, said = NO_GRAPH[kind]
    (reason,) = no_graph_reasons(recipe)
    assert said in reason
    with pytest.raises(ValueError, match=said):
        to_graph(recipe)


LINES = {**WRITTEN, "by noise": refined(refiner_by=BY_NOISE, refiner_at=0.85)}


@pytest.mark.parametrize("kind", LINES)
def test_a_line_of_two_models_is_read_as_it_was_written(kind: str) -> None:
    recipe = LINES[kind]
    found = from_a1111(to_a1111(recipe))
    assert found.recipe == recipe
    assert found.ignored == ()


LINE = (
    "a cat\nNegative prompt: fog\nSteps: 20, Sampler: Euler, Schedule type: Karras, CFG scale: 7, "
    "Seed: 1, Size: 1024x1024, Model hash: 31e35c80fc, Model: sd_xl_base_1.0, "
    "Refiner: sd_xl_refiner_1.0 [7440042bbd], Refiner switch at: {at}{more}, Version: {version}"
)


@pytest.mark.parametrize(
    ("version", "more", "by"),
    [
        ("v1.6.0", "", "steps"),
        ("v1.8.0", "", "steps"),
        ("v1.9.0", "", BY_NOISE),
        ("v1.10.1", "", BY_NOISE),
        ("v1.10.1", ", Refiner switch by sampling steps: True", "steps"),
        ("f2.0.1v1.10.1-previous-1-g1", "", BY_NOISE),
    ],
)
def test_the_version_tells_how_a1111_counts(version: str, more: str, by: str) -> None:
    found = from_a1111(LINE.format(at=0.8, more=more, version=version))
    recipe = found.recipe
    assert (recipe.models, recipe.refiner_at) == (("sd_xl_base_1.0", "sd_xl_refiner_1.0"), 0.8)
    assert (recipe.refiner_by, found.ignored) == (by, ())
    assert found.where["refiner"] == "Refiner"


def test_one_that_never_takes_over_is_listed() -> None:
    found = from_a1111(LINE.format(at=1, more="", version="v1.6.0"))
    assert found.recipe.refiner is None
    assert found.ignored == (
        "Refiner: sd_xl_refiner_1.0 [7440042bbd]",
        "Refiner switch at: 1",
    )


def test_with_a_hires_fix_it_says_in_which_pass() -> None:
    more = ", Denoising strength: 0.5, Hires upscale: 2, Hires steps: 10, "
    more += "Hires upscaler: Latent"
    found = from_a1111(LINE.format(at=0.8, more=more, version="v1.6.0"))
    note = (
        "Refiner: sd_xl_refiner_1.0 (it takes over in the first pass, and draws all of the second)"
    )
    assert note in found.ignored
    first = f"{more}, Hires refiner: first pass"
    again = from_a1111(LINE.format(at=0.8, more=first, version="v1.6.0"))
    assert note in again.ignored  # there the first model draws the second pass
    ours = from_a1111(to_a1111(refined(upscale=Upscale(strength=0.5))))
    assert (ours.recipe.refiner, ours.ignored) == (refined().refiner, ())


def test_one_that_a1111_never_reaches_is_left_out() -> None:
    line = LINE.format(at=0.8, more="", version="v1.6.0").replace("Steps: 20", "Steps: {}")
    found = from_a1111(line.format(4))
    assert found.recipe.refiner is None
    assert found.ignored == (
        "Refiner: sd_xl_refiner_1.0 (it never takes over in so few steps, and A1111 drew without "
        "it)",
    )
    assert from_a1111(line.format(5)).recipe.refiner == "sd_xl_refiner_1.0"
    kept = refined(steps=4, refiner_at=0.8)
    assert from_a1111(to_a1111(kept)).recipe == kept


def test_a_picture_carries_all_texts() -> None:
    png = write_png(Image.new("RGB", (8, 8)), refined(), 0, XL, REFINER)
    assert read_recipe(png).recipe == refined()
    assert json.loads(read_texts(png)["prompt"]) == to_graph(refined(), XL, REFINER)


TOOLS_SAY: dict[str, tuple[str, dict[str, Any], float, str]] = {
    "InvokeAI": (
        *("InvokeAI", {"refiner_model": {"name": "r"}, "refiner_start": 0.8, "refiner_steps": 20}),
        *(0.8, ANEW),
    ),
    "Fooocus": ("Fooocus", {"refiner_model": "r", "refiner_switch": 0.51}, 0.5, "steps"),
    "Draw Things": (
        *("Draw Things", {"v2": {"refinerModel": "r", "refinerStart": 0.7}}),
        *(0.7, "steps"),
    ),
    "SwarmUI": (
        "SwarmUI",
        {"refinermodel": "r", "refinercontrolpercentage": 0.2, "refinermethod": "StepSwap"},
        *(0.8, ANEW),
    ),
}


def told(tool: str, **values: Any) -> Reading:
    """Return the reading of a program's JSON, with 20 steps and these values besides."""
    texts = others.TEXTS[tool]
    key = next(iter(texts))
    if tool == "Draw Things":
        inner: Any = others.DRAW_THINGS["v2"]
        inner = {**inner, **values.get("v2", {})}
        found = read_json({**others.DRAW_THINGS, "steps": 20, "v2": inner}, {})
    else:
        data = json.loads(texts[key])
        inner = data.get("sui_image_params", data)
        inner |= {"steps": 20, **values}
        found = read_json(data, {})
    assert found is not None
    return found


@pytest.mark.parametrize("tool", TOOLS_SAY)
def test_other_programs_second_models_are_read(tool: str) -> None:
    name, values, at, by = TOOLS_SAY[tool]
    found = told(name, **values)
    assert [found.values[each] for each in ("refiner", "refiner_at", "refiner_by")] == ["r", at, by]
    assert found.ignored == told(name).ignored
    assert not {"refiner", "refiner_at", "aesthetic_score"} & told(name).values.keys()


def test_a_pass_of_its_own_is_no_second_model() -> None:
    values = {"refinermodel": "r", "refinercontrolpercentage": 0.2, "refinermethod": "PostApply"}
    found = told("SwarmUI", **values)
    assert "refiner" not in found.values
    assert {"refinermodel: r", "refinercontrolpercentage: 0.2"} <= {*found.ignored}
