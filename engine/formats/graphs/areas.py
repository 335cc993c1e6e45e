"""Nodes that say where and when a text acts, and how texts that act together weigh."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from engine.errors import GraphError, OptionError
from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.node_values import GraphPlace, GraphPrompt
from engine.recipe.limits import LATENT_SIDE, is_int
from engine.recipe.parts import Area
from engine.sentences import Sentence

BOUNDS: Final = "mask bounds"
BOX: Final = ("x", "y", "width", "height")
LEAST: Final = 1e-3  # of a picture: less than a latent


def _places(node: Node, change: Callable[[GraphPlace], GraphPlace]) -> GraphPrompt:
    """Return a prompt with the places of all its texts changed."""
    words = node.input("conditioning", GraphPrompt)
    return words.with_parts(replace(part, place=change(part.place)) for part in words.parts)


def _in_box(node: Node) -> GraphPrompt:
    x, y, width, height = (node.number(name) for name in BOX)
    strength, shares = node.number("strength"), node.kind == "ConditioningSetAreaPercentage"
    return _places(
        node,
        lambda place: replace(
            place,
            box=(x, y, width, height),
            of_picture=shares,
            strength=strength,
            bounds=False,
        ),
    )


def _weighed(node: Node) -> GraphPrompt:
    strength = node.number("strength")
    return _places(node, lambda place: replace(place, strength=strength))


def _masked(node: Node) -> GraphPrompt:
    mask, strength = node.input("mask", str) or None, node.number("strength")
    bounds = node.value("set_cond_area") == BOUNDS
    return _places(
        node,
        lambda place: replace(
            place,
            mask=mask,
            of_mask=strength,
            bounds=bounds and mask is not None,
        ),
    )


def _for_a_while(node: Node) -> GraphPrompt:
    start, end = node.number("start"), node.number("end")
    return _places(node, lambda place: replace(place, start=start, end=end))


def _combined(node: Node) -> GraphPrompt:
    """Read the node that takes the mean of what two prompts predict."""
    options = "conditioning_1", "conditioning_2"
    first, second = (node.input(option, GraphPrompt) for option in options)
    if first.encoder != second.encoder:
        raise node.fail(Sentence("graph_joins_encoders"))
    if first.controls != second.controls:
        node.note(Sentence("graph_controls_of_text"))
    return replace(
        first,
        beside=(*first.beside, *second.parts),
        controls=max(first.controls, second.controls, key=len),
        references=tuple(dict.fromkeys((*first.references, *second.references))),
    )


def with_words_first(words: GraphPrompt) -> GraphPrompt:
    """Return a prompt whose first text is one that is no zeros, where it has one."""
    return words.with_parts(sorted(words.parts, key=lambda part: part.zero))


def areas_of(
    node: Node, words: GraphPrompt, size: tuple[Any, Any], *, negative: bool
) -> Iterator[Area]:
    """Yield the areas of a recipe that a prompt's texts are, besides one that is always read.

    size: of the picture, width and height.
    """
    for number, part in enumerate(words.parts):
        if number == 0 and part.place == GraphPlace():
            continue
        place, own = part.place, number == 0
        box = _box(node, words, place, size)
        try:
            yield Area(
                prompt=None if own else str(part.text),
                negative=negative,
                **box,
                mask=place.mask,
                bounds=place.bounds,
                strength=place.strength * place.of_mask,
                start=place.start,
                end=place.end,
                zero=part.zero,
            )
        except OptionError as error:
            node.note(Sentence("graph_text_left_out", why=error.said))


def _box(
    node: Node, words: GraphPrompt, place: GraphPlace, size: tuple[Any, Any]
) -> dict[str, float]:
    """Return a box in shares of the picture; raises `GraphError`."""
    if place.box is None:
        return {}
    shares = place.box
    if not place.of_picture:
        if not all(is_int(side) and side >= LATENT_SIDE for side in size):
            raise GraphError(Sentence("graph_size_unknown"))
        # ComfyUI counts eight pixels a latent, also where it is sixteen.
        each = 2 if words.encoder.family == "flux2" else 1
        x, y, width, height = (side // LATENT_SIDE * each for side in place.box)
        across, down = (side // LATENT_SIDE for side in size)
        shares = x / across, y / down, width / across, height / down
    left, top, width, height = shares
    if not (0 <= left < 1 and 0 <= top < 1 and width >= 0 and height >= 0):
        raise node.fail(Sentence("graph_area_outside"))
    # A side of 0 is one latent, as in ComfyUI.
    return {
        "left": left,
        "top": top,
        "width": min(1.0, width) or LEAST,
        "height": min(1.0, height) or LEAST,
    }


AREAS: Final[Mapping[str, Rule]] = {
    "ConditioningSetArea": _in_box,
    "ConditioningSetAreaPercentage": _in_box,
    "ConditioningSetAreaStrength": _weighed,
    "ConditioningSetMask": _masked,
    "ConditioningSetTimestepRange": _for_a_while,
    "ConditioningCombine": _combined,
}
