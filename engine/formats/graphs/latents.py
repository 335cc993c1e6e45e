"""Nodes that make latents to begin on, and pass them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engine.errors import GraphError
from engine.formats.graphs.graph import Link
from engine.formats.graphs.meaning import Draft, Larger
from engine.formats.graphs.pictures import (
    LATENT_SIDE,
    check_size,
    note_filters,
    other_method,
    with_vae,
)
from engine.formats.graphs.reader import Reader, Rule
from engine.formats.graphs.sampling import sampled, sampled_in_part
from engine.recipe.parts import LATENT
from engine.sentences import Sentence

NEAREST: Final = "nearest-exact"


def _empty(reader: Reader, link: Link) -> Draft:
    # What these values must be, the recipe says.
    options = ("width", "height", "batch_size")
    width, height, count = (reader.graph.value(link.node, option) for option in options)
    return Draft(width=width, height=height, count=count)


def _encoded(reader: Reader, link: Link) -> Draft:
    draft = reader.image(link.node, "pixels")
    note_filters(reader, draft)
    if draft.drawn is None:
        draft = check_size(reader, link.node, draft)
    elif draft.larger is None:
        draft = replace(draft, larger=Larger())
    return with_vae(reader, link.node, draft)


def _encoded_with_hole(reader: Reader, link: Link) -> Draft:
    draft = _masked(reader, link.node, _encoded(reader, link))
    grey = "the grey under its mask and grow_mask_by: the picture stays there"
    reader.note(link.node, Sentence(grey, "graph_grey"))
    return draft


def _with_mask(reader: Reader, link: Link) -> Draft:
    return _masked(reader, link.node, reader.latent(link.node, "samples"))


def _masked(reader: Reader, name: str, draft: Draft) -> Draft:
    if draft.drawn is not None or draft.image is None or draft.larger:
        text = "masks something else than a start image, which Marble cannot do"
        raise reader.fail(name, Sentence(text, "graph_masks_other"))
    return replace(draft, mask=reader.mask(name))


def _picked(reader: Reader, link: Link) -> Draft:
    name, draft = link.node, reader.latent(link.node, "samples")
    if reader.graph.value(name, "length") != 1:
        text = "The ComfyUI graph picks some of its pictures; Marble makes 1 or all."
        raise GraphError(Sentence(text, "graph_picks_some"))
    if draft.picture is not None:
        text = "The ComfyUI graph picks from a batch twice, which Marble cannot do."
        raise GraphError(Sentence(text, "graph_picks_twice"))
    index = reader.graph.value(name, "batch_index")
    return replace(draft, picture=index, early=draft.drawn is None)


def _repeated(reader: Reader, link: Link) -> Draft:
    draft, amount = reader.latent(link.node, "samples"), reader.graph.number(link.node, "amount")
    if draft.drawn is not None or draft.picture is not None:
        text = "repeats what was drawn or picked, which Marble cannot do"
        raise reader.fail(link.node, Sentence(text, "graph_repeats"))
    if not isinstance(draft.count, int):
        return draft
    return replace(draft, count=draft.count * int(amount))


def _stretched(reader: Reader, link: Link) -> Draft:
    sides = (reader.graph.number(link.node, side) for side in ("width", "height"))
    width, height = (side // LATENT_SIDE * LATENT_SIDE for side in sides)
    return _stretch(reader, link.node, Larger(by=LATENT, target=(width, height)))


def _stretched_by(reader: Reader, link: Link) -> Draft:
    factor = reader.graph.number(link.node, "scale_by")
    return _stretch(reader, link.node, Larger(by=LATENT, factor=factor))


def _stretch(reader: Reader, name: str, larger: Larger) -> Draft:
    draft = reader.latent(name, "samples")
    method = reader.graph.nodes[name]["inputs"].get("upscale_method", NEAREST)
    if method != NEAREST:
        reader.note(name, other_method(method, NEAREST))
    if draft.larger or (draft.drawn is None and draft.image is None):
        text = "stretches nothing that was drawn or given"
        raise reader.fail(name, Sentence(text, "graph_stretches_nothing"))
    return replace(draft, larger=larger)


LATENTS: Final[Mapping[str, Rule]] = {
    "EmptyLatentImage": _empty,
    "VAEEncode": _encoded,
    "VAEEncodeForInpaint": _encoded_with_hole,
    "SetLatentNoiseMask": _with_mask,
    "LatentFromBatch": _picked,
    "RepeatLatentBatch": _repeated,
    "LatentUpscale": _stretched,
    "LatentUpscaleBy": _stretched_by,
    "KSampler": sampled,
    "KSamplerAdvanced": sampled_in_part,
}
