"""Hints: maps as they are given, or edges that are found, at the size of the pass."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from engine.errors import ImageError, MissingPicture
from engine.pictures.control_images import ControlImage, canny, read_control_images
from engine.pictures.images import to_png
from engine.recipe.parts import Control
from tests.engine.pictures.test_start_image import Kept
from tests.factories import make_recipe

IMAGE = "a" * 64


def square() -> Image.Image:
    image = Image.new("RGB", (64, 64), (20, 20, 20))
    ImageDraw.Draw(image).rectangle((16, 16, 47, 47), fill=(230, 230, 230))
    return image


def test_edges_are_thin_white_lines_where_brightness_jumps() -> None:
    edges = canny(np.asarray(square()))
    assert edges.shape == (64, 64, 3)
    assert set(np.unique(edges)) == {0, 255}
    rows, columns = np.nonzero(edges[..., 0])
    around = np.minimum(np.abs(rows - 15.5), np.abs(rows - 47.5)) <= 1.5
    around |= np.minimum(np.abs(columns - 15.5), np.abs(columns - 47.5)) <= 1.5
    assert around.all()
    assert 4 * 28 < len(rows) < 4 * 40


def test_an_even_picture_has_no_edges() -> None:
    assert not canny(np.full((32, 32, 3), 90, np.uint8)).any()


@pytest.mark.parametrize("preprocessor", ["none", "canny"])
@pytest.mark.parametrize("size", [(64, 64), (128, 96)])
def test_a_map_has_the_size_of_the_pass(preprocessor: str, size: tuple[int, int]) -> None:
    control = Control(model="edges", image=IMAGE, preprocessor=preprocessor)
    recipe = make_recipe(controls=(control,))
    (hint,) = read_control_images(recipe, Kept({IMAGE: to_png(square())}))
    found = hint.at(*size)
    assert found.shape == (size[1], size[0], 3)
    expected = np.asarray(square().resize(size, Image.Resampling.LANCZOS))
    if preprocessor == "canny":
        # Found at the size of the pass: lines are a pixel wide there, too.
        assert np.array_equal(found, canny(np.asarray(hint_image(hint, size))))
        assert set(np.unique(found)) == {0, 255}
    elif size == (64, 64):
        assert np.array_equal(found, expected)


def hint_image(hint: ControlImage, size: tuple[int, int]) -> Image.Image:
    scale = max(size[0] / 64, size[1] / 64)
    left, top = (64 - size[0] / scale) / 2, (64 - size[1] / scale) / 2
    return hint.image.resize(size, Image.Resampling.LANCZOS, box=(left, top, 64 - left, 64 - top))


def test_a_picture_that_is_not_there_or_broken_is_named() -> None:
    recipe = make_recipe(controls=(Control(model="edges", image=IMAGE),))
    with pytest.raises(MissingPicture):
        read_control_images(recipe, Kept({}))
    with pytest.raises(ImageError):
        read_control_images(recipe, Kept({IMAGE: b"no picture"}))
