"""A graph as data (ComfyUI's API format): its nodes, their values, and where their links lead.

Node id → `{"class_type", "inputs"}`, where an input is a value or a link `[node id, output]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import GraphError, shorten
from engine.formats.graphs.nodes import NODE_KINDS
from engine.sentences import Sentence

LARGEST: Final = 1e9  # of a number: above any that means something, and NaN is not below
PLAIN: Final = Sentence("graph_not_plain")
NUMBER: Final = Sentence("graph_not_a_number")


@dataclass(frozen=True, slots=True)
class Link:
    """Name an output of a node: where something comes from."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True)
class Graph:
    """The nodes of a graph and their links; errors are `GraphError`s."""

    nodes: Mapping[str, Mapping[str, Any]]

    @classmethod
    def parse(cls, data: object) -> Graph:
        """Check the outer form of a graph: nodes with kinds and inputs, and no circle."""
        if not isinstance(data, Mapping) or not data:
            raise GraphError(Sentence("graph_empty"))
        for name, node in data.items():
            match node:
                case {"class_type": str(), "inputs": Mapping()}:
                    pass
                case _:
                    raise GraphError(Sentence("graph_no_node", name=shorten(name)))
        graph = cls(data)
        graph._check_circles()
        return graph

    def kind(self, name: str) -> str:
        """Return the kind of a node."""
        return str(self.nodes[name]["class_type"])

    def all(self, *kinds: str) -> list[str]:
        """Return the nodes of these kinds."""
        return [name for name in self.nodes if self.kind(name) in kinds]

    def title(self, name: str) -> str:
        """Return a node's kind and id, for messages."""
        return f"{shorten(self.kind(name))[1:-1]} (node {shorten(name)[1:-1]})"

    def value(self, name: str, option: str) -> Any:
        """Return a plain value of a node; one computed by another node is not followed."""
        value = self.nodes[name]["inputs"].get(option)
        if value is None or isinstance(value, list):
            raise self._error(name, option, PLAIN)
        return value

    def number(self, name: str, option: str) -> float:
        """Return a number among a node's values."""
        value = self.numeric(name, option)
        if not abs(value) < LARGEST:
            raise self._error(name, option, NUMBER)
        return float(value)

    def numeric(self, name: str, option: str) -> int | float:
        """Return a number as it is written, however large: the recipe says what it may be."""
        value = self.value(name, option)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._error(name, option, NUMBER)
        return value

    def link(self, name: str, option: str) -> Link:
        """Return the link that feeds an input; it must be of the input's type."""
        match self.nodes[name]["inputs"].get(option):
            case [str() as source, int(slot)] if source in self.nodes:
                known = NODE_KINDS.get(self.kind(source))
            case [str() as source, int()]:
                short = shorten(source)[1:-1]
                raise self._error(name, option, Sentence("graph_from_nowhere", source=short))
            case _:
                raise self._error(name, option, Sentence("graph_unconnected"))
        if known is None:
            title = self.title(source)
            raise self._error(name, option, Sentence("graph_unknown_node", source=title))
        given = known.outputs[slot] if 0 <= slot < len(known.outputs) else "nothing"
        wanted = self.type_of(name, option)
        if given != wanted:
            title = self.title(source)
            wrong = Sentence("graph_wrong_type", given=given, source=title, wanted=wanted)
            raise self._error(name, option, wrong)
        return Link(source, slot)

    def links(self) -> Iterator[tuple[str, int]]:
        """Yield node and output of every link between nodes that are there."""
        for name in self.nodes:
            yield from self._links_into(name)

    def type_of(self, name: str, option: str) -> str:
        """Return the type (`MODEL`, `LATENT`, …) of a link into a known node."""
        return NODE_KINDS[self.kind(name)].links[option]

    def _error(self, name: str, option: str, what: Sentence) -> GraphError:
        return GraphError(Sentence("graph_input", node=self.title(name), input=option, what=what))

    def _check_circles(self) -> None:
        """Raise where a node feeds itself, however far around."""
        done: set[str] = set()
        for start in self.nodes:
            path: list[tuple[str, Iterator[str]]] = [(start, self._feeds(start))]
            within = {start}
            while path:
                name, feeds = path[-1]
                following = next((feed for feed in feeds if feed not in done), None)
                if following is None:
                    done.add(name)
                    within.discard(name)
                    path.pop()
                elif following in within:
                    raise GraphError(Sentence("graph_circle", node=self.title(following)))
                else:
                    within.add(following)
                    path.append((following, self._feeds(following)))

    def _feeds(self, name: str) -> Iterator[str]:
        return (source for source, _ in self._links_into(name))

    def _links_into(self, name: str) -> Iterator[tuple[str, int]]:
        for value in self.nodes[name]["inputs"].values():
            match value:
                case [str() as source, int() as slot] if source in self.nodes:
                    yield source, slot
