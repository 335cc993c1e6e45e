"""Read a graph backwards, from the saved picture to its causes.

Every output of a node stands for a value (see `graphs.node_values`): a model, a prompt, a picture
between nodes. What each kind of node makes of its inputs is a function of a few lines, found in a
table by the output's type and the node's kind. Each output is read once, however many nodes use it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from engine.errors import GraphError, shorten
from engine.formats.graphs.graph import Graph, Link
from engine.formats.graphs.node_values import LoadedPicture
from engine.models.name_matching import without_ending
from engine.sentences import Sentence

T = TypeVar("T")
# What is made of an output of a node of some kind.
Rule = Callable[["Reader", Link], Any]
Rules = Mapping[str, Mapping[str, Rule]]  # type of the output → kind of the node → rule


@dataclass(slots=True)
class Reader:
    """Compute the values that nodes' inputs stand for, and note the parts that are ignored."""

    graph: Graph
    rules: Rules
    pictures: Mapping[str, LoadedPicture]
    notes: list[str] = field(default_factory=list)
    _known: dict[Link, Any] = field(default_factory=dict)

    def input(self, name: str, option: str, kind: type[T]) -> T:
        """Return the value of a node's input; kind: its class, by the type of its link."""
        link = self.graph.link(name, option)
        if link not in self._known:
            # Every known node has a rule for each of its outputs: a test checks that.
            rules = self.rules[self.graph.type_of(name, option)]
            self._known[link] = rules[self.graph.kind(link.node)](self, link)
        found = self._known[link]
        assert isinstance(found, kind)
        return found

    def file(self, name: str, option: str, value: str) -> str:
        """Return the file that the loader behind an input names, as `ModelFiles` names it."""
        return file_named(self.graph.value(self.graph.link(name, option).node, value))

    def loaded_picture(self, name: str) -> LoadedPicture:
        """Return the picture that a node loads; raises `GraphError` where it is not there."""
        file = str(self.graph.value(name, "image"))
        if file not in self.pictures:
            raise GraphError(Sentence("graph_picture_missing", picture=shorten(file)))
        return self.pictures[file]

    def note(self, name: str, what: Sentence) -> None:
        """Note a part of a node that is ignored."""
        self.notes.append(Sentence("graph_note", node=self.graph.title(name), what=what))

    def fail(self, name: str, what: Sentence) -> GraphError:
        """Return an error that names a node's function which Marble lacks."""
        return GraphError(Sentence("graph_node", node=self.graph.title(name), what=what))


def file_named(file: object) -> str:
    """Return a file's path without its ending, which others may lack, as `ModelFiles` reads it."""
    return without_ending(str(file).replace("\\", "/"))
