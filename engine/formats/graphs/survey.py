"""Where the values of a recipe stand in a graph, whether or not Marble can draw it.

Nodes are known here by the names of their inputs, so that those of kinds that Marble does not
support say what they hold, too.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple

from engine.errors import OptionError, shorten
from engine.formats.graphs.graph import Graph, Node
from engine.formats.graphs.node_values import as_number
from engine.formats.graphs.results import behind
from engine.recipe.limits import is_int
from engine.recipe.parts import Lora
from engine.sentences import Sentence

# What inputs are called that hold a field's value, the more telling first.
INPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    "seed": ("seed", "noise_seed"),
    "steps": ("steps",),
    "guidance_scale": ("cfg", "guidance"),
    "sampler": ("sampler_name",),
    "schedule": ("scheduler",),
    "checkpoint": ("ckpt_name", "unet_name", "model_path"),
    "vae": ("vae_name",),
    "strength": ("denoise",),
}
NUMBERS: Final = ("seed", "steps", "guidance_scale", "strength")
LORAS: Final = 16
WEIGHTS: Final = ("strength_model", "strength_clip")
LONGEST: Final = 200  # characters of where LoRAs stand
WORDS: Final = {"prompt": "positive", "negative_prompt": "negative"}
TEXTS: Final = ("text", "text_g", "t5xxl", "clip_l", "prompt", "value", "string")
SIDES: Final = ("width", "height")
TRIED: Final = 16  # inputs from which a text is looked for
MOST: Final = 2_000  # nodes that are looked at for it


class Seen(NamedTuple):
    """A value, and where it stands."""

    value: Any
    where: str


def survey(graph: Graph, saved: Node | None, *, noting: bool = False) -> dict[str, Seen]:
    """Return the values that stand in a graph, by fields of a recipe.

    saved: the node whose picture is meant; only what leads to it is looked at, if it is known.
    noting: what stands there only in part is noted.
    """
    nodes = [Node(graph, name) for name in (behind(graph, saved) if saved else graph.nodes)]
    samplers = [node for node in nodes if {"steps", "seed", "noise_seed"} & node.inputs.keys()]
    found: dict[str, Seen] = {}
    holders, ranked = _by_inputs(nodes), _by_inputs([*samplers, *nodes])
    for field, names in INPUTS.items():
        for node, name in _with_input(ranked, names):
            value, source = _value(node, name)
            if field in NUMBERS:
                value = as_number(value)
            if value is not None and not isinstance(value, (list, bool)):
                found[field] = Seen(value, f"{source.title}: {name}")
                break
    if (seen := found.pop("strength", None)) and seen.value != 1:
        found["strength"] = seen
    if loras := list(_loras(nodes, noting=noting)):
        titles = ", ".join(title for _, title in loras)
        found["loras"] = Seen(tuple(lora for lora, _ in loras), titles[:LONGEST])
    for field, link in WORDS.items():
        for node, name in islice(_with_input(holders, (link,)), TRIED):
            if (seen := _text(graph, node.inputs[name])) is not None:
                found[field] = seen
                break
    for node in holders.get("batch_size", ()):
        sides = [as_number(_value(node, side)[0]) for side in SIDES]
        if all(map(is_int, sides)):
            for side, value in zip(SIDES, sides, strict=True):
                found[side] = Seen(value, node.title)
            break
    return found


def _loras(nodes: Iterable[Node], *, noting: bool) -> Iterator[tuple[Lora, str]]:
    """Yield the LoRAs that nodes name, the first ones, and these nodes' titles.

    One whose weight another node computes is no value; noting: it is noted.
    """
    named = (node for node in nodes if isinstance(node.inputs.get("lora_name"), str))
    for node in islice(named, LORAS):
        given = [part for part in WEIGHTS if part in node.inputs]
        weights = {part: as_number(_value(node, part)[0]) for part in given}
        name, unet = node.file("lora_name"), weights.get(WEIGHTS[0], 1.0)
        if unet is None or None in weights.values():
            if noting:
                node.note(Sentence("graph_weight_computed", name=shorten(name)))
            continue
        with suppress(OptionError):  # a weight that none has
            yield Lora(name=name, weight=unet, text_weight=weights.get(WEIGHTS[1])), node.title


def _by_inputs(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    """Return nodes by the names of their inputs."""
    found: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            found.setdefault(name, []).append(node)
    return found


def _with_input(
    holders: Mapping[str, list[Node]], names: Iterable[str]
) -> Iterator[tuple[Node, str]]:
    for name in names:
        for node in holders.get(name, ()):
            yield node, name


def _value(node: Node, name: str) -> tuple[Any, Node]:
    """Return a value and where it stands: in the node, or in one that gives it alone."""
    value = node.inputs.get(name)
    match value:
        case [str() as source, _] if source in node.graph.nodes:
            node = Node(node.graph, source)
            given = [each for each in (name, "value", "int", "string") if each in node.inputs]
            return (node.inputs[given[0]] if given else None), node
    return value, node


def _text(graph: Graph, link: Any) -> Seen | None:
    """Return the nearest text that leads to an input."""
    waiting: deque[Any] = deque([link])
    seen: set[str] = set()
    while waiting and len(seen) < MOST:
        match waiting.popleft():
            case [str() as name, _] if name in graph.nodes and name not in seen:
                seen.add(name)
                node = Node(graph, name)
                for option in TEXTS:
                    if isinstance(text := node.inputs.get(option), str):
                        return Seen(text, f"{node.title}: {option}")
                waiting += node.inputs.values()
    return None
