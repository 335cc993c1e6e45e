"""Nodes that encode prompts, join them, and apply ControlNets to them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from engine.errors import GraphError
from engine.formats.graphs.graph import Link
from engine.formats.graphs.node_values import Draft, GraphModel, GraphPrompt
from engine.formats.graphs.reader import Reader, Rule
from engine.recipe.parts import Control
from engine.sentences import Sentence

BREAK: Final = " BREAK "
LONGEST: Final = 100_000  # characters: texts that are joined with themselves double each time
BOTH: Final = ("positive", "negative")
SIZES: Final = (("width", "height"), ("target_width", "target_height"))


def _text(reader: Reader, link: Link) -> GraphPrompt:
    # What the text must be, the recipe says.
    text = reader.graph.value(link.node, "text")
    return GraphPrompt(text, reader.input(link.node, "clip", GraphModel))


def _both_texts(reader: Reader, link: Link) -> GraphPrompt:
    """Read SDXL's node, which has a text for each of the two encoders, and sizes to tell them."""
    name, graph = link.node, reader.graph
    text = str(graph.value(name, "text_g"))
    if graph.value(name, "text_l") not in (text, ""):
        reader.note(name, Sentence("graph_text_l"))
    if any(graph.number(name, each) for each in ("crop_w", "crop_h")):
        reader.note(name, Sentence("graph_crop"))
    sizes = [(graph.number(name, w), graph.number(name, h)) for w, h in SIZES]
    return GraphPrompt(text, reader.input(name, "clip", GraphModel), sizes=frozenset(sizes))


def _joined(reader: Reader, link: Link, *options: str) -> GraphPrompt:
    first, second = (reader.input(link.node, option, GraphPrompt) for option in options)
    text = BREAK.join(map(str, (first.text, second.text)))
    if len(text) > LONGEST:
        raise GraphError(Sentence("graph_long_text", most=LONGEST))
    if first.encoder != second.encoder:
        raise reader.fail(link.node, Sentence("graph_joins_encoders"))
    if first.controls != second.controls:
        reader.note(link.node, Sentence("graph_controls_of_text"))
    return replace(first, text=text, controls=max(first.controls, second.controls, key=len))


def _concatenated(reader: Reader, link: Link) -> GraphPrompt:
    return _joined(reader, link, "conditioning_to", "conditioning_from")


def _combined(reader: Reader, link: Link) -> GraphPrompt:
    reader.note(link.node, Sentence("graph_averaged"))
    return _joined(reader, link, "conditioning_1", "conditioning_2")


def _controlled(reader: Reader, link: Link) -> GraphPrompt:
    return _with_control(reader, link.node, reader.input(link.node, "conditioning", GraphPrompt))


def _controlled_for_a_while(reader: Reader, link: Link) -> GraphPrompt:
    words = reader.input(link.node, BOTH[link.slot], GraphPrompt)
    start = reader.graph.number(link.node, "start_percent")
    end = reader.graph.number(link.node, "end_percent")
    if (start, end) != (0, 1):
        reader.note(link.node, Sentence("graph_percent"))
    return replace(_with_control(reader, link.node, words, start=start, end=end), both=False)


def _with_control(reader: Reader, name: str, words: GraphPrompt, **when: Any) -> GraphPrompt:
    """Add a control to a prompt, with the picture that its node loads as ControlNet image."""
    image = reader.input(name, "image", Draft)
    if image.drawn is not None or image.image is None or image.pending:
        raise reader.fail(name, Sentence("graph_map_not_loaded"))
    control = Control(
        model=reader.file(name, "control_net", "control_net_name"),
        image=image.image,
        strength=reader.graph.number(name, "strength"),
        **when,
    )
    return replace(words, controls=(*words.controls, control), fit=image.fit or words.fit)


WORDS: Final[Mapping[str, Rule]] = {
    "CLIPTextEncode": _text,
    "CLIPTextEncodeSDXL": _both_texts,
    "ConditioningConcat": _concatenated,
    "ConditioningCombine": _combined,
    "ControlNetApply": _controlled,
    "ControlNetApplyAdvanced": _controlled_for_a_while,
}
