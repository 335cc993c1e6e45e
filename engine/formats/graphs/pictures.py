"""Nodes that load pictures and masks, decode, upscale, and composite."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engine.errors import GraphError, shorten
from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.node_values import Draft, GraphVae, LoadedPicture, PendingUpscale
from engine.recipe.parts import LANCZOS
from engine.sentences import Sentence

FITS: Final = {"center": "crop", "disabled": "resize"}
ALPHA: Final = "alpha"
GUESSED: Final = 4  # factor of an upscale model whose name holds none


def _loaded(node: Node) -> Draft | str:
    """Read a picture, or as a mask what is transparent in it."""
    loaded = _picture(node)
    if node.slot == 1:
        return _channel(node, loaded, ALPHA)
    return Draft(width=loaded.width, height=loaded.height, image=loaded.image)


def _loaded_mask(node: Node) -> str:
    channel = str(node.value("channel"))
    return _channel(node, _picture(node), channel)


def _picture(node: Node) -> LoadedPicture:
    file = str(node.value("image"))
    if file not in node.graph.pictures:
        raise GraphError(Sentence("graph_picture_missing", picture=shorten(file)))
    return node.graph.pictures[file]


def _mask_of(node: Node) -> str:
    """Read a channel of a loaded picture, scaled or not, as a mask."""
    draft = node.input("image", Draft)
    found = [each for each in node.graph.pictures.values() if each.image == draft.image]
    if draft.drawn is not None or draft.pending or not found:
        raise node.fail(Sentence("graph_mask_of_unloaded"))
    return _channel(node, found[0], str(node.value("channel")))


def _channel(node: Node, loaded: LoadedPicture, channel: str) -> str:
    if channel not in loaded.masks:
        raise node.fail(Sentence("graph_mask_unmarked", channel=shorten(channel)))
    return loaded.masks[channel]


def _scaled(node: Node) -> Draft:
    """Read ImageScale: it fits a start image to its size, and upscales any other picture."""
    draft = node.input("image", Draft)
    width, height = (int(node.number(side)) for side in ("width", "height"))
    draft = _filtered(node, draft)
    if draft.drawn is None and draft.fit is None and draft.pending is None:
        fit = FITS.get(str(node.value("crop")), "crop")
        return replace(draft, width=width, height=height, fit=fit)
    pending = replace(draft.pending or PendingUpscale(), target=(width, height))
    return replace(draft, pending=pending)


def _scaled_by(node: Node) -> Draft:
    draft = _filtered(node, node.input("image", Draft))
    return _times(node, draft, node.number("scale_by"))


def _filtered(node: Node, draft: Draft) -> Draft:
    method = str(node.inputs.get("upscale_method", LANCZOS))
    return replace(draft, filters=(*draft.filters, (node.name, method)))


def _by_model(node: Node) -> Draft:
    draft = node.input("image", Draft)
    model = node.link("upscale_model").file("model_name")
    factor = factor_in_name(model)
    if factor is None:
        node.note(Sentence("graph_factor_guessed", factor=GUESSED))
    return _times(node, draft, factor or GUESSED, model)


def factor_in_name(model: str) -> int | None:
    """Return an upscale model's factor, where its name holds it: 4x-, _x2, …"""
    found = re.search(r"(\d)x|x(\d)", model.lower())
    return int(found[1] or found[2]) or None if found else None


def _times(node: Node, draft: Draft, factor: float, by: str | None = None) -> Draft:
    """Multiply the factor of a draft, which may be pending already."""
    before = draft.pending or PendingUpscale()
    if before.target is not None:
        width, height = before.target
        return replace(draft, pending=replace(before, target=(width * factor, height * factor)))
    if by and before.by not in (LANCZOS, by):
        raise node.fail(Sentence("graph_second_upscaler"))
    return replace(draft, pending=PendingUpscale(by or before.by, before.factor * factor))


def _decoded(node: Node) -> Draft:
    draft = node.input("samples", Draft)
    if draft.drawn is None:
        raise node.fail(Sentence("graph_decodes_nothing"))
    if draft.pending is not None:
        raise node.fail(Sentence("graph_decodes_stretched"))
    return with_vae(node, draft)


def with_vae(node: Node, draft: Draft) -> Draft:
    """Return a draft that went through a node's VAE: one VAE serves a recipe both ways."""
    vae = node.input("vae", GraphVae)
    if draft.vae is not None and draft.vae != vae:
        raise node.fail(Sentence("graph_another_vae"))
    return replace(draft, vae=vae)


def note_method(node: Node, method: object, ours: str) -> None:
    """Note a way of scaling that is not Marble's, which takes its place."""
    if method != ours:
        node.note(Sentence("graph_method", method=shorten(method), taken=ours))


def note_filters(node: Node, draft: Draft) -> None:
    """Note where pixels that a node sees were scaled in another way than Marble's."""
    for name, method in draft.filters:
        note_method(Node(node.graph, name), method, LANCZOS)


def _composite(node: Node) -> Draft:
    """Read the composite of a start image with the picture drawn in its mask."""
    over, drawn = node.input("destination", Draft), node.input("source", Draft)
    placed = any(node.number(side) for side in ("x", "y")) or drawn.pending
    same = over.drawn is None and (over.image, over.fit) == (drawn.image, drawn.fit)
    if placed or not same or drawn.mask is None or node.input("mask", str) != drawn.mask:
        raise node.fail(Sentence("graph_lays_other"))
    return drawn


PICTURES: Final[Mapping[str, Rule]] = {
    "LoadImage": _loaded,
    "LoadImageMask": _loaded_mask,
    "ImageToMask": _mask_of,
    "ImageScale": _scaled,
    "ImageScaleBy": _scaled_by,
    "ImageUpscaleWithModel": _by_model,
    "VAEDecode": _decoded,
    "ImageCompositeMasked": _composite,
}
