"""Nodes that encode prompts, join them, and apply ControlNets to them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from engine.errors import GraphError
from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.node_values import Draft, GraphModel, GraphPrompt
from engine.recipe.parts import Control
from engine.sentences import Sentence

BREAK: Final = " BREAK "
LONGEST: Final = 100_000  # characters: texts that are joined with themselves double each time
BOTH: Final = ("positive", "negative")
SIZES: Final = (("width", "height"), ("target_width", "target_height"))


def _text(node: Node) -> GraphPrompt:
    # What the text must be, the recipe says.
    return GraphPrompt(node.value("text"), node.input("clip", GraphModel))


def _both_texts(node: Node) -> GraphPrompt:
    """Read SDXL's node, which has a text for each of the two encoders, and sizes to tell them."""
    text = str(node.value("text_g"))
    if node.value("text_l") not in (text, ""):
        node.note(Sentence("graph_text_l"))
    if any(node.number(each) for each in ("crop_w", "crop_h")):
        node.note(Sentence("graph_crop"))
    sizes = frozenset((node.number(width), node.number(height)) for width, height in SIZES)
    return GraphPrompt(text, node.input("clip", GraphModel), sizes=sizes)


def _joined(node: Node, *options: str) -> GraphPrompt:
    first, second = (node.input(option, GraphPrompt) for option in options)
    text = BREAK.join(map(str, (first.text, second.text)))
    if len(text) > LONGEST:
        raise GraphError(Sentence("graph_long_text", most=LONGEST))
    if first.encoder != second.encoder:
        raise node.fail(Sentence("graph_joins_encoders"))
    if first.controls != second.controls:
        node.note(Sentence("graph_controls_of_text"))
    return replace(first, text=text, controls=max(first.controls, second.controls, key=len))


def _concatenated(node: Node) -> GraphPrompt:
    return _joined(node, "conditioning_to", "conditioning_from")


def _combined(node: Node) -> GraphPrompt:
    node.note(Sentence("graph_averaged"))
    return _joined(node, "conditioning_1", "conditioning_2")


def _controlled(node: Node) -> GraphPrompt:
    return _with_control(node, node.input("conditioning", GraphPrompt))


def _controlled_for_a_while(node: Node) -> GraphPrompt:
    words = node.input(BOTH[node.slot], GraphPrompt)
    start, end = node.number("start_percent"), node.number("end_percent")
    if (start, end) != (0, 1):
        node.note(Sentence("graph_percent"))
    return replace(_with_control(node, words, start=start, end=end), both=False)


def _with_control(node: Node, words: GraphPrompt, **when: Any) -> GraphPrompt:
    """Add a control to a prompt, with the picture that its node loads as ControlNet image."""
    image = node.input("image", Draft)
    if image.drawn is not None or image.image is None or image.pending:
        raise node.fail(Sentence("graph_map_not_loaded"))
    control = Control(
        model=node.link("control_net").file("control_net_name"),
        image=image.image,
        strength=node.number("strength"),
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
