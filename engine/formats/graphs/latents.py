"""Nodes that make initial latents, and pass them on."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engine.errors import GraphError
from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.node_values import Draft, PendingUpscale
from engine.formats.graphs.pictures import (
    PAD,
    SIDES,
    finished,
    in_shape,
    loaded,
    note_filters,
    note_method,
    padded,
    with_vae,
)
from engine.recipe.limits import LATENT_SIDE
from engine.recipe.parts import LATENT
from engine.sentences import Sentence

NEAREST: Final = "nearest-exact"  # how Marble upscales latents
LATENT_CHANNELS: Final = 4  # what EmptyLatentImage makes: SD1.x, SD2.x and SDXL
NOISE_ALIGNMENT: Final = 16  # values torch draws at a time on the CPU


def _empty(node: Node) -> Draft:
    width, height, count = (node.numeric(each) for each in ("width", "height", "batch_size"))
    return Draft(width=width, height=height, count=count)


def encoded(node: Node) -> Draft:
    """Return the latents of a node's pixels: of a start image, or of what was drawn."""
    source = node.link("pixels")
    draft = padded(source) if source.kind == PAD else node.input("pixels", Draft)
    if draft.drawn is None:
        return with_vae(node, replace(draft, encoded=node.name))
    note_filters(node, draft)
    return with_vae(node, replace(draft, pending=draft.pending or PendingUpscale()))


def _encoded_in_tiles(node: Node) -> Draft:
    node.note(Sentence("graph_tiles"))
    return encoded(node)


def start_image(node: Node, draft: Draft) -> Draft:
    """Return the latents of a start image as a sampler needs them: whole ones, of a known size."""
    if draft.padded is not None:
        raise Node(node.graph, draft.padded).fail(Sentence("graph_pads_elsewhere"))
    if draft.encoded is None or draft.drawn is not None:
        return draft
    sides = draft.width, draft.height
    if None in sides:
        own = [each for each in loaded(node) if draft.image in (each.image, *each.masks.values())]
        if not any(each.unseen for each in own):
            raise GraphError(Sentence("graph_size_unknown"))
        Node(node.graph, draft.encoded).note(Sentence("graph_unseen"))
        return draft
    note_filters(node, draft)
    width, height = (side // LATENT_SIDE * LATENT_SIDE for side in sides)
    if sides != (width, height) and draft.image:
        was, now = f"{sides[0]} × {sides[1]}", f"{width} × {height}"
        Node(node.graph, draft.encoded).note(Sentence("graph_scaled", was=was, now=now))
    return replace(draft, width=width, height=height)


def _encoded_for_inpainting(node: Node) -> Draft:
    draft = masked(node, encoded(node))
    if draft.margins is None:
        node.note(Sentence("graph_grey"))
    return draft


def _with_mask(node: Node) -> Draft:
    return masked(node, node.input("samples", Draft))


def masked(node: Node, draft: Draft) -> Draft:
    """Return a start image's latents under a node's mask."""
    if draft.drawn is not None or draft.image is None or draft.pending:
        raise node.fail(Sentence("graph_masks_other"))
    if draft.padded is not None:
        if node.link("mask").name != draft.padded:
            raise node.fail(Sentence("graph_masks_margins"))
        return replace(draft, padded=None)
    if draft.margins is not None:
        raise node.fail(Sentence("graph_masks_margins"))
    return replace(draft, mask=node.input("mask", str) or None)


def _picked(node: Node) -> Draft:
    draft = finished(node, "samples")
    if node.value("length") != 1:
        raise GraphError(Sentence("graph_picks_some"))
    if draft.picture is not None:
        raise GraphError(Sentence("graph_picks_twice"))
    return replace(draft, picture=node.value("batch_index"), early=draft.drawn is None)


def _repeated(node: Node) -> Draft:
    draft, amount = node.input("samples", Draft), node.number("amount")
    if draft.drawn is not None or draft.picture is not None:
        raise node.fail(Sentence("graph_repeats"))
    if not isinstance(draft.count, int):
        return draft
    return replace(draft, count=draft.count * int(amount))


def _upscaled(node: Node) -> Draft:
    size = in_shape(node.input("samples", Draft), *(node.number(side) for side in SIDES))
    width, height = (side // LATENT_SIDE * LATENT_SIDE for side in size)
    return _pending(node, PendingUpscale(by=LATENT, target=(width, height)))


def _upscaled_by(node: Node) -> Draft:
    return _pending(node, PendingUpscale(by=LATENT, factor=node.number("scale_by")))


def _pending(node: Node, pending: PendingUpscale) -> Draft:
    draft = finished(node, "samples")
    note_method(node, node.inputs.get("upscale_method", NEAREST), NEAREST)
    if draft.pending or (draft.drawn is None and draft.image is None):
        raise node.fail(Sentence("graph_stretches_nothing"))
    return replace(draft, pending=pending)


def slices_like_marble(width: int, height: int) -> bool:
    """Return whether ComfyUI's noise for one picture of a batch is Marble's; sizes in pixels.

    Marble draws the noise of all `count` pictures at once and slices it. So does ComfyUI for a
    whole batch, but where LatentFromBatch stands before KSampler it draws picture after picture.
    The two agree only where one picture's noise is a multiple of 16 values.
    """
    values = LATENT_CHANNELS * (width // LATENT_SIDE) * (height // LATENT_SIDE)
    return values % NOISE_ALIGNMENT == 0


LATENTS: Final[Mapping[str, Rule]] = {
    "EmptyLatentImage": _empty,
    "EmptySD3LatentImage": _empty,
    "EmptyFlux2LatentImage": _empty,
    "VAEEncode": encoded,
    "VAEEncodeTiled": _encoded_in_tiles,
    "VAEEncodeForInpaint": _encoded_for_inpainting,
    "SetLatentNoiseMask": _with_mask,
    "LatentFromBatch": _picked,
    "RepeatLatentBatch": _repeated,
    "LatentUpscale": _upscaled,
    "LatentUpscaleBy": _upscaled_by,
}
