"""Nodes that read words, join them, and put controls beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from engine.errors import GraphError
from engine.formats.graphs.graph import Link
from engine.formats.graphs.meaning import Words
from engine.formats.graphs.reader import Reader, Rule
from engine.recipe.parts import Control
from engine.sentences import Sentence

BREAK: Final = " BREAK "
LONGEST: Final = 100_000  # characters: texts that are joined with themselves double each time
BOTH: Final = ("positive", "negative")
SIZES: Final = (("width", "height"), ("target_width", "target_height"))


def _text(reader: Reader, link: Link) -> Words:
    # What the text must be, the recipe says.
    text = reader.graph.value(link.node, "text")
    return Words(text, reader.model(link.node, "clip"))


def _both_texts(reader: Reader, link: Link) -> Words:
    """Read SDXL's node, which has a text for each of the two encoders, and sizes to tell them."""
    name, graph = link.node, reader.graph
    text = str(graph.value(name, "text_g"))
    if graph.value(name, "text_l") not in (text, ""):
        text_l = "text_l: both text encoders read text_g"
        reader.note(name, Sentence(text_l, "graph_text_l"))
    if any(graph.number(name, each) for each in ("crop_w", "crop_h")):
        crop = "crop_w and crop_h: the picture's own sizes are told, uncut"
        reader.note(name, Sentence(crop, "graph_crop"))
    sizes = [(graph.number(name, w), graph.number(name, h)) for w, h in SIZES]
    return Words(text, reader.model(name, "clip"), sizes=frozenset(sizes))


def _joined(reader: Reader, link: Link, *options: str) -> Words:
    first, second = (reader.words(link.node, option) for option in options)
    text = BREAK.join(map(str, (first.text, second.text)))
    if len(text) > LONGEST:
        said = f"The ComfyUI graph joins texts to more than {LONGEST:,} characters."
        raise GraphError(Sentence(said, "graph_long_text", most=LONGEST))
    if first.encoder != second.encoder:
        said = "joins texts of two text encoders, which Marble cannot do"
        raise reader.fail(link.node, Sentence(said, "graph_joins_encoders"))
    if first.controls != second.controls:
        said = "controls of one text: they act on all of it"
        reader.note(link.node, Sentence(said, "graph_controls_of_text"))
    return replace(first, text=text, controls=max(first.controls, second.controls, key=len))


def _concatenated(reader: Reader, link: Link) -> Words:
    return _joined(reader, link, "conditioning_to", "conditioning_from")


def _combined(reader: Reader, link: Link) -> Words:
    said = "two guesses averaged: both texts are read one after the other"
    reader.note(link.node, Sentence(said, "graph_averaged"))
    return _joined(reader, link, "conditioning_1", "conditioning_2")


def _controlled(reader: Reader, link: Link) -> Words:
    return _steered(reader, link.node, reader.words(link.node, "conditioning"))


def _controlled_for_a_while(reader: Reader, link: Link) -> Words:
    words = reader.words(link.node, BOTH[link.slot])
    start = reader.graph.number(link.node, "start_percent")
    end = reader.graph.number(link.node, "end_percent")
    if (start, end) != (0, 1):
        said = "start_percent and end_percent: counted in steps, not in noise"
        reader.note(link.node, Sentence(said, "graph_percent"))
    return replace(_steered(reader, link.node, words, start=start, end=end), both=False)


def _steered(reader: Reader, name: str, words: Words, **when: Any) -> Words:
    """Put a control beside words, which steers by the picture that its node is given."""
    hint = reader.image(name, "image")
    if hint.drawn is not None or hint.image is None or hint.larger:
        said = "takes a map that is no loaded picture, which Marble cannot do"
        raise reader.fail(name, Sentence(said, "graph_map_not_loaded"))
    control = Control(
        model=reader.file(name, "control_net", "control_net_name"),
        image=hint.image,
        strength=reader.graph.number(name, "strength"),
        **when,
    )
    return replace(words, controls=(*words.controls, control), fit=hint.fit or words.fit)


WORDS: Final[Mapping[str, Rule]] = {
    "CLIPTextEncode": _text,
    "CLIPTextEncodeSDXL": _both_texts,
    "ConditioningConcat": _concatenated,
    "ConditioningCombine": _combined,
    "ControlNetApply": _controlled,
    "ControlNetApplyAdvanced": _controlled_for_a_while,
}
