"""What ComfyUI's canvas saves (UI format), as the graph that it would send: nodes by id.

Values stand there by position, links in a table of their own. Reroutes, primitives, bypassed nodes
and subgraphs are the canvas's own and vanish on the way. Format 0.4, in which links are lists, and
1, in which they are objects.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from engine.errors import GraphError
from engine.formats.graphs.nodes import AFTER_RUN, NODE_KINDS, NOISE, OUTPUTS, UPLOAD
from engine.recipe.prompt_tags import choose
from engine.sentences import Sentence

REROUTES: Final = ("Reroute", "Reroute (rgthree)")
SET, GET = "SetNode", "GetNode"  # KJNodes': a value that is set by a name, and got elsewhere by it
UNSENT: Final = (*REROUTES, SET, GET, "PrimitiveNode", "Note", "MarkdownNote")
BYPASSED: Final = 4
MODES: Final = {2: "muted", BYPASSED: "bypassed"}
# Within a subgraph, ids of what it is given and of what it gives; OWN: in lists of a node's values.
INPUT, OUTPUT, OWN = "-10", "-20", "-1"
MOST: Final = 50_000  # nodes and links within subgraphs
CANVAS_ONLY: Final = (AFTER_RUN, UPLOAD)
TEXTS: Final = ("text", "text_g", "text_l", "prompt", "clip_l", "clip_g", "t5xxl")
# A comment that is never closed is taken whole, so that its end is not looked for again.
COMMENT: Final = re.compile(r"/\*.*?(\*/|\Z)|//[^\n]*", re.DOTALL)
LINE: Final = re.compile(r"//[^\n]*")
ESCAPE: Final = re.compile(r"\\([{}|])")
ORDERS: Final = ("fixed", "increment", "decrement", "randomize")
WITHIN: Final = " › "  # between a subgraph's title and that of a node in it
LONGEST_TITLE: Final = 60  # characters
LONGEST: Final = 100_000  # characters of all texts; a recipe takes some thousands

Origin = tuple[str, Any]  # a node's id and the number of its output


def from_workflow(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a workflow into the graph that the canvas would send, or raise `GraphError`."""
    try:
        return _Canvas(workflow).graph()
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, RecursionError):
        raise GraphError(Sentence("graph_damaged")) from None


