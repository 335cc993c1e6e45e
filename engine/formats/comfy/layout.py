"""Convert a graph to a workflow (UI format 0.4), which ComfyUI's canvas opens."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from engine.formats.comfy.builder import LORAS, GraphJson, Id
from engine.formats.comfy.writer import to_graph
from engine.formats.graphs.nodes import AFTER_RUN, NODE_KINDS, NOISE, UPLOAD
from engine.models.catalogue import Checkpoint
from engine.recipe.recipe import Recipe

TEXTS: Final = {"text", "prompt"}
ON_CANVAS: Final = {AFTER_RUN: "fixed", UPLOAD: "image"}
# The places of ComfyUI's default workflow, so that the canvas looks the same.
PLACES: Final[Mapping[str, tuple[int, int]]] = {
    Id.LOADER: (26, 474),
    Id.START: (473, 609),
    Id.PICK: (473, 765),
    Id.POSITIVE: (415, 186),
    Id.NEGATIVE: (413, 410),
    Id.SAMPLER: (863, 186),
    Id.DECODE: (1209, 188),
    Id.SAVE: (1451, 189),
    Id.LAYER: (26, 360),
    Id.RESCALE: (863, 60),
    Id.VAE: (1209, 520),
    Id.CLIP: (26, 180),
    Id.SHIFT: (863, -120),
    Id.GUIDANCE: (415, 60),
    Id.ZERO: (413, 480),
}
LORA_PLACE: Final = (26, 620, 166)  # the first one's, and how far the next one is below
# All others stand in rows below, in the order in which they were added.
GRID: Final = (473, 900)
COLUMNS: Final = 6
CELL: Final = (450, 340)


def to_workflow(
    recipe: Recipe, checkpoint: Checkpoint | None = None, second: Checkpoint | None = None
) -> dict[str, Any]:
    """Write a recipe as the workflow (UI format) that ComfyUI's canvas opens.

    Browsers read numbers as doubles: the canvas rounds a seed above 2^53, the graph keeps it.
    """
    graph = to_graph(recipe, checkpoint, second)
    links, places = list(_links(graph)), _places(graph)
    nodes = [
        _node(order, name, graph[name], links) | {"pos": list(places[name])}
        for order, name in enumerate(graph)
    ]
    last = {"last_node_id": max(map(int, graph)), "last_link_id": len(links)}
    bare: dict[str, Any] = {"groups": [], "config": {}, "extra": {}, "version": 0.4}
    return {**last, "nodes": nodes, "links": links, **bare}


def _links(graph: GraphJson) -> Iterator[list[Any]]:
    """Number every link: [link, from node, from output, to node, to input, type]."""
    number = 0
    for name, node in graph.items():
        for slot, (link, kind) in enumerate(NODE_KINDS[node["class_type"]].links.items()):
            if link not in node["inputs"]:
                continue
            source, output = node["inputs"][link]
            number += 1
            yield [number, int(source), output, int(name), slot, kind]


def _node(order: int, name: str, node: dict[str, Any], links: list[list[Any]]) -> dict[str, Any]:
    """Return a node as the canvas has it: links by number, values by position."""
    kind, number = NODE_KINDS[node["class_type"]], int(name)
    incoming = {slot: link for link, _, _, target, slot, _ in links if target == number}
    outgoing = [(output, link) for link, source, output, *_ in links if source == number]
    values = ON_CANVAS | node["inputs"]
    for name in TEXTS & values.keys():
        values[name] = _literally(values[name])
    return {
        "id": number,
        "type": node["class_type"],
        "pos": [0, 0],
        "size": list(kind.size),
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [
            {"name": link, "type": kind.links[link], "link": incoming.get(slot)}
            for slot, link in enumerate(kind.links)
        ],
        "outputs": [
            {"name": o, "type": o, "links": [n for s, n in outgoing if s == i], "slot_index": i}
            for i, o in enumerate(kind.outputs)
        ],
        "properties": {"Node name for S&R": node["class_type"], **_noise(node)},
        "widgets_values": [values[value] for value in kind.values],
    }


def _noise(node: dict[str, Any]) -> dict[str, str]:
    meta = node.get("_meta", {})
    return {NOISE: meta[NOISE]} if NOISE in meta else {}


def _places(graph: GraphJson) -> dict[str, tuple[int, int]]:
    """Return where each node stands."""
    loras = [name for name in graph if int(name) in LORAS]
    others = [name for name in graph if name not in PLACES and name not in loras]
    places = {name: _cell(number) for number, name in enumerate(others)}
    x, y, step = LORA_PLACE
    places |= {name: (x, y + step * number) for number, name in enumerate(loras)}
    return {**places, **PLACES}


def _cell(number: int) -> tuple[int, int]:
    row, column = divmod(number, COLUMNS)
    return GRID[0] + CELL[0] * column, GRID[1] + CELL[1] * row


def _literally(text: str) -> str:
    """Write a text so that the canvas, which reads {a|b} and // comments, means it as it is."""
    braces = re.sub(r"(?<!\\)((?:\\\\)*)([{}])", r"\1\\\2", text)
    return re.sub(r"(?<=/)[/*]", r"{\g<0>}", braces)  # a choice of one
