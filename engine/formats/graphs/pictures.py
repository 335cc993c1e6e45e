"""Nodes that load pictures, measure, pad, decode, upscale, and composite."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from math import sqrt
from typing import Any, Final

from engine.errors import GraphError, shorten
from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.node_values import Draft, GraphVae, LoadedPicture, PendingUpscale
from engine.formats.graphs.nodes import MARGINS
from engine.pictures.references import KONTEXT
from engine.recipe.limits import LARGEST, is_int
from engine.recipe.parts import LANCZOS, Margins
from engine.sentences import Sentence

FITS: Final = {"center": "crop", "disabled": "resize"}
SIDES: Final = ("width", "height")
ALPHA: Final = "alpha"
PAD: Final = "ImagePadForOutpaint"
SLOT_OF_COUNT: Final = 2  # of GetImageSize
GUESSED: Final = 4  # factor of an upscale model whose name holds none


def _loaded(node: Node) -> Draft | str:
    """Read a picture, or as a mask what is transparent in it."""
    loaded = picture_in(node)
    if node.slot == 1:
        return channel_of(node, loaded, ALPHA)
    return Draft(width=loaded.width, height=loaded.height, image=loaded.image)


def picture_in(node: Node) -> LoadedPicture:
    """Return the picture that a node loads."""
    file = str(node.value("image"))
    if file not in node.graph.pictures:
        raise GraphError(Sentence("graph_picture_missing", picture=shorten(file)))
    return node.graph.pictures[file]


def channel_of(node: Node, loaded: LoadedPicture, channel: str) -> str:
    """Return a channel of a loaded picture as a mask."""
    if channel not in loaded.masks:
        raise node.fail(Sentence("graph_mask_unmarked", channel=shorten(channel)))
    return loaded.masks[channel]


def _scaled(node: Node) -> Draft:
    """Read ImageScale: it fits a start image to its size, and upscales any other picture."""
    draft = node.input("image", Draft)
    size = in_shape(draft, *(int(node.number(side)) for side in SIDES))
    width, height = (int(side) for side in size)
    draft = _filtered(node, draft)
    if draft.drawn is None and draft.fit is None and draft.pending is None:
        fit = FITS.get(str(node.value("crop")), "crop")
        return replace(draft, width=width, height=height, fit=fit)
    pending = replace(draft.pending or PendingUpscale(), target=(width, height))
    return replace(draft, pending=pending)


def in_shape(draft: Draft, width: float, height: float) -> tuple[float, float]:
    """Return a size that a node scales to: ComfyUI takes a side of 0 from the picture's shape."""
    if width and height:
        return width, height
    before = draft.pending or PendingUpscale()
    now = before.target
    if now is None:
        if None in (draft.width, draft.height):
            raise GraphError(Sentence("graph_size_unknown"))
        if not _is_sized(draft):
            raise GraphError(Sentence("graph_no_size"))
        now = draft.width * before.factor, draft.height * before.factor
    if not all(1 <= side < LARGEST for side in now):  # products may have become infinite, or NaN
        raise GraphError(Sentence("graph_no_size"))
    if not (width or height):
        return now
    factor = width / now[0] if width else height / now[1]
    return width or max(1, round(now[0] * factor)), height or max(1, round(now[1] * factor))


def loaded(node: Node) -> Collection[LoadedPicture]:
    """Return all pictures that a node's graph loads."""
    return node.graph.pictures.values()


def _scaled_to_pixels(node: Node) -> Draft:
    """Read ImageScaleToTotalPixels: about so many megapixels of 1,024 × 1,024, in whole steps."""
    draft, pixels = _filtered(node, _loaded_only(node)), node.number("megapixels") * 2**20
    step = node.number("resolution_steps") if "resolution_steps" in node.inputs else 1
    if not (_is_sized(draft) and pixels > 0 and step >= 1):
        return draft
    factor = sqrt(pixels / (draft.width * draft.height)) / step
    width, height = (round(side * factor) * int(step) for side in (draft.width, draft.height))
    return replace(draft, width=width, height=height, fit=draft.fit or FITS["center"])


