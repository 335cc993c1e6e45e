"""Which node's picture a graph is read for, where several save or show one."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from engine.errors import GraphError, shorten, some
from engine.formats.graphs.graph import Graph, Node
from engine.formats.graphs.node_values import Draft
from engine.formats.graphs.nodes import NODE_KINDS, OUTPUTS
from engine.sentences import Sentence

SAVE, SHOW = OUTPUTS
# How kinds of nodes are called that save, those that only show, and inputs that take pictures.
SAVING: Final = re.compile(r"save|export|output|write|upload|send|combine", re.IGNORECASE)
SHOWING: Final = re.compile(r"preview|show|display|compare|view", re.IGNORECASE)
# What unknown kinds are called that save pictures as they are, and those that do not.
IMAGE: Final = re.compile(r"image|picture|preview", re.IGNORECASE)
OTHERWISE: Final = re.compile(r"anim|video|gif|webp|movie|mask|latent|grid", re.IGNORECASE)
PICTURES: Final = ("images", "image")
LISTED: Final = 4  # results in a sentence; a title may have 190 characters
MOST: Final = 64  # that are compared
LONGEST_KIND: Final = 200  # characters of it that are looked at


def chosen(graph: Graph, result: str | None = None) -> Node:
    """Return the node whose picture is meant.

    What is saved outranks what is only shown; of several, the one counts to which the others lead,
    or the last one. A kind of node that is not known may save, too: nothing else stands for it.
    result: the id of the node that is meant. Raises `GraphError`.
    """
    saving, showing = _results(graph)
    if result is not None:
        found = next((node for node in (*saving, *showing) if node.name == result), None)
        if found is None:
            known = some([node.title for node in (*saving, *showing)], LISTED)
            raise GraphError(Sentence("graph_no_result", node=shorten(result), nodes=known))
        return found
    results = saving or showing
    if not results:
        for node in graph.all(*OUTPUTS):
            node.link(PICTURES[0])  # which says that it is not connected
        raise GraphError(Sentence("graph_saves_nothing", nodes=", ".join(OUTPUTS)))
    if len({_source(node) for node in results}) == 1:
        return results[0]
    results = results[:MOST]
    numbers = _numbers_behind(graph, [node.name for node in results])
    best = max(results, key=lambda node: numbers[node.name])
    others = some([node.title for node in results if node != best], LISTED)
    graph.notes.append(
        Sentence("graph_result", node=best.title, others=others, name=_id(results, best))
    )
    return best


def choices(graph: Graph) -> list[tuple[str, str]]:
    """Return the ids and titles of the nodes among which `chosen` decides, if there are several."""
    saving, showing = _results(graph)
    results = saving or showing
    several = len({_source(node) for node in results}) > 1
    return [(node.name, node.title) for node in results[:MOST]] if several else []


def _results(graph: Graph) -> tuple[list[Node], list[Node]]:
    """Return the nodes that save, and those that show; what is not connected is none."""
    if not graph.results:
        graph.results.update(_find_results(graph))
    saving, showing = ([Node(graph, name) for name in graph.results[kind]] for kind in OUTPUTS)
    return saving, showing


def _find_results(graph: Graph) -> Mapping[str, list[str]]:
    used = {source for sources in graph.sources.values() for source in sources}
    found: dict[str, list[str]] = {SAVE: [], SHOW: []}
    meant: dict[str, str] = {kind: kind for kind in NODE_KINDS}  # what kinds do
    for name, node in graph.nodes.items():
        kind = node["class_type"]
        if kind not in NODE_KINDS and name in used:
            continue
        if kind not in meant:
            begin = kind[:LONGEST_KIND]
            meant[kind] = SHOW if SHOWING.search(begin) else SAVE if SAVING.search(begin) else ""
        if meant[kind] in found and _source(Node(graph, name)) is not None:
            found[meant[kind]].append(name)
    return found


def _source(node: Node) -> tuple[object, ...] | None:
    """Return the output that feeds a result, None where nothing does."""
    links = (value for value in node.inputs.values() if _is_link(value))
    given = next((node.inputs[name] for name in PICTURES if _is_link(node.inputs.get(name))), None)
    found = given or next(links, None)
    return None if found is None else tuple(map(str, found))


def _is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def picture_of(node: Node) -> Draft:
    """Return the picture that a result takes; `GraphError` for one that makes something of it."""
    if node.kind in OUTPUTS:
        return node.input(PICTURES[0], Draft)
    if OTHERWISE.search(node.kind) or not IMAGE.search(node.kind):
        raise GraphError(Sentence("graph_saved_otherwise", node=node.title))
    node.note(Sentence("graph_saved_so"))
    name = next((name for name in PICTURES if name in node.inputs), PICTURES[0])
    return node.input(name, Draft)


def _id(results: Iterable[Node], best: Node) -> str:
    """Return the id of another result, as an example."""
    return next(node.name for node in results if node != best)


def behind(graph: Graph, node: Node) -> list[str]:
    """Return a node and those that lead to it, the nearest first."""
    found, seen, sources = [node.name], {node.name}, graph.sources
    for name in found:  # which grows meanwhile
        for source in sources[name]:
            if source not in seen:
                seen.add(source)
                found.append(source)
    return found


def _in_order(graph: Graph, names: Iterable[str]) -> list[str]:
    """Return some nodes and those that lead to them, each behind all that lead to it."""
    found: list[str] = []
    seen: set[str] = set()
    waiting = [(name, False) for name in names]
    while waiting:
        name, through = waiting.pop()
        if through:
            found.append(name)
        elif name not in seen:
            seen.add(name)
            waiting.append((name, True))
            waiting += [(source, False) for source in graph.sources[name]]
    return found


def _numbers_behind(graph: Graph, names: Sequence[str]) -> Mapping[str, int]:
    """Return how many nodes lead to each of some nodes, itself included.

    All are counted in one walk: each node has a bit for each of these that it leads to.
    """
    led = dict.fromkeys(graph.nodes, 0)
    for at, name in enumerate(names):
        led[name] = 1 << at
    for name in reversed(_in_order(graph, names)):
        for source in graph.sources[name]:
            led[source] |= led[name]
    counted = Counter(led.values()).items()
    return {
        name: sum(number for bits, number in counted if bits >> at & 1)
        for at, name in enumerate(names)
    }
