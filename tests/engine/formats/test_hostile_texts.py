"""Texts in strangers' pictures: whatever they hold, it is a recipe or one short sentence."""

from typing import Any

import pytest

from engine.errors import GraphError, OptionError, shorten
from engine.formats.comfy.writer import to_graph
from engine.formats.graphs.recipe import RULES
from engine.recipe.parts import Upscale
from engine.recipe.recipe import Recipe
from tests.engine.formats.mutations import FORMS, nested, read_cases
from tests.engine.formats.test_known_nodes import LARGE, LINKS, MADE, SECOND, custom, default
from tests.engine.recipes import read_graph
from tests.factories import make_recipe

EACH = 240  # files of a form


@pytest.mark.parametrize("name", FORMS)
def test_any_changed_file_is_a_reading_or_a_sentence(name: str) -> None:
    first = list(FORMS).index(name)
    tally = read_cases(0, range(first, EACH * len(FORMS), len(FORMS)))[name]
    assert tally.faults == []
    assert tally.readings + tally.refusals == tally.files == EACH
    assert tally.readings  # the changes leave some files readable
    assert tally.refusals


def test_of_what_is_large_only_the_beginning_is_looked_at() -> None:
    deep = nested(5_000, lambda value: [value])
    assert shorten(deep) == "[" * 59 + "…"
    assert shorten(deep, 1_000) == "what is too large to be shown (list)"
    assert shorten(10**5_000) == "what is too large to be shown (int)"

    assert shorten(b"a" * 10**7) == "b'" + "a" * 57 + "…"

    class Unseen:
        def __repr__(self) -> str:
            raise AssertionError("nobody sees it")

    assert shorten(["a" * 99, Unseen()]) == "['" + "a" * 57 + "…"
    with pytest.raises(OptionError, match=r"not \[\[\["):
        Recipe.from_dict({**make_recipe().to_dict(), "steps": deep})


@pytest.mark.parametrize(
    "value",
    [1, None, (), (1,), (1, "a"), [], [[1.5], {"a": {"b": None}}], {}, {1: (2,)}, "it's", b"a",
     "x" * 57, "x" * 58, "x" * 59, ["x" * 54], ["x" * 56], ["x" * 57]],
)  # fmt: skip
def test_a_value_is_quoted_as_python_does_and_cut(value: object) -> None:
    whole = repr(value)
    assert shorten(value) == (whole if len(whole) <= 60 else f"{whole[:59]}…")


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


DECODED = ("VAEDecode", {"samples": MADE, "vae": LINKS["vae"]})
SHAPED = {"width": 512, "height": 0, "crop": "disabled"}
BY_IMAGE = ("ImageScale", {"image": ["20", 0], "upscale_method": "lanczos", **SHAPED})
BY_LATENTS = ("LatentUpscale", {**LARGE, **SHAPED})


@pytest.mark.parametrize("side", [10**400, 1e300, 0, -8])
@pytest.mark.parametrize("by", [BY_IMAGE, BY_LATENTS])
def test_a_shape_of_impossible_sides_is_refused(by: tuple[str, dict[str, Any]], side: int) -> None:
    if by is BY_IMAGE:
        graph = default({"5": {"width": side}}, n20=DECODED, n21=by)
        graph["9"]["inputs"]["images"] = ["21", 0]
    else:
        graph = default({"5": {"width": side}}, n20=by, n21=("KSampler", SECOND))
        graph["8"]["inputs"]["samples"] = ["21", 0]
    with pytest.raises(GraphError, match="to an impossible size"):
        read_graph(graph)


@pytest.mark.parametrize("factor", [1e-9, 9e8])
def test_the_shape_of_a_size_that_vanished_or_grew_without_end_is_refused(factor: float) -> None:
    graph = default({}, n20=DECODED, n21=("ImageScale", {**BY_IMAGE[1], "height": 512}))
    for number in range(30, 75):
        by = {"image": [str(number - 1 if number > 30 else 21), 0], "scale_by": factor}
        graph[str(number)] = {"class_type": "ImageScaleBy", "inputs": by}
    graph["99"] = {"class_type": "ImageScale", "inputs": {**BY_IMAGE[1], "image": ["74", 0]}}
    graph["9"]["inputs"]["images"] = ["99", 0]
    with pytest.raises(GraphError, match="to an impossible size"):
        read_graph(graph)


@pytest.mark.parametrize("strength", [1e-310, "1e-310", 0, -1, 1.5])
def test_a_strength_without_end_of_a_run_that_adds_no_noise_is_refused(strength: object) -> None:
    graph = custom(n27=("DisableNoise", {}))
    graph["23"]["inputs"]["denoise"] = strength
    graph["3"]["inputs"]["noise"] = ["27", 0]
    with pytest.raises(GraphError, match="runs only some of the steps or adds no noise"):
        read_graph(graph)


@pytest.mark.parametrize("error", [OverflowError, ZeroDivisionError])
def test_numbers_that_a_node_cannot_be_reckoned_with_are_refused(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(node: object) -> None:
        raise error

    monkeypatch.setitem(RULES, "KSampler", fail)
    with pytest.raises(GraphError, match="reckons with a number that is too large or too small"):
        read_graph(default({}))
