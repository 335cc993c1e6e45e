"""What ComfyUI's canvas saves (UI format), as the graph that it would send: nodes by id.

Values stand there by position, links in a table of their own. Reroutes and primitives are the
canvas's own and vanish on the way. Format 0.4, in which links are lists, and 1, in which they are
objects.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from engine.errors import GraphError
from engine.formats.graphs.nodes import AFTER_RUN, NODE_KINDS, OUTPUTS, UPLOAD
from engine.recipe.prompt_tags import choose
from engine.sentences import Sentence

UNSENT: Final = ("Reroute", "PrimitiveNode", "Note", "MarkdownNote")
MODES: Final = {2: "muted", 4: "bypassed"}
CANVAS_ONLY: Final = (AFTER_RUN, UPLOAD)
TEXTS: Final = ("text", "text_g", "text_l")
# A comment that is never closed is taken whole, so that its end is not looked for again.
COMMENT: Final = re.compile(r"/\*.*?(\*/|\Z)|//[^\n]*", re.DOTALL)
LINE: Final = re.compile(r"//[^\n]*")
ESCAPE: Final = re.compile(r"\\([{}|])")
ORDERS: Final = ("fixed", "increment", "decrement", "randomize")
LONGEST: Final = 100_000  # characters of all texts; a recipe takes some thousands
ADVICE: Final = "export it as “API” in ComfyUI"


def from_workflow(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a workflow into the graph that the canvas would send, or raise `GraphError`."""
    try:
        return _Canvas(workflow).graph()
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, RecursionError):
        raise GraphError(Sentence("graph_damaged")) from None


class _Canvas:
    """The nodes of a workflow by id, and where its links come from."""

    def __init__(self, workflow: Mapping[str, Any]) -> None:
        self._nodes = {str(node["id"]): node for node in workflow["nodes"]}
        self._links = dict(map(_link, workflow.get("links") or ()))
        self._behind: dict[str, Any] = {}  # what feeds a reroute that was met before

    def graph(self) -> dict[str, Any]:
        """Return all nodes that a server would be sent; the canvas's own are not."""
        sent = {name: node for name, node in self._nodes.items() if node["type"] not in UNSENT}
        graph = {name: self._node(node) for name, node in sent.items()}
        _write_texts(graph)
        return graph

    def _node(self, node: Mapping[str, Any]) -> dict[str, Any]:
        kind = str(node["type"])
        if node.get("mode") in MODES:
            # Named only if something needs it.
            kind = f"{kind}, which is {MODES[node['mode']]}: {ADVICE}"
        linked = {slot["name"]: self._source(slot.get("link")) for slot in node.get("inputs") or ()}
        fed = {name: source for name, source in linked.items() if source is not None}
        return {"class_type": kind, "inputs": _values(node) | fed}

    def _source(self, link: Any) -> Any:
        """Return the link that feeds an input, the value of a primitive, or None."""
        found: Any = None
        passed: set[str] = set()
        while origin := self._links.get(str(link)):
            name, slot = origin
            node = self._nodes.get(name, {})
            if name in self._behind:
                found = self._behind[name]
                break
            if node.get("type") != "Reroute" or name in passed:
                primitive = node.get("type") == "PrimitiveNode"
                found = node["widgets_values"][0] if primitive else [name, slot]
                break
            passed.add(name)
            link = node["inputs"][0]["link"]
        self._behind |= dict.fromkeys(passed, found)
        return found


def _link(link: Any) -> tuple[str, tuple[str, Any]]:
    """Return a link's number, and where it comes from.

    Numbers become text: those of a hostile file may be chosen to collide in a table, texts cannot.
    """
    if isinstance(link, Mapping):
        return str(link["id"]), (str(link["origin_id"]), link["origin_slot"])
    return str(link[0]), (str(link[1]), link[2])


def _values(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node's values by name; those of a kind that is not known do not matter."""
    given, kind = node.get("widgets_values") or (), NODE_KINDS.get(str(node["type"]))
    if kind is None:
        return {}
    # Scripts leave out the seed's control after a run.
    ordered = isinstance(given, list) and any(order in given for order in ORDERS)
    names = [name for name in kind.values if name != AFTER_RUN or ordered]
    values = dict(given) if isinstance(given, Mapping) else dict(zip(names, given, strict=False))
    return {name: value for name, value in values.items() if name not in CANVAS_ONLY}


def _write_texts(graph: Mapping[str, Any]) -> None:
    """Write texts as they are sent, where they have a say in what is saved; raises `GraphError`.

    A picture of some kilobytes may unpack to millions of characters in nodes that nobody needs.
    """
    length = 0
    for name in _needed(graph):
        inputs = graph[name]["inputs"]
        for option in TEXTS:
            if isinstance(text := inputs.get(option), str):
                length += len(text)
                if length > LONGEST:
                    raise GraphError(Sentence("graph_long_texts", most=LONGEST))
                inputs[option] = _sent(text)


def _needed(graph: Mapping[str, Any]) -> list[str]:
    """Return the nodes that save pictures, and all behind them."""
    found = [name for name, node in graph.items() if node["class_type"] in OUTPUTS]
    seen = set(found)
    for name in found:  # which grows meanwhile
        for value in graph[name]["inputs"].values():
            match value:
                case [str() as source, _] if source in graph and source not in seen:
                    seen.add(source)
                    found.append(source)
    return found


def _sent(value: str) -> str:
    """Return a text as it is sent: it loses comments and escapes, and choices are made.

    The canvas chooses by chance; here one text always gives the same one.
    """
    return ESCAPE.sub(r"\1", choose(COMMENT.sub(_uncommented, value), 0, lone=True))


def _uncommented(found: re.Match[str]) -> str:
    """Return the text left of a comment: one that is not closed is text, except line ends."""
    return LINE.sub("", found[0]) if found[1] == "" else ""
