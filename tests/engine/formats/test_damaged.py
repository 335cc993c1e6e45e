"""Marble's own texts, cut or changed: what is left of them is read, and the rest is named."""

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from engine.errors import MetadataError, OptionError, UserError
from engine.formats.metadata import read_recipe, write_png
from engine.formats.reading import Reading
from engine.recipe.parts import Lora, Upscale
from engine.recipe.recipe import DEFAULTS
from tests.factories import make_recipe

RECIPE = make_recipe(prompt='a "hut", "steps": 9', loras=(Lora(name="ink"),), seed=77)
WHOLE = json.dumps(RECIPE.to_dict())
ENDS = {  # where each field ends
    name: WHOLE.index(field := f'"{name}": {json.dumps(value)}') + len(field)
    for name, value in RECIPE.to_dict().items()
}
DAMAGED = "Marble's text is damaged: only what is left of it is read"


def read(text: str, **others: str) -> Reading:
    info = PngImagePlugin.PngInfo()
    for key, value in {"marble": text, **others}.items():
        info.add_text(key, value)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    return read_recipe(file.getvalue())


def changed(**values: Any) -> Reading:
    return read(json.dumps(RECIPE.to_dict() | values))


def test_a_text_that_is_cut_anywhere_says_all_that_is_before_the_cut() -> None:
    said = RECIPE.to_dict()
    for end in range(len(WHOLE)):
        try:
            reading = read(WHOLE[:end])
        except MetadataError:
            assert end <= WHOLE.index('"prompt": ') + len('"prompt": ')
            continue
        assert reading.source == "Marble"
        assert reading.ignored[0] == DAMAGED
        got = reading.to_dict()
        assert all(said[name] == value for name, value in got.items() if name != "noise")
        whole = {name for name, place in ENDS.items() if place < end}
        assert whole - {"version", "width", *got} <= {n for n in said if said[n] == DEFAULTS.get(n)}


def test_of_a_value_that_is_cut_the_beginning_is_shown_and_a_number_is_not_guessed() -> None:
    reading = read(WHOLE[: WHOLE.index("hut") + 1])
    assert reading.ignored == (DAMAGED, 'prompt: "a \\"h (not whole)')
    assert reading.values == {}
    at = WHOLE.index('"steps": ', WHOLE.index('"seed"'))
    cut = read(WHOLE[: at + len('"steps": 4')])
    assert "steps" in cut.missing
    assert cut.values["seed"] == 77
    assert cut.ignored == (DAMAGED, "steps: 4 (not whole)")


def test_behind_a_value_that_is_changed_the_next_ones_are_read() -> None:
    text = WHOLE.replace('"seed": "77"', '"seed": "77').replace("euler", 'eu"ler')
    reading = read(text)
    assert reading.missing == ("seed", "sampler")
    assert reading.values["steps"] == RECIPE.steps
    assert reading.values["loras"] == (Lora(name="ink"),)


@pytest.mark.parametrize(
    ("values", "missing", "said"),
    [
        ({"steps": 999}, ("steps",), "steps: 999 (it must be a whole number between 1 and 150)"),
        ({"seed": "x"}, ("seed",), "seed: 'x' (it must be a whole number from 0 to "),
        ({"loras": 5}, (), "loras: 5 (it must be "),
        ({"sampler": "dream"}, ("sampler",), "sampler: dream (Marble has no such one)"),
        ({"zoom": {"by": 2}}, (), "zoom: {'by': 2} (this Marble has no such field)"),
    ],
)
def test_what_no_recipe_takes_is_named_and_the_rest_is_read(
    values: dict[str, Any], missing: tuple[str, ...], said: str
) -> None:
    reading = changed(**values)
    assert reading.missing == missing
    assert reading.ignored[0].startswith(said)
    assert reading.values["prompt"] == RECIPE.prompt
    assert (reading.refused is not None) == ("zoom" in values)


def test_values_that_do_not_go_together_are_shown_and_not_drawn() -> None:
    reading = changed(strength=0.5)
    assert reading.values["strength"] == 0.5
    assert isinstance(reading.refused, OptionError)
    assert "start image" in str(reading.refused)


def test_a_newer_marbles_recipe_is_shown_and_not_drawn() -> None:
    reading = changed(version=9)
    assert reading.values["seed"] == 77
    assert "newer Marble" in str(reading.refused)


def test_another_text_that_is_whole_is_drawn_in_its_place() -> None:
    line = "a hut\nSteps: 9, Sampler: Euler, CFG scale: 6, Seed: 3, Size: 64x64, Model: any"
    assert read(WHOLE[:80], parameters=line).source == "A1111"
    assert read(WHOLE, parameters=line).source == "Marble"


def test_a_file_that_ends_within_the_text_says_what_is_left() -> None:
    data = write_png(np.zeros((8, 8, 3), np.uint8), RECIPE, 0)
    end = data.index(b'"loras"')
    reading = read_recipe(data[:end])
    assert reading.ignored[:2] == (
        "the text is damaged, and values may be others than they were",
        DAMAGED,
    )
    assert reading.recipe.seed == 77


def test_a_text_with_a_wrong_checksum_is_read_only_where_nothing_else_is() -> None:
    recipe = make_recipe(upscale=Upscale(factor=2, by="lanczos"))
    data = write_png(np.zeros((8, 8, 3), np.uint8), recipe, 0)
    changed = data.replace(b'"steps": %d' % recipe.steps, b'"steps": %d' % (recipe.steps + 1), 1)
    assert read_recipe(changed).source == "ComfyUI"
    alone = data[:33] + data[data.index(b"tEXtmarble") - 4 :]
    (length,) = struct.unpack_from(">I", alone, 33)
    alone = alone[: 33 + 12 + length] + alone[alone.index(b"IDAT") - 4 :]
    assert read_recipe(alone).recipe == recipe
    reading = read_recipe(
        alone.replace(b'"steps": %d' % recipe.steps, b'"steps": %d' % (recipe.steps + 1))
    )
    assert reading.source == "Marble"
    assert reading.values["steps"] == recipe.steps + 1
    assert reading.ignored == ("the text is damaged, and values may be others than they were",)


@pytest.mark.parametrize("text", ["", "{", '{"version": 3', "nothing", "[1]", '{"a": 5}', "{}"])
def test_where_nothing_is_left_that_is_said(text: str) -> None:
    with pytest.raises(UserError, match=r"not valid JSON|not a JSON object|version|lacks|recipe"):
        _ = read(text).recipe


def test_every_field_is_known_by_its_name_alone() -> None:
    """Parts of a field are never called like one that is written behind it."""
    order = list(DEFAULTS)
    parts = {
        "variations": ("seed", "amount"),
        "controls": ("model", "image", "strength", "start", "end", "preprocessor"),
        "margins": ("left", "top", "right", "bottom"),
        "loras": ("name", "weight", "text_weight"),
        "upscale": ("factor", "by", "strength", "tile"),
    }
    for field, names in parts.items():
        assert not set(names) & set(order[order.index(field) :])
