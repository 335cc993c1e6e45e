"""Masks from a second picture, from what was erased, and from a painted colour."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from engine.errors import ImageError
from engine.pictures.images import read_image, to_png
from engine.pictures.masks import colour_mask, read_mask, soften, transparency_mask
from tests.engine import picture_files as files

PICTURE = Image.fromarray(files.quartered(64, 40))


def painted(mode: str = "L", size: tuple[int, int] = (64, 40)) -> Image.Image:
    """Return black with a white right half."""
    mask = Image.new("L", size)
    mask.paste(255, (size[0] // 2, 0, *size))
    return mask.convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "LA"])
@pytest.mark.parametrize("size", [(64, 40), (128, 80), (32, 20), (129, 80)])
def test_white_in_a_second_picture_is_painted(mode: str, size: tuple[int, int]) -> None:
    mask = read_mask(files.saved(painted(mode, size), "PNG"), PICTURE)
    assert mask.size == PICTURE.size
    found = np.asarray(mask)
    assert (found[:, :28] < 8).all()
    assert (found[:, 36:] > 247).all()


def test_strokes_on_a_transparent_ground_are_a_mask() -> None:
    strokes = Image.new("RGBA", (64, 40), (255, 255, 255, 0))
    strokes.paste((255, 255, 255, 255), (0, 0, 10, 10))
    mask = np.asarray(read_mask(files.saved(strokes, "PNG"), PICTURE))
    assert (mask[:10, :10] == 255).all()
    assert mask.sum() == 255 * 100


def test_soft_edges_fade_to_either_side_and_hard_ones_stay() -> None:
    mask = painted()
    assert soften(mask, 0) is mask
    row = np.asarray(soften(mask, 8), int)[20]
    assert (np.diff(row) >= 0).all()
    assert abs(row[31] + row[32] - 255) <= 2
    assert row[32 - 9] <= 8
    assert row[31 + 9] >= 247
    assert row[0] == 0
    assert row[63] == 255


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ImageError, match="32 × 32 pixels and the picture 64 × 40"):
        read_mask(files.saved(painted(size=(32, 32)), "PNG"), PICTURE)


@pytest.mark.parametrize("level", [0, 3])
def test_an_all_black_mask_is_refused(level: int) -> None:
    with pytest.raises(ImageError, match="all black"):
        read_mask(files.saved(Image.new("L", (64, 40), level), "JPEG"), PICTURE)


def test_a_turned_mask_is_turned_upright_before_it_is_compared() -> None:
    exif = Image.Exif()
    exif[files.ORIENTATION] = 6
    lying = painted().transpose(Image.Transpose.ROTATE_90)
    mask = np.asarray(read_mask(files.saved(lying, "PNG", exif=exif), PICTURE))
    assert (mask == np.asarray(painted())).all()


def test_what_was_erased_is_painted() -> None:
    seen = read_image(files.saved(Image.fromarray(files.with_alpha(np.asarray(PICTURE), 0)), "PNG"))
    mask = np.asarray(transparency_mask(seen))
    assert (mask[:20] == 0).all()
    assert (mask[20:] == 255).all()


def test_an_opaque_picture_has_no_mask_in_it() -> None:
    with pytest.raises(ImageError, match="Nothing in the picture is transparent"):
        transparency_mask(PICTURE)


@pytest.mark.parametrize("colour", ["#b40a1e", "#b0102a"])
def test_a_painted_colour_is_a_mask(colour: str) -> None:
    mask = np.asarray(colour_mask(PICTURE, colour))
    assert (mask[20:, :32] == 255).all()
    assert mask.sum() == 255 * 20 * 32


def test_the_tolerance_bounds_every_channel() -> None:
    near = Image.new("RGB", (8, 8), (250, 60, 0))
    assert colour_mask(near, "red", tolerance=60).getextrema() == (255, 255)
    with pytest.raises(ImageError, match="is red"):
        colour_mask(near, "red", tolerance=59)


@pytest.mark.parametrize("colour", ["lime", "#00ff00"])
def test_a_colour_that_is_nowhere_is_refused(colour: str) -> None:
    with pytest.raises(ImageError, match=f"Nothing in the picture is {colour}"):
        colour_mask(PICTURE, colour)


@pytest.mark.parametrize("colour", ["", "redish", "#12"])
def test_an_unknown_colour_is_refused(colour: str) -> None:
    with pytest.raises(ImageError, match="no colour"):
        colour_mask(PICTURE, colour)


@pytest.mark.parametrize("side", [48, 96, 512])
def test_a_mask_of_another_size_rings_nowhere(side: int) -> None:
    """Lanczos' filter would set free what lies beside the mask's edge."""
    mask = Image.new("L", (side, side))
    mask.paste(255, (side // 4, side // 4, side // 2, side // 2))
    read = read_mask(to_png(mask), Image.new("RGB", (128, 128)))
    assert np.asarray(read)[:30].max() == np.asarray(read)[:, 66:].max() == 0
    assert np.asarray(read)[40:56, 40:56].min() == 255


def test_a_mask_that_a_jpeg_speckled_is_clean() -> None:
    mask = Image.new("L", (128, 128))
    ImageDraw.Draw(mask).ellipse((40, 40, 90, 90), fill=255)
    file = io.BytesIO()
    mask.save(file, "JPEG", quality=75)
    read = np.asarray(read_mask(file.getvalue(), Image.new("RGB", (128, 128))))
    far = np.asarray(mask.filter(ImageFilter.MaxFilter(5))) == 0
    assert read[far].max() == 0