def _scaled_for_kontext(node: Node) -> Draft:
    """Read FluxKontextImageScale: the size that comes nearest in shape, cropped to it."""
    draft = _loaded_only(node)
    if not _is_sized(draft):
        return draft
    width, height = KONTEXT.of(draft.width, draft.height)
    return replace(draft, width=width, height=height, fit=draft.fit or FITS["center"])


def _loaded_only(node: Node) -> Draft:
    draft = node.input("image", Draft)
    if draft.drawn is not None or draft.image is None or draft.pending is not None:
        raise node.fail(Sentence("graph_scales_drawn"))
    return draft


def padded(node: Node) -> Draft:
    """Return the start image of ImagePadForOutpaint with its margins, of which it makes a mask."""
    draft = node.input("image", Draft)
    if draft.drawn is not None or draft.image is None or draft.pending is not None:
        raise node.fail(Sentence("graph_pads_drawn"))
    sides: dict[str, Any] = {side: node.numeric(side) for side in MARGINS}
    margins = Margins(**sides)
    node.note(Sentence("graph_padded"))
    draft = replace(draft, margins=margins, padded=node.name)
    if not _is_sized(draft):
        return draft
    width, height = margins.left + margins.right, margins.top + margins.bottom
    return replace(draft, width=draft.width + width, height=draft.height + height)


def _padded_elsewhere(node: Node) -> Any:
    raise node.fail(Sentence("graph_pads_elsewhere"))


def _edges_elsewhere(node: Node) -> Any:
    raise node.fail(Sentence("graph_edges_elsewhere"))


def _is_sized(draft: Draft) -> bool:
    """Return whether a picture's size is known; what the recipe will not allow is none."""
    return all(is_int(side) and 0 < side < LARGEST for side in (draft.width, draft.height))


def _stitched(node: Node) -> Draft:
    if node.given("image2", Draft) is not None:
        raise node.fail(Sentence("graph_stitches"))
    return node.input("image1", Draft)


def _size(node: Node) -> Any:
    """Read a picture's width, height or number."""
    draft = node.input("image", Draft)
    if draft.drawn is not None or draft.pending is not None:
        raise node.fail(Sentence("graph_measures_drawn"))
    if node.slot == SLOT_OF_COUNT:
        return draft.count
    side = draft.height if node.slot else draft.width
    if side is None:
        raise GraphError(Sentence("graph_size_unknown"))
    return side


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
    draft = finished(node, "samples")
    if draft.drawn is None:
        raise node.fail(Sentence("graph_decodes_nothing"))
    if draft.pending is not None:
        raise node.fail(Sentence("graph_decodes_stretched"))
    return with_vae(node, draft)


def finished(node: Node, option: str) -> Draft:
    """Return the latents that feed an input, in which no sampler left noise for another one."""
    draft = node.input(option, Draft)
    if draft.unfinished is not None:
        raise node.fail(Sentence("graph_noise_left"))
    return draft


def _decoded_in_tiles(node: Node) -> Draft:
    node.note(Sentence("graph_tiles"))
    return _decoded(node)


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
    "LoadImageOutput": _loaded,
    "ImagePadForOutpaint": _padded_elsewhere,
    "Canny": _edges_elsewhere,
    "ImageScale": _scaled,
    "ImageScaleBy": _scaled_by,
    "ImageScaleToTotalPixels": _scaled_to_pixels,
    "FluxKontextImageScale": _scaled_for_kontext,
    "ImageStitch": _stitched,
    "GetImageSize": _size,
    "ImageUpscaleWithModel": _by_model,
    "VAEDecode": _decoded,
    "VAEDecodeTiled": _decoded_in_tiles,
    "ImageCompositeMasked": _composite,
}
