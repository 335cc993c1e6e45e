"""Nodes that make initial latents, and pass them on."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engine.errors import GraphError
from engine.formats.graphs.graph import Link
from engine.formats.graphs.node_values import Draft, PendingUpscale
from engine.formats.graphs.pictures import (
    check_size,
    note_filters,
    other_method,
    with_vae,
)
from engine.formats.graphs.reader import Reader, Rule
from engine.formats.graphs.sampling import sampled, sampled_in_part
from engine.recipe.limits import LATENT_SIDE
from engine.recipe.parts import LATENT
from engine.sentences import Sentence

NEAREST: Final = "nearest-exact"  # how Marble upscales latents
LATENT_CHANNELS: Final = 4  # what EmptyLatentImage makes: SD1.x, SD2.x and SDXL
NOISE_ALIGNMENT: Final = 16  # values torch draws at a time on the CPU


def _empty(reader: Reader, link: Link) -> Draft:
    # What these values must be, the recipe says.
    options = ("width", "height", "batch_size")
    width, height, count = (reader.graph.value(link.node, option) for option in options)
    return Draft(width=width, height=height, count=count)


def _encoded(reader: Reader, link: Link) -> Draft:
    draft = reader.input(link.node, "pixels", Draft)
    note_filters(reader, draft)
    if draft.drawn is None:
        draft = check_size(reader, link.node, draft)
    elif draft.pending is None:
        draft = replace(draft, pending=PendingUpscale())
    return with_vae(reader, link.node, draft)


def _encoded_for_inpainting(reader: Reader, link: Link) -> Draft:
    draft = _masked(reader, link.node, _encoded(reader, link))
    reader.note(link.node, Sentence("graph_grey"))
    return draft


def _with_mask(reader: Reader, link: Link) -> Draft:
    return _masked(reader, link.node, reader.input(link.node, "samples", Draft))


def _masked(reader: Reader, name: str, draft: Draft) -> Draft:
    if draft.drawn is not None or draft.image is None or draft.pending:
        raise reader.fail(name, Sentence("graph_masks_other"))
    return replace(draft, mask=reader.input(name, "mask", str))


def _picked(reader: Reader, link: Link) -> Draft:
    name, draft = link.node, reader.input(link.node, "samples", Draft)
    if reader.graph.value(name, "length") != 1:
        raise GraphError(Sentence("graph_picks_some"))
    if draft.picture is not None:
        raise GraphError(Sentence("graph_picks_twice"))
    index = reader.graph.value(name, "batch_index")
    return replace(draft, picture=index, early=draft.drawn is None)


def _repeated(reader: Reader, link: Link) -> Draft:
    draft, amount = (
        reader.input(link.node, "samples", Draft),
        reader.graph.number(link.node, "amount"),
    )
    if draft.drawn is not None or draft.picture is not None:
        raise reader.fail(link.node, Sentence("graph_repeats"))
    if not isinstance(draft.count, int):
        return draft
    return replace(draft, count=draft.count * int(amount))


def _upscaled(reader: Reader, link: Link) -> Draft:
    sides = (reader.graph.number(link.node, side) for side in ("width", "height"))
    width, height = (side // LATENT_SIDE * LATENT_SIDE for side in sides)
    return _upscale(reader, link.node, PendingUpscale(by=LATENT, target=(width, height)))


def _upscaled_by(reader: Reader, link: Link) -> Draft:
    factor = reader.graph.number(link.node, "scale_by")
    return _upscale(reader, link.node, PendingUpscale(by=LATENT, factor=factor))


def _upscale(reader: Reader, name: str, pending: PendingUpscale) -> Draft:
    draft = reader.input(name, "samples", Draft)
    method = reader.graph.nodes[name]["inputs"].get("upscale_method", NEAREST)
    if method != NEAREST:
        reader.note(name, other_method(method, NEAREST))
    if draft.pending or (draft.drawn is None and draft.image is None):
        raise reader.fail(name, Sentence("graph_stretches_nothing"))
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
    "VAEEncode": _encoded,
    "VAEEncodeForInpaint": _encoded_for_inpainting,
    "SetLatentNoiseMask": _with_mask,
    "LatentFromBatch": _picked,
    "RepeatLatentBatch": _repeated,
    "LatentUpscale": _upscaled,
    "LatentUpscaleBy": _upscaled_by,
    "KSampler": sampled,
    "KSamplerAdvanced": sampled_in_part,
}
