"""Nodes that load pictures and masks, decode, upscale, and composite."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engine.errors import GraphError, shorten
from engine.formats.graphs.graph import Link
from engine.formats.graphs.node_values import Draft, GraphVae, PendingUpscale
from engine.formats.graphs.reader import Reader, Rule, file_named
from engine.recipe.limits import LATENT_SIDE
from engine.recipe.parts import LANCZOS
from engine.sentences import Sentence

FITS: Final = {"center": "crop", "disabled": "resize"}
ALPHA: Final = "alpha"
GUESSED: Final = 4  # factor of an upscale model whose name holds none


def _loaded(reader: Reader, link: Link) -> Draft:
    loaded = reader.loaded_picture(link.node)
    return Draft(width=loaded.width, height=loaded.height, image=loaded.image)


def _scaled(reader: Reader, link: Link) -> Draft:
    """Read ImageScale: it fits a start image to its size, and upscales any other picture."""
    name, draft = link.node, reader.input(link.node, "image", Draft)
    width, height = (int(reader.graph.number(name, side)) for side in ("width", "height"))
    draft = _filtered(reader, name, draft)
    if draft.drawn is None and draft.fit is None and draft.pending is None:
        fit = FITS.get(str(reader.graph.value(name, "crop")), "crop")
        return replace(draft, width=width, height=height, fit=fit)
    return replace(
        draft, pending=replace(draft.pending or PendingUpscale(), target=(width, height))
    )


def _scaled_by(reader: Reader, link: Link) -> Draft:
    draft = _filtered(reader, link.node, reader.input(link.node, "image", Draft))
    return _times(reader, link.node, draft, reader.graph.number(link.node, "scale_by"))


def _by_model(reader: Reader, link: Link) -> Draft:
    draft = reader.input(link.node, "image", Draft)
    loader = reader.graph.link(link.node, "upscale_model").node
    model = file_named(reader.graph.value(loader, "model_name"))
    factor = factor_in_name(model)
    if factor is None:
        reader.note(link.node, Sentence("graph_factor_guessed", factor=GUESSED))
    return _times(reader, link.node, draft, factor or GUESSED, model)


def factor_in_name(model: str) -> int | None:
    """Return an upscale model's factor, where its name holds it: 4x-, _x2, …"""
    found = re.search(r"(\d)x|x(\d)", model.lower())
    return int(found[1] or found[2]) or None if found else None


def _times(reader: Reader, name: str, draft: Draft, factor: float, by: str | None = None) -> Draft:
    """Multiply the factor of a draft, which may be pending already."""
    before = draft.pending or PendingUpscale()
    if before.target is not None:
        width, height = before.target
        return replace(draft, pending=replace(before, target=(width * factor, height * factor)))
    if by and before.by not in (LANCZOS, by):
        raise reader.fail(name, Sentence("graph_second_upscaler"))
    return replace(draft, pending=PendingUpscale(by or before.by, before.factor * factor))


def _decoded(reader: Reader, link: Link) -> Draft:
    draft = reader.input(link.node, "samples", Draft)
    if draft.drawn is None:
        raise reader.fail(link.node, Sentence("graph_decodes_nothing"))
    if draft.pending is not None:
        raise reader.fail(link.node, Sentence("graph_decodes_stretched"))
    return with_vae(reader, link.node, draft)


def with_vae(reader: Reader, name: str, draft: Draft) -> Draft:
    """Return a draft that went through a node's VAE: one VAE serves a recipe both ways."""
    vae = reader.input(name, "vae", GraphVae)
    if draft.vae is not None and draft.vae != vae:
        raise reader.fail(name, Sentence("graph_another_vae"))
    return replace(draft, vae=vae)


def _filtered(reader: Reader, name: str, draft: Draft) -> Draft:
    method = str(reader.graph.nodes[name]["inputs"].get("upscale_method", LANCZOS))
    return replace(draft, filters=(*draft.filters, (name, method)))


def other_method(method: object, taken: str) -> Sentence:
    """Say which way of scaling takes the place of one that Marble does not have."""
    return Sentence("graph_method", method=shorten(method), taken=taken)


def note_filters(reader: Reader, draft: Draft) -> None:
    """Note where pixels that are seen were scaled in another way than Marble's."""
    for name, method in draft.filters:
        if method != LANCZOS:
            reader.note(name, other_method(method, LANCZOS))


def _composite(reader: Reader, link: Link) -> Draft:
    """Read the composite of a start image with the picture drawn in its mask."""
    name, graph = link.node, reader.graph
    over, drawn = reader.input(name, "destination", Draft), reader.input(name, "source", Draft)
    placed = any(graph.number(name, side) for side in ("x", "y")) or drawn.pending
    same = over.drawn is None and (over.image, over.fit) == (drawn.image, drawn.fit)
    if placed or not same or drawn.mask is None or reader.input(name, "mask", str) != drawn.mask:
        raise reader.fail(name, Sentence("graph_lays_other"))
    return drawn


def _loaded_mask(reader: Reader, link: Link) -> str:
    channel = ALPHA
    if reader.graph.kind(link.node) == "LoadImageMask":
        channel = str(reader.graph.value(link.node, "channel"))
    return _channel(reader, link.node, reader.loaded_picture(link.node).masks, channel)


def _mask_of(reader: Reader, link: Link) -> str:
    """Read a channel of a loaded picture, scaled or not, as a mask."""
    name, draft = link.node, reader.input(link.node, "image", Draft)
    found = [each for each in reader.pictures.values() if each.image == draft.image]
    if draft.drawn is not None or draft.pending or not found:
        raise reader.fail(name, Sentence("graph_mask_of_unloaded"))
    return _channel(reader, name, found[0].masks, str(reader.graph.value(name, "channel")))


def _channel(reader: Reader, name: str, masks: Mapping[str, str], channel: str) -> str:
    if channel not in masks:
        raise reader.fail(name, Sentence("graph_mask_unmarked", channel=shorten(channel)))
    return masks[channel]


def check_size(reader: Reader, name: str, draft: Draft) -> Draft:
    """Return a start image at whole latents, as encoding needs it."""
    width, height = draft.width, draft.height
    if width is None or height is None:
        raise GraphError(Sentence("graph_size_unknown"))
    whole = width // LATENT_SIDE * LATENT_SIDE, height // LATENT_SIDE * LATENT_SIDE
    if (width, height) != whole:
        was, now = f"{width} × {height}", f"{whole[0]} × {whole[1]}"
        reader.note(name, Sentence("graph_scaled", was=was, now=now))
    return replace(draft, width=whole[0], height=whole[1])


IMAGES: Final[Mapping[str, Rule]] = {
    "LoadImage": _loaded,
    "ImageScale": _scaled,
    "ImageScaleBy": _scaled_by,
    "ImageUpscaleWithModel": _by_model,
    "VAEDecode": _decoded,
    "ImageCompositeMasked": _composite,
}
MASKS: Final[Mapping[str, Rule]] = {
    "LoadImage": _loaded_mask,
    "LoadImageMask": _loaded_mask,
    "ImageToMask": _mask_of,
}
