"""Reference pictures, at the sizes at which models take them."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from engine.errors import ImageError, MissingPicture
from engine.pictures.images import read_image, to_png
from engine.pictures.references import (
    FLUX2,
    KONTEXT,
    MEGAPIXEL,
    QWEN_EDIT,
    ReferenceSizes,
    read_references,
)
from tests.engine.pictures.test_start_image import Kept, png
from tests.factories import make_recipe, pixels

FIRST, SECOND = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("sizes", "given", "taken"),
    [
        (KONTEXT, (1024, 1024), (1024, 1024)),
        (KONTEXT, (64, 64), (1024, 1024)),
        (KONTEXT, (8000, 2000), (1568, 672)),
        (KONTEXT, (1500, 1000), (1248, 832)),
        (KONTEXT, (1080, 1920), (752, 1392)),
        (FLUX2, (512, 768), (512, 768)),
        (FLUX2, (500, 300), (496, 304)),
        (FLUX2, (8000, 2000), (2048, 512)),
        (FLUX2, (4096, 4096), (1024, 1024)),
        (FLUX2, (8, 8), (16, 16)),
        (QWEN_EDIT, (512, 512), (1024, 1024)),
        (QWEN_EDIT, (1920, 1080), (1376, 768)),
        (QWEN_EDIT, (8000, 2000), (2048, 512)),
    ],
)
def test_a_picture_is_taken_at_the_size_that_the_model_wants(
    sizes: ReferenceSizes, given: tuple[int, int], taken: tuple[int, int]
) -> None:
    assert sizes.of(*given) == taken
    assert sizes.of(*given[::-1]) == taken[::-1]


@pytest.mark.parametrize("sizes", [KONTEXT, FLUX2, QWEN_EDIT])
def test_no_size_is_off_the_models_grid_or_much_above_a_megapixel(sizes: ReferenceSizes) -> None:
    for width in (8, 100, 333, 1000, 2500, 8000):
        for height in (width, width // 2 + 1, width // 7 + 8):
            across, down = sizes.of(width, height)
            assert across % sizes.multiple == down % sizes.multiple == 0
            assert across * down <= 1.08 * MEGAPIXEL


def test_the_preferred_sizes_are_those_of_the_models_maker() -> None:
    kontext = pytest.importorskip("diffusers.pipelines.flux.pipeline_flux_kontext")
    assert set(KONTEXT.preferred) == set(kontext.PREFERRED_KONTEXT_RESOLUTIONS)


def test_references_are_read_in_their_order() -> None:
    store = Kept({FIRST: png(pixels(1, 64, 32)), SECOND: png(pixels(2, 32, 32))})
    recipe = make_recipe(references=(SECOND, FIRST))
    second, first = read_references(recipe, store, FLUX2)
    assert np.array_equal(second, pixels(2, 32, 32))
    assert np.array_equal(first, pixels(1, 64, 32))
    assert read_references(make_recipe(), store, FLUX2) == ()


def test_a_large_picture_is_scaled_down_and_keeps_what_it_shows() -> None:
    wide = Image.new("RGB", (8000, 2000), "white")
    wide.paste("black", (0, 0, 4000, 2000))
    (taken,) = read_references(make_recipe(references=(FIRST,)), Kept({FIRST: png(wide)}), FLUX2)
    assert taken.shape == (512, 2048, 3)
    assert (taken[:, :1000] == 0).all()
    assert (taken[:, 1048:] == 255).all()


def test_what_is_transparent_is_white_and_a_turned_photo_stands_upright() -> None:
    clear = Image.new("RGBA", (32, 32), (9, 9, 9, 0))
    photo, file = Image.fromarray(pixels(3, 64, 32)), io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo.save(file, "PNG", exif=exif)
    store = Kept({FIRST: png(clear), SECOND: to_png(read_image(file.getvalue()))})
    recipe = make_recipe(references=(FIRST, SECOND))
    white, upright = read_references(recipe, store, FLUX2)
    assert (white == 255).all()
    assert np.array_equal(upright, np.rot90(pixels(3, 64, 32), -1))


def test_a_reference_that_is_gone_or_damaged_is_named_so() -> None:
    recipe = make_recipe(references=(FIRST,))
    with pytest.raises(MissingPicture):
        read_references(recipe, Kept(), KONTEXT)
    with pytest.raises(ImageError):
        read_references(recipe, Kept({FIRST: png(pixels(1, 64, 64))[:200]}), KONTEXT)
