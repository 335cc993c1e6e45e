"""Masks made of masks, margins, and edges for ControlNets: read for what they do, or named."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.errors import GraphError, ImageError
from engine.formats.graphs.recipe import pictures_of
from engine.pictures.masks import channel_mask, inverse_of
from engine.recipe.parts import Control, Margins
from tests.engine.formats.test_known_nodes import (
    APPLIED,
    CAT,
    ENCODED,
    INPAINT,
    NET,
    PADDED,
    PICTURES,
    REST,
    START,
    default,
    masked,
)
from tests.engine.recipes import IMAGE, MASK, read_graph, recipe_of

Graph = dict[str, Any]
PAD = ("ImagePadForOutpaint", PADDED)
MARGINS = Margins(left=64, right=128)


def solid(value: float) -> tuple[str, Graph]:
    return "SolidMask", {"value": value, "width": 64, "height": 64}


def test_what_is_inverted_twice_is_as_it_was() -> None:
    graph = masked(n24=("InvertMask", {"mask": ["20", 1]}), n22=("InvertMask", {"mask": ["24", 0]}))
    assert recipe_of(graph, PICTURES).mask == MASK


def test_pictures_are_wanted_both_ways_round_where_masks_are_inverted() -> None:
    graph = masked(n22=("InvertMask", {"mask": ["20", 1]}))
    assert pictures_of(graph) == {"cat.png": {"alpha", "inverted alpha"}}
    assert pictures_of(masked(n22=("MaskToImage", {"mask": ["20", 1]}))) == {"cat.png": {"alpha"}}


@pytest.mark.parametrize("channel", ["alpha", "red", "green", "blue"])
def test_an_inverted_channel_is_the_rest_of_it(channel: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    both = [channel_mask(picture, each) for each in (channel, inverse_of(channel))]
    mask, rest = (np.asarray(each).astype(int) for each in both)
    assert (mask + rest == 255).all()
    assert inverse_of(inverse_of(channel)) == channel


def test_a_channel_in_which_all_is_marked_has_no_rest() -> None:
    with pytest.raises(ImageError):
        channel_mask(Image.new("RGB", (8, 8), "red"), inverse_of("red"))


def test_no_mask_is_left_of_one_that_is_white() -> None:
    graph = masked(n24=solid(0), n22=("InvertMask", {"mask": ["24", 0]}))
    recipe = recipe_of(graph, PICTURES)
    assert (recipe.mask, recipe.image) == (None, IMAGE)


@pytest.mark.parametrize(
    "nodes",
    [
        {"n22": solid(0)},
        {"n22": solid(0.5)},
        {"n24": solid(1), "n22": ("InvertMask", {"mask": ["24", 0]})},
    ],
)
def test_any_other_mask_of_one_value_is_named(nodes: dict[str, tuple[str, Graph]]) -> None:
    with pytest.raises(GraphError, match=r"\(node 22\) masks everything alike"):
        read_graph(masked(**nodes), PICTURES)


def test_a_picture_of_a_mask_is_a_picture() -> None:
    graph = default(
        {"3": {"positive": ["22", 0]}},
        n20=CAT,
        n21=NET,
        n23=("MaskToImage", {"mask": ["24", 0]}),
        n24=("InvertMask", {"mask": ["20", 1]}),
        n22=("ControlNetApply", {**APPLIED, "image": ["23", 0]}),
    )
    assert recipe_of(graph, PICTURES).controls == (Control(model="pose", image=REST, strength=0.9),)


def padded(*, scale: Graph | None = None, **nodes: tuple[str, Graph]) -> Graph:
    """Return a graph that draws in margins of a start image, which may be scaled before."""
    before = ("ImageScale", {"image": ["19", 0], "upscale_method": "lanczos", **(scale or {})})
    return default(
        {"3": {"latent_image": ["21", 0], "denoise": 0.9}},
        n19=CAT,
        n20=before if scale else CAT,
        n22=PAD,
        **nodes,
    )


FOR_INPAINT = ("VAEEncodeForInpaint", {**INPAINT, "pixels": ["22", 0], "mask": ["22", 1]})
ENCODED_22 = ("VAEEncode", {**ENCODED[1], "pixels": ["22", 0]})
NOTE = (
    "ImagePadForOutpaint (node 22): its grey and feathering: Marble begins margins with what "
    "lies at the picture's edges, and fades them over a strip of its own"
)


def test_margins_are_what_a_picture_is_padded_by() -> None:
    found = read_graph(padded(n21=FOR_INPAINT), PICTURES)
    recipe = found.recipe
    assert (recipe.margins, recipe.mask, recipe.strength) == (MARGINS, None, 0.9)
    assert (recipe.image, recipe.width, recipe.height, recipe.fit) == (IMAGE, 704, 384, "crop")
    assert found.ignored == (NOTE,)


def test_a_mask_may_be_set_on_latents_of_a_padded_picture() -> None:
    set_mask = ("SetLatentNoiseMask", {"samples": ["23", 0], "mask": ["22", 1]})
    found = read_graph(padded(n23=ENCODED_22, n21=set_mask), PICTURES)
    assert (found.recipe.margins, found.recipe.width) == (MARGINS, 704)
    assert found.ignored == (NOTE,)


def test_fill_models_are_told_of_margins() -> None:
    both = {"positive": ["6", 0], "negative": ["7", 0], "noise_mask": True}
    inputs = {**both, "vae": ["4", 2], "pixels": ["22", 0], "mask": ["22", 1]}
    graph = padded(n21=("InpaintModelConditioning", inputs))
    graph["3"]["inputs"] |= {
        "positive": ["21", 0],
        "negative": ["21", 1],
        "latent_image": ["21", 2],
    }
    assert recipe_of(graph, PICTURES).margins == MARGINS


def test_margins_lie_around_a_picture_as_it_was_scaled() -> None:
    scale = {"width": 256, "height": 256, "crop": "disabled"}
    recipe = recipe_of(padded(scale=scale, n21=FOR_INPAINT), PICTURES)
    assert (recipe.width, recipe.height, recipe.fit) == (448, 256, "resize")
    assert recipe.margins is not None
    assert recipe.margins.inner(448, 256) == (64, 0, 320, 256)


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (padded(n21=ENCODED_22), r"ImagePadForOutpaint \(node 22\) pads a picture for something"),
        (
            padded(n21=("VAEEncodeForInpaint", {**FOR_INPAINT[1], "mask": ["20", 1]})),
            r"\(node 21\) masks a padded picture otherwise than the node that pads it",
        ),
        (
            default(
                START, n20=CAT, n22=PAD, n21=("VAEEncodeForInpaint", {**INPAINT, "mask": ["22", 1]})
            ),
            r"ImagePadForOutpaint \(node 22\) pads a picture for something",
        ),
        (
            padded(
                n21=("SetLatentNoiseMask", {"samples": ["23", 0], "mask": ["20", 1]}),
                n23=FOR_INPAINT,
            ),
            r"\(node 21\) masks a padded picture otherwise",
        ),
        (
            default(
                {"9": {"images": ["22", 0]}},
                n22=("ImagePadForOutpaint", {**PADDED, "image": ["8", 0]}),
            ),
            r"ImagePadForOutpaint \(node 22\) pads a picture for something",
        ),
        (
            default(
                {
                    "9": {"images": ["33", 0]},
                },
                n22=("ImagePadForOutpaint", {**PADDED, "image": ["8", 0]}),
                n31=FOR_INPAINT,
                n32=("KSampler", {**default({})["3"]["inputs"], "latent_image": ["31", 0]}),
                n33=("VAEDecode", {"samples": ["32", 0], "vae": ["4", 2]}),
            ),
            r"ImagePadForOutpaint \(node 22\) pads something other than a loaded picture",
        ),
        (
            padded(
                n21=("LatentUpscaleBy", {"samples": ["23", 0], "scale_by": 2.0}), n23=FOR_INPAINT
            ),
            "draws under an enlarged mask",
        ),
        (
            default(
                {"3": {"positive": ["24", 0]}},
                n20=CAT,
                n22=PAD,
                n23=ENCODED_22,
                n24=("ReferenceLatent", {"conditioning": ["6", 0], "latent": ["23", 0]}),
            ),
            "edits something other than a loaded picture",
        ),
        (
            default(START, n20=CAT, n22=("Canny", {"image": ["20", 0]}), n21=ENCODED_22),
            r"Canny \(node 22\) finds edges for something other than a ControlNet",
        ),
    ],
)
def test_what_margins_and_edges_are_not_for_is_named(graph: Graph, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        read_graph(graph, PICTURES)


def test_edges_are_marbles_own() -> None:
    graph = default(
        {"3": {"positive": ["22", 0], "latent_image": ["25", 0], "denoise": 0.5}},
        n20=CAT,
        n21=NET,
        n23=("Canny", {"image": ["20", 0], "low_threshold": 0.1, "high_threshold": 0.3}),
        n22=("ControlNetApply", {**APPLIED, "image": ["23", 0]}),
        n25=ENCODED,
    )
    found = read_graph(graph, PICTURES)
    (control,) = found.recipe.controls
    assert (control.image, control.preprocessor, found.recipe.image) == (IMAGE, "canny", IMAGE)
    assert found.ignored == (
        "Canny (node 23): its edges: Marble finds them itself, with thresholds of 0.39 and 0.78",
    )
