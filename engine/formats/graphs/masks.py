"""Nodes that make masks, and pictures of them."""

from collections.abc import Mapping
from typing import Final

from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.node_values import Draft
from engine.formats.graphs.pictures import ALPHA, channel_of, loaded, picture_in
from engine.pictures.masks import inverse_of
from engine.sentences import Sentence

EVERYTHING: Final = ""  # the mask under which all is drawn, as without one
SOLID: Final = "SolidMask"


def _loaded(node: Node) -> str:
    channel = str(node.value("channel"))
    return channel_of(node, picture_in(node), channel)


def _of_picture(node: Node) -> str:
    """Read a channel of a loaded picture, or of a mask's, scaled or not, as a mask."""
    draft, channel = node.input("image", Draft), str(node.value("channel"))
    if draft.drawn is not None or draft.pending or draft.image is None:
        raise node.fail(Sentence("graph_mask_of_unloaded"))
    for each in loaded(node):
        if each.image == draft.image:
            return channel_of(node, each, channel)
    if channel == ALPHA:  # which a mask's picture has not
        raise node.fail(Sentence("graph_mask_unmarked", channel=ALPHA))
    return draft.image


def _solid(node: Node) -> str:
    if node.number("value") != 1:
        raise node.fail(Sentence("graph_solid"))
    return EVERYTHING


def _inverted(node: Node) -> str:
    source = node.link("mask")
    if source.kind == SOLID and source.number("value") == 0:
        return EVERYTHING
    mask = node.input("mask", str)
    for each in loaded(node):
        for channel, name in each.masks.items():
            if name == mask:
                return channel_of(node, each, inverse_of(channel))
    raise node.fail(Sentence("graph_solid"))


def _shown(node: Node) -> Draft:
    """Read the picture of a mask, which is grey and lies in the store as the mask does."""
    mask = node.input("mask", str)
    for each in loaded(node):
        if mask in each.masks.values():
            return Draft(width=each.width, height=each.height, image=mask)
    raise node.fail(Sentence("graph_solid"))


MASKS: Final[Mapping[str, Rule]] = {
    "LoadImageMask": _loaded,
    "ImageToMask": _of_picture,
    SOLID: _solid,
    "InvertMask": _inverted,
    "MaskToImage": _shown,
}
