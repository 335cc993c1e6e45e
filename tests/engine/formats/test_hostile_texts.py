"""Texts in strangers' pictures: whatever they hold, it is a recipe or one short sentence."""

import pytest

from engine.errors import GraphError, OptionError, shorten
from engine.formats.comfy.writer import to_graph
from engine.recipe.parts import Upscale
from engine.recipe.recipe import Recipe
from tests.engine.formats.mutations import FORMS, nested, read_cases
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
