"""ComfyUI's two forms of a graph, read as ComfyUI reads them."""

import json
import re
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.errors import GraphError, UserError
from engine.formats.comfy.layout import to_workflow
from engine.formats.comfy.writer import to_graph
from engine.formats.graphs.nodes import AFTER_RUN, NODE_KINDS
from engine.recipe.recipe import Recipe
from tests.engine.recipes import recipe_of, recipes, settled
from tests.factories import make_recipe


def default_graph() -> dict[str, Any]:
    """Return ComfyUI's default workflow as it exports it for its API."""
    text = {"6": "beautiful scenery nature glass bottle landscape", "7": "text, watermark"}
    return {
        "3": {
            "inputs": {
                "seed": 156680208700286,
                "steps": 20,
                "cfg": 8,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
            "class_type": "KSampler",
            "_meta": {"title": "KSampler"},
        },
        "4": {
            "inputs": {"ckpt_name": "v1-5-pruned-emaonly.ckpt"},
            "class_type": "CheckpointLoaderSimple",
        },
        "5": {
            "inputs": {"width": 512, "height": 512, "batch_size": 1},
            "class_type": "EmptyLatentImage",
        },
        **{
            name: {"inputs": {"text": text[name], "clip": ["4", 1]}, "class_type": "CLIPTextEncode"}
            for name in text
        },
        "8": {"inputs": {"samples": ["3", 0], "vae": ["4", 2]}, "class_type": "VAEDecode"},
        "9": {
            "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]},
            "class_type": "SaveImage",
        },
    }


def queued_text(text: str) -> str:
    """Read a text as the canvas does on its way to the server: comments, choices, escapes."""
    text = re.sub(r"(?s:/\*.*?\*/)|//[^\n\r\u2028\u2029]*", "", text)
    tokens = re.findall(r"(?s)\\.|{[^{}|]*}|.", text)
    assert "{" not in tokens, "a choice by chance"
    chosen = "".join(token[1:-1] if token[0] == "{" else token for token in tokens)
    return re.sub(r"\\([{}|])", r"\1", chosen)


def run_canvas(workflow: dict[str, Any]) -> dict[str, Any]:
    """Make the graph that ComfyUI's canvas sends to its server for a workflow."""
    sources = {link: [str(node), output] for link, node, output, *_ in workflow["links"]}
    graph = {}
    for node in workflow["nodes"]:
        inputs = dict(zip(NODE_KINDS[node["type"]].values, node["widgets_values"], strict=True))
        inputs.pop(AFTER_RUN, None)
        if "text" in inputs:
            inputs["text"] = queued_text(inputs["text"])
        linked = {slot["name"]: sources[slot["link"]] for slot in node["inputs"]}
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs | linked}
    return graph


