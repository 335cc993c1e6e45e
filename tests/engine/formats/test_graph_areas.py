"""Texts for a part of the picture or of the noise, as a graph says them."""

from typing import Any

import pytest

from engine.errors import GraphError, OptionError
from engine.formats.comfy.writer import to_graph
from engine.formats.graphs.recipe import from_graph
from engine.recipe.parts import Area
from engine.recipe.recipe import Recipe
from tests.engine.formats.test_known_nodes import Graph, by_words, default
from tests.engine.recipes import MASK, read_graph
from tests.factories import make_recipe

BOX = {"x": 0, "y": 0, "width": 256, "height": 512, "strength": 1.0}
SECOND = {
    "seed": 1, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal",
    "denoise": 0.5, "model": ["4", 0], "positive": ["20", 0], "negative": ["7", 0],
    "latent_image": ["30", 0],
}  # fmt: skip


def read(graph: Graph) -> tuple[Recipe, tuple[str, ...]]:
    found = read_graph(graph)
    return found.recipe, found.ignored


def test_texts_in_boxes_are_areas_of_which_the_first_is_the_prompt() -> None:
    def box(name: str, **changes: Any) -> tuple[str, dict[str, Any]]:
        return "ConditioningSetArea", {**BOX, **changes, "conditioning": [name, 0]}

    graph = default(
        {"3": {"positive": ["24", 0]}},
        n20=("CLIPTextEncode", {"text": "a lake", "clip": ["4", 1]}),
        n21=box("6"),
        n22=box("20", x=256, strength=0.5),
        n23=("ConditioningSetTimestepRange", {"conditioning": ["22", 0], "start": 0.2, "end": 1}),
        n24=("ConditioningCombine", {"conditioning_1": ["21", 0], "conditioning_2": ["23", 0]}),
    )
    recipe, ignored = read(graph)
    assert ignored == ()
    assert recipe.areas == (
        Area(width=0.5),
        Area(prompt="a lake", left=0.5, width=0.5, strength=0.5, start=0.2),
    )


def test_a_range_acts_on_all_texts_before_it() -> None:
    graph = default(
        {"3": {"positive": ["22", 0]}},
        n20=("CLIPTextEncode", {"text": "a lake", "clip": ["4", 1]}),
        n21=("ConditioningCombine", {"conditioning_1": ["6", 0], "conditioning_2": ["20", 0]}),
        n22=("ConditioningSetTimestepRange", {"conditioning": ["21", 0], "start": 0, "end": 0.5}),
    )
    assert read(graph)[0].areas == (Area(end=0.5), Area(prompt="a lake", end=0.5))


def test_strengths_of_a_mask_and_of_a_box_multiply() -> None:
    graph = by_words("ConditioningSetArea", **{**BOX, "strength": 0.5})
    graph["22"] = {
        "class_type": "LoadImageMask",
        "inputs": {"image": f"{MASK}.png", "channel": "red"},
    }
    under = {"conditioning": ["20", 0], "mask": ["22", 0], "set_cond_area": "default"}
    graph["23"] = {"class_type": "ConditioningSetMask", "inputs": {**under, "strength": 0.8}}
    graph["3"]["inputs"]["positive"] = ["23", 0]
    recipe, _ = read(graph)
    assert recipe.areas == (Area(width=0.5, mask=MASK, strength=0.5 * 0.8),)
    assert recipe.inputs == (MASK,)
    assert from_graph(graph).inputs


def test_a_box_outside_of_the_picture_is_refused() -> None:
    with pytest.raises(GraphError, match="confines a text to a part outside of the picture"):
        read(by_words("ConditioningSetArea", **{**BOX, "x": 512}))


def test_boxes_in_pixels_that_grow_with_a_second_pass_are_noted() -> None:
    graph = by_words("ConditioningSetArea", **BOX)
    stretched = {"samples": ["3", 0], "upscale_method": "nearest-exact", "scale_by": 1.5}
    graph["30"] = {"class_type": "LatentUpscaleBy", "inputs": stretched}
    first = graph["3"]["inputs"]
    graph["31"] = {"class_type": "KSampler", "inputs": {**SECOND, "seed": first["seed"]}}
    graph["31"]["inputs"]["steps"] = 10
    graph["8"]["inputs"]["samples"] = ["31", 0]
    recipe, ignored = read(graph)
    assert recipe.areas == (Area(width=0.5),)
    assert "KSampler (node 31): areas in pixels: they grow with the picture" in ignored


def test_no_graph_confines_texts_beside_controls() -> None:
    recipe = make_recipe(areas=(Area(width=0.5),), references=(MASK,))
    with pytest.raises(ValueError, match="edits pictures by words"):
        to_graph(recipe)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"left": 1.0}, "area's left must be inside the picture, not 1.0"),
        ({"height": 0.0}, "area's top must be inside the picture"),
        ({"strength": 11}, "area_strength must be between 0 and 10, not 11"),
        ({"end": 1.5}, "share must be between 0 and 1"),
        ({"zero": "yes"}, "flag must be true or false"),
        ({"mask": "cat.png"}, "mask must be"),
    ],
)
def test_areas_are_checked(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Area(**changes)
