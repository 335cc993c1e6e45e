"""Texts in strangers' pictures: whatever they hold, it is a recipe or one short sentence."""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import GraphError, MetadataError, OptionError, UserError, shorten
from engine.formats.comfy.layout import to_workflow
from engine.formats.comfy.writer import to_graph
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.recipe import pictures_of
from engine.formats.metadata import read_recipe
from engine.recipe.parts import Control, Lora, Margins, Upscale, Variation
from engine.recipe.recipe import Recipe
from tests.engine.formats import flow_graphs
from tests.engine.formats.test_metadata import png_with
from tests.engine.recipes import IMAGE, MAP, MASK, read_graph
from tests.factories import make_recipe

LONGEST = 1_000  # characters of a sentence
PICTURES = {"cat.png": LoadedPicture(image=IMAGE, width=512, height=384, masks={"alpha": MASK})}
RECIPES = [
    make_recipe(upscale=Upscale(factor=2, strength=0.5)),
    make_recipe(upscale=Upscale(factor=2, by="latent", strength=0.5)),
    make_recipe(upscale=Upscale(factor=2, by="4x-Ultra"), loras=(Lora(name="ink"),)),
    make_recipe(image=IMAGE, strength=0.6, mask=MASK, controls=(Control(model="c", image=MAP),)),
    make_recipe(count=4, picture=1, prompt="a BREAK b", clip_skip=2, vae="v"),
]
OURS = [
    make_recipe(image=IMAGE, strength=0.5, margins=Margins(left=8)),
    make_recipe(variations=(Variation(seed=1, amount=0.5),)),
    *RECIPES,
]
DEEP = 900  # levels: about as many as JSON is read with


def nested(levels: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


HOSTILE = [
    None, True, 0, -1, 2**31, 2**53, 2**64, 10**4_000, 1e308, float("inf"), float("nan"), "",
    "\ud800", "\0", "x" * 5_000, "{a|" * 900, "(((" * 600, " " * 2_000, [], {}, ["4", 0], ["3", 0],
    ["4", -1], ["nope", 0], ["4", 10**30], "nan", "\\", "/*", "euler_gpu", "x" * 3_000 + "_gpu",
    nested(300, lambda value: {"a": value}), nested(300, lambda value: [value]),
    nested(DEEP, lambda value: {"a": value}), nested(DEEP, lambda value: [value]),
]  # fmt: skip
PATH = 6  # keys


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value within a value."""
    if path:
        yield path
    keys = value if isinstance(value, dict) else range(len(value)) if type(value) is list else ()
    for key in keys if len(path) < PATH else ():
        yield from places(value[key], (*path, key))


@st.composite
def spoilt(draw: st.DrawFn, *sources: Any) -> str:
    """Draw a text of JSON in which some values are others, missing, or somebody else's."""
    data = json.loads(json.dumps(draw(st.sampled_from(sources))))
    ways = draw(st.lists(st.sampled_from(list(places(data))), min_size=1, max_size=3, unique=True))
    for *way, last in sorted(ways, key=len, reverse=True):  # so that none of them is lost before
        holder = data
        for key in way:
            holder = holder[key]
        if isinstance(holder, list) or draw(st.integers(0, 5)):
            holder[last] = draw(st.sampled_from(HOSTILE))
        else:
            del holder[last]
    return written(data)


def written(data: Any) -> str:
    """Write JSON of any depth: strangers do not write it by Python."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10 * limit)
    try:
        return json.dumps(data)
    finally:
        sys.setrecursionlimit(limit)


def judge(error: UserError) -> None:
    assert 0 < len(str(error)) <= LONGEST
    str(error).encode()  # no half of a surrogate pair


MANY = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # fmt: skip


@MANY
@given(
    spoilt(
        *map(to_graph, RECIPES),
        *map(to_workflow, RECIPES),
        *(make() for make in flow_graphs.ALL),
    ),
    st.booleans(),
)
def test_any_graph_is_a_recipe_or_a_sentence(text: str, canvas: bool) -> None:
    picture = png_with(**{"workflow" if canvas else "prompt": text})
    try:
        reading = read_recipe(picture, PICTURES)
        assert all(0 < len(each) <= LONGEST for each in reading.ignored)
        assert reading.to_dict().keys() <= reading.values.keys()
        assert isinstance(reading.recipe, Recipe)
    except UserError as error:
        judge(error)
    with suppress(MetadataError, ValueError):
        pictures_of(json.loads(text))


@MANY
@given(spoilt(*(recipe.to_dict() for recipe in OURS)))
def test_any_text_of_ours_is_a_recipe_or_a_sentence(text: str) -> None:
    try:
        assert isinstance(read_recipe(png_with(marble=text)).recipe, Recipe)
    except UserError as error:
        judge(error)


def test_what_is_too_deep_or_too_long_to_be_shown_is_said_so() -> None:
    deep = nested(5_000, lambda value: [value])
    assert shorten(deep) == "what is too large to be shown (list)"
    assert shorten(10**5_000) == "what is too large to be shown (int)"
    with pytest.raises(OptionError, match="not what is too large to be shown"):
        Recipe.from_dict({**make_recipe().to_dict(), "steps": deep})


def test_a_size_that_grows_beyond_all_numbers_is_refused() -> None:
    graph = to_graph(make_recipe(upscale=Upscale(factor=2, by="4x-Ultra")))
    (scale,) = (n for n, node in graph.items() if node["class_type"] == "ImageScale")
    last = scale
    for number in range(40):
        name = f"grow {number}"
        inputs = {"image": [last, 0], "scale_by": 9e8, "upscale_method": "lanczos"}
        graph[name] = {"class_type": "ImageScaleBy", "inputs": inputs}
        last = name
    (saved,) = (n for n, node in graph.items() if node["class_type"] == "SaveImage")
    graph[saved]["inputs"]["images"] = [last, 0]
    with pytest.raises(GraphError, match="to an impossible size"):
        read_graph(graph)
