"""A graph as data (ComfyUI's API format), read backwards: from the saved picture to its causes.

Node id → `{"class_type", "inputs"}`, where an input is a value or a link `[node id, output]`. Every
output of a node stands for a value (see `graphs.node_values`): a model, a prompt, a picture between
nodes. What each kind of node makes of its inputs is a function of a few lines, found in a table by
that kind. Each output is read once, however many nodes use it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, TypeVar

from engine.errors import GraphError, OptionError, shorten
from engine.formats.graphs.node_values import LoadedPicture, as_number
from engine.formats.graphs.nodes import NODE_KINDS, PLAIN
from engine.formats.graphs.undrawn import UNDRAWN
from engine.models.name_matching import without_ending
from engine.sentences import Sentence

LARGEST: Final = 1e9  # of a number: above any that means something, and NaN is not below

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Node:
    """A node, seen from its output number `slot`; errors are `GraphError`s."""

    graph: Graph = field(compare=False, repr=False)
    name: str
    slot: int = 0

    @property
    def kind(self) -> str:
        """Return the node's kind."""
        return str(self.graph.nodes[self.name]["class_type"])

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Return the node's values and links as they are written."""
        inputs: Mapping[str, Any] = self.graph.nodes[self.name]["inputs"]
        return inputs

    @property
    def title(self) -> str:
        """Return the node's title, if it has one of its own, its kind and id, for messages."""
        kind, name = (shorten(each)[1:-1] for each in (self.kind, self.name))
        meta = self.graph.nodes[self.name].get("_meta")
        given = meta.get("title") if isinstance(meta, Mapping) else None
        if not isinstance(given, str) or self.kind.startswith(given.strip()):
            return f"{kind} (node {name})"
        return f"{shorten(given)[1:-1]} ({kind}, node {name})"

    @property
    def unknown(self) -> Sentence:
        """Return why nothing is known of what the node gives."""
        if self.graph.nodes[self.name].get("off"):
            return Sentence("graph_from_off", source=self.title)
        if (what := UNDRAWN.get(self.kind)) is not None:
            return Sentence("graph_undrawn_node", source=self.title, what=what)
        return Sentence("graph_unknown_node", source=self.title)

    def value(self, option: str) -> Any:
        """Return a plain value, or one that a node gives that is there for it."""
        value = self.inputs.get(option)
        match value:
            case [str() as name, int() as slot] if name in self.graph.nodes:
                source = Node(self.graph, name, slot)
                known = NODE_KINDS.get(source.kind)
                if known is None:
                    raise self._error(option, source.unknown)
                if 0 <= slot < len(known.outputs) and known.outputs[slot] in PLAIN:
                    return source.made()
                raise self._error(option, Sentence("graph_no_value", source=source.title))
            case [str() as name, int()]:
                raise self._error(option, nowhere(name))
        if value is None or isinstance(value, list):
            raise self._error(option, Sentence("graph_not_plain"))
        return value

    def number(self, option: str) -> float:
        """Return a number among the values."""
        value = self.numeric(option)
        if not abs(value) < LARGEST:
            raise self._error(option, Sentence("graph_not_a_number"))
        return float(value)

    def numeric(self, option: str) -> int | float:
        """Return a number as it is written, however large: the recipe says what it may be."""
        value = as_number(self.value(option))
        if value is None:
            raise self._error(option, Sentence("graph_not_a_number"))
        return value

    def file(self, option: str) -> str:
        """Return the file that a value names, as `ModelFiles` names it: without its ending."""
        return without_ending(str(self.value(option)).replace("\\", "/"))

    def link(self, option: str) -> Node:
        """Return the node whose output feeds an input; it must be of the input's type."""
        match self.inputs.get(option):
            case [str() as name, int() as slot]:
                source = Node(self.graph, name, slot)
            case _:
                raise self._error(option, Sentence("graph_unconnected"))
        if name not in self.graph.nodes:
            raise self._error(option, nowhere(name))
        known = NODE_KINDS.get(source.kind)
        if known is None:
            raise self._error(option, source.unknown)
        given = known.outputs[slot] if 0 <= slot < len(known.outputs) else "nothing"
        taking = NODE_KINDS.get(self.kind)  # of what is not known, only what it saves is looked at
        wanted = taking.links[option] if taking else "IMAGE"
        if given != wanted:
            wrong = Sentence("graph_wrong_type", given=given, source=source.title, wanted=wanted)
            raise self._error(option, wrong)
        return source

    def input(self, option: str, kind: type[T]) -> T:
        """Return the value that feeds an input; kind: its class, by the type of its link."""
        found = self.link(option).made()
        assert isinstance(found, kind)
        return found

    def given(self, option: str, kind: type[T]) -> T | None:
        """Return the value that feeds an input, None where nothing does."""
        return self.input(option, kind) if option in self.inputs else None

    def made(self) -> Any:
        """Return what this output stands for."""
        known = self.graph.known
        if self not in known:
            # Every known node has a rule for its outputs: a test checks that.
            known[self] = self.graph.rules[self.kind](self)
        return known[self]

    def part(self, make: Callable[..., T], **values: Any) -> T | None:
        """Make a part of a recipe, or note why it is left out."""
        try:
            return make(**values)
        except OptionError as error:
            self.note(Sentence("graph_left_out", why=error.said))
            return None

    def note(self, what: Sentence) -> None:
        """Note a part of the node that is ignored."""
        self.graph.notes.append(Sentence("graph_note", node=self.title, what=what))

    def fail(self, what: Sentence) -> GraphError:
        """Return an error that names the node's function which Marble lacks."""
        return GraphError(Sentence("graph_node", node=self.title, what=what))

    def _error(self, option: str, what: Sentence) -> GraphError:
        return GraphError(Sentence("graph_input", node=self.title, input=option, what=what))