class _Canvas:
    """The nodes of a workflow by id, those within subgraphs too, and where their links come from.

    A node within a subgraph is called by all ids on the way to it, as by the canvas: 57:3.
    """

    def __init__(self, workflow: Mapping[str, Any]) -> None:
        definitions = (workflow.get("definitions") or {}).get("subgraphs") or ()
        self._subgraphs = {str(each["id"]): each for each in definitions}
        self._nodes: dict[str, Mapping[str, Any]] = {}
        self._scopes: dict[str, str] = {}  # how ids begin where a node lies
        self._links: dict[str, Origin] = {}
        self._opened: dict[str, Mapping[str, Any]] = {}  # nodes that stand for subgraphs
        self._outputs: dict[Origin, Origin] = {}  # of these
        self._behind: dict[Origin, Any] = {}  # what feeds an output of a node that vanishes
        self._setting: dict[str, tuple[Mapping[str, Any], str]] = {}  # with their scopes, by name
        self._within = 0  # nodes and links within subgraphs
        self._add("", workflow)

    def graph(self) -> dict[str, Any]:
        """Return all nodes that a server would be sent; the canvas's own are not."""
        graph = {
            name: self._node(name, node)
            for name, node in self._nodes.items()
            if name not in self._opened and node["type"] not in UNSENT
        }
        # Those that are off are not sent: they stay, to be named, where something needs them.
        used = {
            value[0]
            for name, node in graph.items()
            if self._nodes[name].get("mode") not in MODES
            for value in node["inputs"].values()
            if isinstance(value, list)
        }
        off = {name for name in graph if self._nodes[name].get("mode") in MODES}
        graph = {name: node for name, node in graph.items() if name not in off or name in used}
        _write_texts(graph)
        return graph

    def _add(self, scope: str, content: Mapping[str, Any]) -> None:
        """Add nodes and links of a workflow, or of a subgraph that stands in it."""
        nodes, links = content["nodes"], content.get("links") or ()
        if scope:  # what stands in one another may grow without end
            self._within += len(nodes) + len(links)
            if self._within > MOST:
                raise GraphError(Sentence("graph_deep"))
        for node in nodes:
            self._nodes[f"{scope}{node['id']}"] = node
        for number, (source, slot), (target, target_slot) in map(_link, links):
            self._links[f"{scope}{number}"] = f"{scope}{source}", slot
            if target == OUTPUT:
                self._outputs[scope[:-1], target_slot] = f"{scope}{source}", slot
        for node in nodes:
            name = f"{scope}{node['id']}"
            self._scopes[name] = scope
            if node["type"] == SET:
                self._setting[str(node["widgets_values"][0])] = node, scope
            subgraph = self._subgraphs.get(str(node["type"]))
            if subgraph is not None and node.get("mode") not in MODES:
                self._opened[name] = subgraph
                self._add(f"{name}:", subgraph)

    def _node(self, name: str, node: Mapping[str, Any]) -> dict[str, Any]:
        kind = str(node["type"])
        fed = {}
        for slot in node.get("inputs") or ():
            source = self._source(self._scopes[name], slot.get("link"))
            if source is not None and not self._left_out(kind, slot["name"], source):
                fed[slot["name"]] = source
        if node.get("mode") in MODES:
            # Named only if something needs it.
            called = self._subgraphs.get(kind, {}).get("name", kind)
            kind = f"{called}, which is {MODES[node['mode']]}"
        off = {"off": True} if node.get("mode") in MODES else {}
        meta = {"title": WITHIN.join([*self._titles_around(name), self._title(node)])}
        if isinstance(noise := (node.get("properties") or {}).get(NOISE), str):
            meta[NOISE] = noise
        return {"class_type": kind, "inputs": _values(node) | fed, "_meta": meta, **off}

    def _titles_around(self, name: str) -> list[str]:
        """Return the titles of the subgraphs in which a node lies, the outermost first."""
        found: list[str] = []
        scope = self._scopes[name]
        while scope:
            around = scope[:-1]
            found.append(self._title(self._nodes[around]))
            scope = self._scopes[around]
        return found[::-1]

    def _title(self, node: Mapping[str, Any]) -> str:
        """Return what a node is called on the canvas: by its title, its subgraph's name, its kind.

        Titles of a hostile file may be of any type and length.
        """
        kind = str(node["type"])[:LONGEST_TITLE]
        name = self._subgraphs.get(kind, {}).get("name", kind)
        title = node.get("title")
        return str(title if isinstance(title, str) and title.strip() else name)[:LONGEST_TITLE]

    def _left_out(self, kind: str, option: str, source: Any) -> bool:
        """Return whether an input that need not be connected comes from a node that is off."""
        known = NODE_KINDS.get(kind)
        if known is None or option not in known.optional or not isinstance(source, list):
            return False
        return self._nodes.get(source[0], {}).get("mode") in MODES

    def _source(self, scope: str, link: Any) -> Any:
        """Return the link that feeds an input, the value of a primitive, or None."""
        found: Any = None
        passed: dict[Origin, None] = {}
        origin = self._links.get(f"{scope}{link}")
        while origin:
            if origin in self._behind:
                found = self._behind[origin]
                break
            found = [*origin]
            before, origin = origin, None
            if before not in passed:
                passed[before] = None
                found, origin = self._through(*before)
        self._behind |= dict.fromkeys(passed, found)
        return found

    def _through(self, name: str, slot: Any) -> tuple[Any, Origin | None]:
        """Return what an output is: what a server sees there, or the output that it passes on."""
        node, scope = self._nodes.get(name, {}), self._scopes.get(name, "")
        if name in self._opened:
            return None, self._outputs.get((name, slot))
        if name.endswith(INPUT) and (within := name.removesuffix(INPUT)[:-1]) in self._opened:
            return self._given(within, slot)
        if node.get("type") == GET:
            node, scope = self._setting.get(str(node["widgets_values"][0]), (node, scope))
        if node.get("type") in (*REROUTES, SET):
            return None, self._links.get(f"{scope}{node['inputs'][0]['link']}")
        if node.get("type") == "PrimitiveNode":
            return node["widgets_values"][0], None
        if node.get("mode") == BYPASSED:
            kinds = [output["type"] for output in (node.get("outputs") or [])[slot : slot + 1]]
            inputs = node.get("inputs") or []
            for each in (*inputs[slot : slot + 1], *inputs):
                if each["type"] in kinds:
                    return None, self._links.get(f"{scope}{each.get('link')}")
        return [name, slot], None

    def _given(self, name: str, slot: int) -> tuple[Any, Origin | None]:
        """Return what a subgraph's node has at an input: a value of its own, or what feeds it."""
        node, wanted = self._nodes[name], self._opened[name]["inputs"][slot]["name"]
        for each in node.get("inputs") or ():
            if each["name"] == wanted and each.get("link") is not None:
                return None, self._links.get(f"{self._scopes[name]}{each['link']}")
        shown = (node.get("properties") or {}).get("proxyWidgets") or ()
        values = node.get("widgets_values") or ()
        own = (value for at, value in zip(shown, values, strict=False) if at == [OWN, wanted])
        return next(own, None), None


def _link(link: Any) -> tuple[str, Origin, tuple[str, Any]]:
    """Return a link's number, where it comes from, and where it leads.

    Numbers become text: those of a hostile file may be chosen to collide in a table, texts cannot.
    """
    if isinstance(link, Mapping):
        number, source, slot = (link[name] for name in ("id", "origin_id", "origin_slot"))
        target, target_slot = link.get("target_id"), link.get("target_slot")
    else:
        number, source, slot, target, target_slot = link[:5]
    return str(number), (str(source), slot), (str(target), target_slot)


def _values(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node's values by name; those of a kind that is not known do not matter."""
    given, kind = node.get("widgets_values") or (), NODE_KINDS.get(str(node["type"]))
    if kind is None:
        return {}
    # Scripts leave out the seed's control after a run; old canvases have a boolean there.
    at = kind.values.index(AFTER_RUN) if AFTER_RUN in kind.values else len(given)
    control = given[at] if isinstance(given, list) and at < len(given) else None
    ordered = isinstance(control, bool) or control in ORDERS
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
