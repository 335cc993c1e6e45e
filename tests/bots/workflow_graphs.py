"""Workflows as owners mark them, for the tests of all platforms."""

import json
from pathlib import Path
from typing import Any

from tests.engine.formats.test_comfy import default_graph
from tests.engine.formats.test_graphs import DEFAULT_WORKFLOW

Graph = dict[str, Any]
# Titles of the default graph's nodes, by their ids.
PORTRAIT = {"6": "Prompt", "7": "negative prompt", "3": "seed, steps, cfg", "5": "width, height"}


def marked(titles: dict[str, str] = PORTRAIT, model: str = "starter") -> Graph:
    """Return ComfyUI's default graph for a model, 64 pixels wide, with nodes of these titles."""
    graph = default_graph()
    graph["4"]["inputs"]["ckpt_name"] = model
    graph["5"]["inputs"].update(width=64, height=64)
    graph["3"]["inputs"].update(steps=4)
    for name, title in titles.items():
        graph[name]["_meta"] = {"title": title}
    return graph


def from_picture(titles: dict[str, str] | None = None, **nodes: Any) -> Graph:
    """Return a graph that starts from a picture, by a node that is marked `image`."""
    graph = marked({**PORTRAIT, "3": "denoise"})
    graph["20"] = {"class_type": "LoadImage", "inputs": {"image": "cat.png"}}
    graph["21"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["20", 0], "vae": ["4", 2]}}
    graph["3"]["inputs"].update(latent_image=["21", 0], denoise=0.5)
    del graph["5"]
    graph |= nodes
    for name, title in (titles or {"20": "image"}).items():
        graph[name]["_meta"] = {"title": title}
    return graph


def with_mask() -> Graph:
    """Return a graph that draws under a mask, which a node of its own loads."""
    graph = from_picture()
    graph["22"] = {
        "class_type": "LoadImageMask",
        "inputs": {"image": "mask.png", "channel": "red"},
        "_meta": {"title": "mask"},
    }
    graph["23"] = {"class_type": "InvertMask", "inputs": {"mask": ["22", 0]}}
    graph["24"] = {
        "class_type": "SetLatentNoiseMask",
        "inputs": {"samples": ["21", 0], "mask": ["23", 0]},
    }
    graph["3"]["inputs"]["latent_image"] = ["24", 0]
    return graph


def canvas(titles: dict[int, str], *primitives: tuple[str, Any, int, str]) -> Graph:
    """Return the default canvas with nodes of these titles.

    primitives: nodes of the canvas alone: title, value, the node that each feeds, by which input.
    """
    workflow: Graph = json.loads(json.dumps(DEFAULT_WORKFLOW))
    nodes = {node["id"]: node for node in workflow["nodes"]}
    nodes[4]["widgets_values"] = ["starter"]
    for name, title in titles.items():
        nodes[name]["title"] = title
    for number, (title, value, to, option) in enumerate(primitives, 40):
        workflow["nodes"].append(
            {"id": number, "type": "PrimitiveNode", "title": title, "widgets_values": [value]}
        )
        slots = nodes[to].setdefault("inputs", [])
        slots.append({"name": option, "type": "*", "link": number})
        workflow["links"].append([number, number, 0, to, len(slots) - 1, "*"])
    return workflow


def write(folder: Path, **graphs: Any) -> Path:
    """Write workflows into a folder, by their names."""
    folder.mkdir(exist_ok=True)
    for name, graph in graphs.items():
        (folder / f"{name}.json").write_text(json.dumps(graph))
    return folder


def two_results() -> Graph:
    """Return a graph that saves a picture of node 3, and by node 61 one of another seed."""
    graph = marked({"9": "Small"})
    graph["60"] = {
        "class_type": "KSampler",
        "inputs": {**graph["3"]["inputs"], "seed": 7, "steps": 2},
    }
    graph["62"] = {"class_type": "VAEDecode", "inputs": {"samples": ["60", 0], "vae": ["4", 2]}}
    graph["61"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["62", 0], "filename_prefix": "other"},
        "_meta": {"title": "Other seed"},
    }
    return graph


def with_loras(**titles: str) -> Graph:
    """Return a graph with LoRAs of these names, whose nodes have these titles."""
    graph, before = marked({}), "4"
    for number, (name, title) in enumerate(titles.items(), 40):
        graph[str(number)] = {
            "class_type": "LoraLoader",
            "inputs": {
                **{"lora_name": f"{name}.safetensors", "strength_model": 1, "strength_clip": 1},
                **{"model": [before, 0], "clip": [before, 1]},
            },
            "_meta": {"title": title},
        }
        before = str(number)
    graph["3"]["inputs"]["model"] = [before, 0]
    graph["6"]["inputs"]["clip"] = graph["7"]["inputs"]["clip"] = [before, 1]
    return graph