def comfy_noise(graph: dict[str, Any]) -> torch.Tensor:
    """Draw what KSampler starts from, in ComfyUI's way, for the pictures that are decoded."""
    size, sampler = graph["5"]["inputs"], graph["3"]["inputs"]
    shape = (4, size["height"] // 8, size["width"] // 8)
    generator = torch.Generator().manual_seed(sampler["seed"])
    first = graph["10"]["inputs"]["batch_index"]
    if sampler["latent_image"] == ["10", 0]:  # the latent carries batch_index: draw one by one
        return [torch.randn((1, *shape), generator=generator) for _ in range(first + 1)][-1]
    return torch.randn((size["batch_size"], *shape), generator=generator)[first : first + 1]


@settings(deadline=None)
@given(recipes())
def test_recipe_survives_graph_and_json(recipe: Recipe) -> None:
    graph = to_graph(recipe)
    assert json.loads(json.dumps(graph)) == graph
    assert settled(recipe_of(json.loads(json.dumps(graph)))) == settled(recipe)


@settings(deadline=None)
@given(recipes())
def test_canvas_sends_the_very_graph(recipe: Recipe) -> None:
    # The canvas takes a backslash away before these, whatever is written.
    assume(not re.search(r"\\([{}|]|$)", f"{recipe.prompt}\n{recipe.negative_prompt}", re.M))
    sent = {
        name: {key: value for key, value in node.items() if key != "_meta"}
        for name, node in to_graph(recipe).items()
    }
    assert run_canvas(json.loads(json.dumps(to_workflow(recipe)))) == sent


def test_workflow_holds_what_the_canvas_needs() -> None:
    workflow = to_workflow(make_recipe(count=4, picture=2))
    ids = [node["id"] for node in workflow["nodes"]]
    assert workflow["version"] == 0.4
    assert workflow["last_node_id"] == max(ids)
    assert workflow["last_link_id"] == max(link[0] for link in workflow["links"])
    assert len(set(ids)) == len({tuple(node["pos"]) for node in workflow["nodes"]}) == 8


def test_values_stand_in_the_order_of_comfyuis_widgets() -> None:
    nodes = to_workflow(make_recipe(count=4, picture=2, negative_prompt="no"))["nodes"]
    assert {node["id"]: node["widgets_values"] for node in nodes} == {
        3: [7, "fixed", 4, 4.0, "euler", "normal", 1.0],
        4: ["starter"],
        5: [64, 64, 4],
        6: ["a marble scholar"],
        7: ["no"],
        8: [],
        9: ["marble"],
        10: [2, 1],
    }


def test_links_are_told_alike_at_both_ends_and_in_the_table() -> None:
    workflow = to_workflow(make_recipe(count=4, picture=2))
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for link, source, output, target, slot, kind in workflow["links"]:
        assert link in nodes[source]["outputs"][output]["links"]
        assert nodes[source]["outputs"][output]["type"] == kind
        assert nodes[source]["outputs"][output]["slot_index"] == output
        assert (
            nodes[target]["inputs"][slot] | {"link": link, "type": kind}
            == (nodes[target]["inputs"][slot])
        )


def test_nodes_do_not_overlap_on_the_canvas() -> None:
    nodes = to_workflow(make_recipe(count=2, picture=1))["nodes"]
    boxes = [(*node["pos"], *node["size"]) for node in nodes]
    for i, (x, y, w, h) in enumerate(boxes):
        for other_x, other_y, other_w, other_h in boxes[:i]:
            apart_x = x >= other_x + other_w or other_x >= x + w
            assert apart_x or y >= other_y + other_h or other_y >= y + h


@pytest.mark.parametrize(("width", "height"), [(64, 64), (72, 72), (64, 72), (88, 104), (512, 768)])
def test_picking_keeps_the_noise_of_one_draw(width: int, height: int) -> None:
    recipe = make_recipe(width=width, height=height, count=4, picture=2)
    one_draw = torch.randn(
        (4, 4, height // 8, width // 8), generator=torch.Generator().manual_seed(recipe.seed)
    )
    assert torch.equal(comfy_noise(to_graph(recipe)), one_draw[2:3])


def test_pick_comes_early_only_where_it_is_the_same() -> None:
    early = to_graph(make_recipe(width=64, count=4, picture=2))
    late = to_graph(make_recipe(width=72, height=72, count=4, picture=2))
    assert early["3"]["inputs"]["latent_image"] == ["10", 0]
    assert late["3"]["inputs"]["latent_image"] == ["5", 0]
    assert late["8"]["inputs"]["samples"] == ["10", 0]


@pytest.mark.parametrize(
    ("checkpoint", "loader"),
    [("sd15.safetensors", "CheckpointLoaderSimple"), ("starter", "DiffusersLoader")],
)
def test_loader_fits_files_and_folders(checkpoint: str, loader: str) -> None:
    assert to_graph(make_recipe(checkpoint=checkpoint))["4"]["class_type"] == loader


def test_comfyui_default_workflow_is_read() -> None:
    assert recipe_of(default_graph()) == make_recipe(
        prompt="beautiful scenery nature glass bottle landscape",
        negative_prompt="text, watermark",
        seed=156680208700286,
        steps=20,
        guidance_scale=8,
        width=512,
        height=512,
        checkpoint="v1-5-pruned-emaonly.ckpt",
    )


def test_nodes_that_nothing_needs_are_not_read() -> None:
    graph = default_graph() | {"20": {"class_type": "ControlNetLoader", "inputs": {}}}
    assert recipe_of(graph) == recipe_of(default_graph())


def lora(graph: dict[str, Any]) -> None:
    graph["11"] = {"class_type": "LoraMagic", "inputs": {"model": ["4", 0]}}
    graph["3"]["inputs"]["model"] = ["11", 0]


def cycle(graph: dict[str, Any]) -> None:
    graph["8"]["inputs"]["samples"] = ["8", 0]


def two_models(graph: dict[str, Any]) -> None:
    graph["11"] = {"class_type": "DiffusersLoader", "inputs": {"model_path": "other"}}
    graph["6"]["inputs"]["clip"] = ["11", 1]


def early_pick(graph: dict[str, Any]) -> None:
    graph["5"]["inputs"].update(width=72, height=72, batch_size=4)
    pick = {"samples": ["5", 0], "batch_index": 1, "length": 1}
    graph["11"] = {"class_type": "LatentFromBatch", "inputs": pick}
    graph["3"]["inputs"]["latent_image"] = ["11", 0]


def late_pick(graph: dict[str, Any], length: int = 1) -> None:
    pick = {"samples": ["3", 0], "batch_index": 0, "length": length}
    graph["12"] = {"class_type": "LatentFromBatch", "inputs": pick}
    graph["8"]["inputs"]["samples"] = ["12", 0]


def two_picks(graph: dict[str, Any]) -> None:
    early_pick(graph)
    late_pick(graph)


BROKEN: dict[str, tuple[Any, str]] = {
    "unknown node": (lora, "LoraMagic"),
    "cycle": (cycle, "VAEDecode"),
    "two models": (two_models, "several models"),
    "other noise": (early_pick, "72×72"),
    "two picks": (two_picks, "twice"),
    "some of a batch": (lambda g: late_pick(g, length=2), "one or all"),
    "no output": (lambda g: g.pop("9"), "saves nothing"),
    "no seed": (lambda g: g["3"]["inputs"].pop("seed"), "'seed' of KSampler"),
    "linked text": (lambda g: g["6"]["inputs"].update(text=["5", 0]), "'text' of CLIPTextEncode"),
    "absent node": (lambda g: g["3"]["inputs"].update(model=["99", 0]), "'model' of KSampler"),
    "img2img": (lambda g: g["3"]["inputs"].update(denoise=0.5), "in part"),
    "not a node": (lambda g: g.update({"3": "KSampler"}), "'3'"),
    "empty": (lambda g: g.clear(), "no nodes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_honoured_is_named(name: str) -> None:
    break_it, words = BROKEN[name]
    graph = default_graph()
    break_it(graph)
    with pytest.raises(GraphError, match=re.escape(words)):
        recipe_of(graph)


@pytest.mark.parametrize(
    ("node", "option", "value", "name"),
    [("3", "sampler_name", "dpm_fast", "sampler"), ("5", "width", "wide", "width"),
     ("3", "seed", 1.5, "seed"), ("6", "text", 7, "prompt")],
)  # fmt: skip
def test_values_out_of_range_are_named(node: str, option: str, value: object, name: str) -> None:
    graph = default_graph()
    graph[node]["inputs"][option] = value
    with pytest.raises(UserError, match=name):
        recipe_of(graph)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.data(), junk)
def test_junk_never_escapes_as_another_error(data: st.DataObject, value: object) -> None:
    graph = default_graph()
    node = data.draw(st.sampled_from(sorted(graph)))
    inputs = graph[node]["inputs"]
    inputs[data.draw(st.sampled_from(sorted(inputs)))] = value
    with suppress(UserError):
        recipe = recipe_of(graph)
        assert settled(recipe_of(to_graph(recipe))) == settled(recipe)
