"""Read a graph backwards, from the saved picture to its causes.

Every output of a node stands for something (see `engine.formats.graphs.meaning`): a model, words, a
picture on its way. What each kind of node makes of its inputs is a function of a few lines, found
in a table by the output's type and the node's kind. Each output is read once, however many use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import GraphError, shorten
from engine.formats.graphs.graph import Graph, Link
from engine.formats.graphs.meaning import Draft, Given, Model, Vae, Words
from engine.models.name_matching import without_ending
from engine.sentences import Sentence

# What is made of an output of a node of some kind.
Rule = Callable[["Reader", Link], Any]
Rules = Mapping[str, Mapping[str, Rule]]  # type of the output → kind of the node → rule


@dataclass(slots=True)
class Reader:
    """Compute what the inputs of nodes stand for, and note what cannot be honoured."""

    graph: Graph
    rules: Rules
    pictures: Mapping[str, Given]
    notes: list[str] = field(default_factory=list)
    _known: dict[Link, Any] = field(default_factory=dict)

    def image(self, name: str, option: str) -> Draft:
        """Return what picture a node is given."""
        draft: Draft = self._read(name, option)
        return draft

    def latent(self, name: str, option: str) -> Draft:
        """Return of what picture a node is given latents."""
        draft: Draft = self._read(name, option)
        return draft

    def mask(self, name: str) -> str:
        """Return the stored mask that a node is given."""
        mask: str = self._read(name, "mask")
        return mask

    def words(self, name: str, option: str) -> Words:
        """Return what words a node is given."""
        words: Words = self._read(name, option)
        return words

    def model(self, name: str, option: str) -> Model:
        """Return what U-Net or text encoder a node is given."""
        model: Model = self._read(name, option)
        return model

    def vae(self, name: str) -> Vae:
        """Return what VAE a node is given."""
        vae: Vae = self._read(name, "vae")
        return vae

    def file(self, name: str, option: str, value: str) -> str:
        """Return the file that the loader behind an input names, as shelves name it."""
        return file_named(self.graph.value(self.graph.link(name, option).node, value))

    def given(self, name: str) -> Given:
        """Return the picture that a node loads."""
        file = str(self.graph.value(name, "image"))
        if file not in self.pictures:
            short = shorten(file)
            text = f"The ComfyUI graph starts from the picture {short}, which is not here."
            raise GraphError(Sentence(text, "graph_picture_missing", picture=short))
        return self.pictures[file]

    def note(self, name: str, what: Sentence) -> None:
        """Name what of a node is not honoured."""
        node = self.graph.title(name)
        self.notes.append(Sentence(f"{node}: {what}", "graph_note", node=node, what=what))

    def fail(self, name: str, what: Sentence) -> GraphError:
        """Return the error that says what a node does which Marble cannot do."""
        node = self.graph.title(name)
        text = f"In the ComfyUI graph, {node} {what}."
        return GraphError(Sentence(text, "graph_node", node=node, what=what))

    def _read(self, name: str, option: str) -> Any:
        link = self.graph.link(name, option)
        if link not in self._known:
            # Every known node has a rule for each of its outputs: a test holds that.
            kind = self.graph.kind(link.node)
            self._known[link] = self.rules[self.graph.type_of(name, option)][kind](self, link)
        return self._known[link]


def file_named(file: object) -> str:
    """Return a file's path without its ending, which others may lack, as shelves read it."""
    return without_ending(str(file).replace("\\", "/"))
