"""Recipes of every kind go into a picture and come back: as a graph, as a line, as pixels."""

import io
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.events import Picture
from engine.families.stable_diffusion import load
from engine.files.stored import PictureFolder, picture_path
from engine.formats.a1111.writer import no_line_reasons, to_a1111
from engine.formats.comfy.layout import to_workflow
from engine.formats.comfy.limits import no_graph_reasons
from engine.formats.comfy.writer import to_graph
from engine.formats.metadata import read_recipe, write_as
from engine.models.catalogue import STARTER, STARTER_FOLDER, describe
from engine.pictures.images import to_png
from engine.pipeline.pipeline import Pipeline
from engine.recipe.limits import NOISES
from engine.recipe.recipe import Recipe
from tests.engine.pictures.test_start_image import disc
from tests.engine.recipes import (
    IMAGE,
    KINDS,
    MASK,
    NO_GRAPH,
    NO_LINE,
    derived,
    keeps_its_prompts,
    read_graph,
    read_line,
    settled,
    with_a1111s_noise,
)
from tests.engine.ticks import pipeline_on, run
from tests.factories import make_recipe, pixels

FEW = settings(deadline=None, max_examples=6)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in NO_GRAPH])
@FEW
@given(st.data())
def test_recipe_survives_its_graph_in_both_formats(kind: str, data: st.DataObject) -> None:
    recipe = data.draw(derived(kind))
    assume(not no_graph_reasons(recipe))
    graph = to_graph(recipe)
    read = read_graph(json.loads(json.dumps(graph)))
    assert settled(read.recipe) == settled(recipe)
    assert read.ignored == ()
    literal = "{|/\\"  # the canvas escapes them, which is its own business
    if not any(mark in recipe.prompt + recipe.negative_prompt for mark in literal):
        drawn = read_graph(json.loads(json.dumps(to_workflow(recipe))))
        assert drawn == read


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(st.data())
def test_what_no_graph_says_is_left_out_with_a_reason(kind: str, data: st.DataObject) -> None:
    recipe = data.draw(derived(kind))
    reasons = no_graph_reasons(recipe)
    if kind in NO_GRAPH:
        assert reasons
    if reasons:
        with pytest.raises(ValueError, match="no graph says"):
            to_graph(recipe)
    else:
        to_graph(recipe)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(st.data())
def test_line_stays_itself(kind: str, data: st.DataObject) -> None:
    recipe = with_a1111s_noise(data, data.draw(derived(kind)))
    assume(keeps_its_prompts(recipe))
    assert bool(no_line_reasons(recipe)) == (kind in NO_LINE)
    if kind in NO_LINE:
        with pytest.raises(ValueError, match="no line says"):
            to_a1111(recipe)
        return
    line = to_a1111(recipe)
    again, ignored = read_line(line)
    assert ignored == () or "[" in line, "brackets mean something to A1111"
    assert to_a1111(again) == line
    assert settled(again) == settled(recipe)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Return the bundled model at work, with a start image and a mask in its store."""
    folder = tmp_path_factory.mktemp("store")
    for name, image in ((IMAGE, Image.fromarray(pixels(5, 64, 64))), (MASK, disc())):
        path = picture_path(folder, name)
        path.parent.mkdir(parents=True)
        path.write_bytes(to_png(image))
    model = load(describe(STARTER, STARTER_FOLDER), torch.device("cpu"))
    return pipeline_on(model, store=PictureFolder(folder))


# The bundled model has no LoRAs, controls, other VAEs or upscale models, and edits no pictures.
DRAWABLE = [kind for kind in KINDS if "controls" not in kind and kind != "edited"]


@st.composite
def small(draw: st.DrawFn) -> Recipe:
    count = draw(st.integers(1, 2))
    return make_recipe(
        prompt=draw(st.sampled_from(("a marble scholar", "拿着书的大理石学者", "a BREAK b"))),
        seed=draw(st.integers(0, 2**64 - 1)),
        steps=2,
        width=64,
        height=64,
        count=count,
        picture=draw(st.none() | st.integers(0, count - 1)),
        sampler=draw(st.sampled_from(("euler", "euler_ancestral", "dpmpp_2m_sde", "uni_pc"))),
        noise=draw(st.sampled_from(NOISES)),
        clip_skip=draw(st.none() | st.integers(1, 2)),
        guidance_scale=draw(st.sampled_from((1.0, 4.0))),
    )


@pytest.mark.parametrize("kind", DRAWABLE)
@settings(deadline=None, max_examples=2)
@given(st.data())
def test_picture_is_drawn_again_by_its_own_text(
    pipeline: Pipeline, kind: str, data: st.DataObject
) -> None:
    recipe = data.draw(derived(kind, small()))
    if recipe.upscale:  # no upscale model, and nothing large
        by = recipe.upscale.by if recipe.upscale.by == "latent" else "lanczos"
        factor = min(recipe.upscale.factor, 1.5)
        recipe = replace(recipe, upscale=replace(recipe.upscale, factor=factor, by=by))
    for png in drawn(pipeline, recipe):
        again = read_recipe(png)
        assert (again.source, again.ignored) == ("Marble", ())
        assert read_recipe(write_as(png, "WEBP")).recipe == again.recipe
        (same,) = drawn(pipeline, again.recipe)
        assert same == png
        if not no_graph_reasons(again.recipe):
            theirs = read_graph(to_graph(again.recipe)).recipe
            assert seen(drawn(pipeline, theirs)) == seen([png])


def drawn(pipeline: Pipeline, recipe: Recipe) -> list[bytes]:
    """Return the PNGs of a recipe."""
    return [event.png for event in run(pipeline, recipe) if isinstance(event, Picture)]


def seen(pngs: list[bytes]) -> list[bytes]:
    """Return the pixels of PNGs, without their texts."""
    return [Image.open(io.BytesIO(png)).tobytes() for png in pngs]
