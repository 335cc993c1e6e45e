"""What the owner of a graph marked in it for others to set: nodes, by their titles.

A title is a mark, or several with commas between: `prompt`, `seed, steps, guidance`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Final

from engine.errors import GraphError, nearest, shorten
from engine.formats.graphs.graph import Graph, Node
from engine.formats.graphs.nodes import NODE_KINDS, PLAIN
from engine.formats.graphs.recipe import LOADERS, bounded, parse
from engine.formats.graphs.results import behind, chosen
from engine.formats.graphs.workflow import WITHIN
from engine.models.name_matching import without_ending
from engine.sentences import Sentence

RESULT: Final = "result"  # marks the node whose picture is meant
VALUE: Final = "value"  # of a node that gives a value alone
FILES: Final = (*LOADERS, "LoadImageMask")  # kinds of nodes that load a picture
FILE: Final = "image"  # their input that names it
PRIMITIVE: Final = "PrimitiveNode"
# What inputs are called that hold words; Lumina 2's system prompt is none that people write.
TEXTS: Final = (
    *("text", "text_g", "text_l", "prompt", "user_prompt", "clip_l", "clip_g", "t5xxl"),
    VALUE,
)
# What the canvas's own node becomes, by what it gives, so that it keeps its title.
TYPED: Final = {str: "PrimitiveString", int: "PrimitiveInt", float: "PrimitiveFloat"}
ENCODER: Final = "CONDITIONING"  # type of what nodes give that encode texts


@dataclass(frozen=True, slots=True)
class Marks:
    """What titles mark: marks by titles, and what inputs that hold a mark's value are called."""

    titles: Mapping[str, str]
    inputs: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class MarkedGraph:
    """A graph in API format, and what is marked in it.

    marked: nodes' ids by mark; called: what these nodes are called in messages; texts: ids of the
    nodes that hold texts behind the picture; result: the node that is marked as such; unknown: what
    is said of words beside marks that mark nothing.
    """

    nodes: Mapping[str, Mapping[str, Any]]
    marked: Mapping[str, Sequence[str]]
    called: Mapping[str, str]
    texts: Sequence[str]
    result: str | None
    unknown: Sequence[str] = ()

    def with_texts(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the nodes with other texts in some of them, by ids."""
        changed = {**self.nodes}
        for name, text in texts.items():
            inputs = self.nodes[name]["inputs"]
            new = {option: text for option in TEXTS if isinstance(inputs.get(option), str)}
            changed[name] = {**self.nodes[name], "inputs": {**inputs, **new}}
        return changed

    def with_files(self, files: Mapping[str, str]) -> MarkedGraph:
        """Return the graph with other names of the files that nodes load, by marks."""
        changed = {**self.nodes}
        for mark, file in files.items():
            for name in self.marked.get(mark, ()):
                node = self.nodes[name]
                changed[name] = {**node, "inputs": {**node["inputs"], FILE: file}}
        return replace(self, nodes=changed)

    def unused(self, mark: str, name: str | None = None) -> GraphError:
        """Return an error that says that the picture does not depend on a marked node.

        name: the node's id, or the first one that has the mark.
        """
        return _unused(self.called[name or self.marked[mark][0]], mark)

    def held(self, mark: str, option: str) -> list[str]:
        """Return the texts of an input of the nodes with a mark."""
        values = (self.nodes[name]["inputs"].get(option) for name in self.marked.get(mark, ()))
        return [value for value in values if isinstance(value, str)]


def read_marks(data: object, marks: Marks) -> MarkedGraph:
    """Read a graph in API or UI format, and which of its nodes are marked.

    Raises `GraphError`, also for a mark on a node that has nothing of it, or on which the picture
    does not depend. A node that gives a value alone may have any mark.
    """
    with bounded():
        graph = parse(_with_real_primitives(data, marks.titles))
        found: dict[str, list[str]] = {}
        for name in graph.nodes:
            for mark in _marks_in(graph.nodes[name].get("_meta"), marks.titles):
                found.setdefault(mark, []).append(name)
        result = next(iter(found.pop(RESULT, ())), None)
        nearest = behind(graph, chosen(graph, result))
        called: dict[str, str] = {}
        for mark, names in found.items():
            for node in (Node(graph, name) for name in names):
                called[node.name] = node.title
                if node.name not in nearest:
                    raise _unused(node.title, mark)
                if not _holds(node, marks.inputs[mark]):
                    raise GraphError(Sentence("mark_empty", node=node.title, mark=mark))
        texts = dict.fromkeys(_texts(Node(graph, name) for name in nearest))
        unknown = tuple(_unknown(graph, marks.titles))
        return MarkedGraph(graph.nodes, found, called, tuple(texts), result, unknown)


def _unknown(graph: Graph, titles: Mapping[str, str]) -> Iterator[str]:
    """Yield what is said of words that mark nothing, in titles that have a mark beside them."""
    for node in (Node(graph, name) for name in graph.nodes):
        words = _words_in(graph.nodes[node.name].get("_meta"))
        if any(word in titles for word in words):
            for word in (each for each in words if each and each not in titles):
                facts = {"word": shorten(word), "near": nearest(word, titles)}
                yield Sentence("graph_note", node=node.title, what=Sentence("mark_none", **facts))


def _unused(node: str, mark: str) -> GraphError:
    return GraphError(Sentence("mark_unused", node=node, mark=mark))


def _marks_in(meta: object, titles: Mapping[str, str]) -> Iterator[str]:
    """Yield the marks in a node's title."""
    yield from dict.fromkeys(titles[word] for word in _words_in(meta) if word in titles)


def _words_in(meta: object) -> list[str]:
    """Return what stands between commas in a node's title, in small letters."""
    title = meta.get("title") if isinstance(meta, Mapping) else None
    if not isinstance(title, str):
        return []
    parts = title.rpartition(WITHIN)[2].replace("，", ",").split(",")
    return [" ".join(re.split(r"[\s_-]+", part.strip().lower())) for part in parts]


def loras_in(graph: MarkedGraph, mark: str) -> set[str]:
    """Return the names of the LoRAs that marked nodes load, without endings."""
    return {without_ending(each.replace("\\", "/")) for each in graph.held(mark, "lora_name")}


def _holds(node: Node, options: Sequence[str]) -> bool:
    """Return whether a node has a value of its own for a mark."""
    if FILE in options:
        return node.kind in FILES
    kind = NODE_KINDS.get(node.kind)
    alone = kind is not None and not {*kind.outputs} - {*PLAIN} and VALUE in kind.values
    held = (node.inputs.get(option) for option in (*options, *([VALUE] if alone else [])))
    return any(value is not None and not isinstance(value, list) for value in held)


def _texts(nodes: Iterable[Node]) -> Iterator[str]:
    """Yield the nodes that hold the texts which others encode."""
    for node in nodes:
        kind = NODE_KINDS.get(node.kind)
        if kind is None or ENCODER not in kind.outputs or ENCODER in kind.links.values():
            continue
        for option in TEXTS:
            match node.inputs.get(option):
                case str():
                    yield node.name
                case [str() as name, int()] if name in node.graph.nodes:
                    if isinstance(node.graph.nodes[name]["inputs"].get(VALUE), str):
                        yield name


def _with_real_primitives(data: object, titles: Mapping[str, str]) -> object:
    """Return a canvas whose marked primitives are nodes that a server knows; others vanish there.

    Anything else comes back as it is.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("nodes"), list):
        return data
    canvas = deepcopy(data)
    definitions = canvas.get("definitions")
    subgraphs = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
    parts = [canvas, *(subgraphs if isinstance(subgraphs, list) else [])]
    for part in (each for each in parts if isinstance(each, Mapping)):
        for node in part.get("nodes") or ():
            if isinstance(node, dict) and node.get("type") == PRIMITIVE:
                values = node.get("widgets_values")
                kind = TYPED.get(type(values[0])) if isinstance(values, list) and values else None
                if kind and any(_marks_in(node, titles)):
                    node["type"] = kind
    return canvas