def nowhere(name: str) -> Sentence:
    """Return what is said of a link to a node that is not there."""
    return Sentence("graph_from_nowhere", source=shorten(name)[1:-1])


Rule = Callable[[Node], Any]  # what is made of an output of a node of some kind


class Graph:
    """The nodes of a graph, and what was made of them.

    rules: by the kinds of nodes; pictures: by the names by which nodes load them; notes: on the
    parts that are ignored; known: what outputs that were read stand for; results: ids of the nodes
    that save pictures or show them, by kind, once they were looked for.
    """

    def __init__(self, data: object, rules: Mapping[str, Rule]) -> None:
        """Check the outer form of a graph: nodes with kinds and inputs, and no circle."""
        if not isinstance(data, Mapping) or not data:
            raise GraphError(Sentence("graph_empty"))
        for name, node in data.items():
            match node:
                case {"class_type": str(), "inputs": Mapping()}:
                    continue
            raise GraphError(Sentence("graph_no_node", name=shorten(name)))
        self.nodes: Mapping[str, Mapping[str, Any]] = data
        self.rules = rules
        self.pictures: Mapping[str, LoadedPicture] = {}
        self.notes: list[str] = []
        self.known: dict[Node, Any] = {}
        self.results: dict[str, Sequence[str]] = {}
        self._check_circles()

    def unread(self) -> Graph:
        """Return the same graph, of which nothing was made yet."""
        twin = copy.copy(self)
        twin.pictures, twin.notes, twin.known = {}, [], {}
        return twin

    @cached_property
    def sources(self) -> Mapping[str, Sequence[str]]:
        """Return the nodes that feed each node, in the order of its inputs."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, _, name in self.links():
            found[name].append(source)
        return found

    def all(self, *kinds: str) -> list[Node]:
        """Return the nodes of these kinds."""
        return [
            Node(self, name) for name, node in self.nodes.items() if node["class_type"] in kinds
        ]

    def links(self) -> Iterator[tuple[str, int, str]]:
        """Yield the links between nodes that are there: from a node, its output, to a node."""
        for name, node in self.nodes.items():
            for value in node["inputs"].values():
                match value:
                    case [str() as source, int() as slot] if source in self.nodes:
                        yield source, slot, name

    def _check_circles(self) -> None:
        """Raise where a node feeds itself, however far around."""
        order = TopologicalSorter(self.sources)
        try:
            order.prepare()
        except CycleError as error:
            first = Node(self, error.args[1][0])
            raise GraphError(Sentence("graph_circle", node=first.title)) from None
