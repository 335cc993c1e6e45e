from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image, ImageDraw

from engine.errors import ImageError, MissingPicture
from engine.pictures.images import to_png
from engine.pictures.start_image import Pixels, StartImage, read_start_image
from engine.recipe.parts import Margins
from tests.factories import make_recipe, pixels

IMAGE, MASK = "a" * 64, "b" * 64


@dataclass
class Kept:
    files: dict[str, bytes] = field(default_factory=dict)

    def read(self, sha256: str) -> bytes:
        try:
            return self.files[sha256]
        except KeyError:
            raise MissingPicture(sha256) from None


def png(image: Image.Image | Pixels) -> bytes:
    return to_png(image if isinstance(image, Image.Image) else Image.fromarray(image))


def disc(size: int = 64) -> Image.Image:
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).ellipse((16, 16, 47, 47), fill=255)
    return mask


def canvas(**changes: object) -> StartImage:
    blobs = Kept({IMAGE: png(pixels(1, 64, 64)), MASK: png(disc())})
    made = read_start_image(make_recipe(**{"image": IMAGE, "strength": 0.5, **changes}), blobs)
    assert made is not None
    return made


def test_words_alone_need_no_canvas() -> None:
    assert read_start_image(make_recipe(), Kept()) is None


def test_a_start_image_of_the_right_size_is_taken_as_it_is() -> None:
    assert np.array_equal(canvas().pixels, pixels(1, 64, 64))
    assert canvas().mask is None


@pytest.mark.parametrize("how", ["crop", "pad", "resize"])
def test_a_start_image_of_another_shape_is_fitted(how: str) -> None:
    assert canvas(width=128, height=72, fit=how).pixels.shape == (72, 128, 3)


def test_what_is_transparent_in_a_start_image_is_white() -> None:
    clear = Image.new("RGBA", (64, 64), (9, 9, 9, 0))
    made = read_start_image(make_recipe(image=IMAGE, strength=1), Kept({IMAGE: png(clear)}))
    assert made is not None
    assert (made.pixels == 255).all()


def test_without_a_mask_what_was_painted_is_the_picture() -> None:
    painted = pixels(2, 64, 64)
    assert canvas().composite(painted) is painted


def test_outside_a_mask_every_byte_is_kept_and_inside_all_is_new() -> None:
    made, painted = canvas(mask=MASK), pixels(2, 64, 64)
    result, mask = made.composite(painted), np.asarray(disc())
    assert np.array_equal(result[mask == 0], made.pixels[mask == 0])
    assert np.array_equal(result[28:36, 28:36], painted[28:36, 28:36])


def test_the_edge_of_a_mask_fades_within_it() -> None:
    made = canvas(mask=MASK)
    assert made.alpha is not None
    assert (made.alpha[np.asarray(disc()) == 0] == 0).all()
    between = (made.alpha > 0) & (made.alpha < 255)
    assert between.sum() > 60
    assert (made.alpha[30:34, 30:34] == 255).all()


def test_a_mask_at_the_border_of_a_picture_is_painted_up_to_the_border() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    blobs = Kept({IMAGE: png(pixels(1, 64, 64)), MASK: png(mask)})
    made = read_start_image(make_recipe(image=IMAGE, mask=MASK, strength=1), blobs)
    assert made is not None
    assert made.alpha is not None
    assert (made.alpha[:, -1] == 255).all()


def test_margins_keep_the_image_inside_and_paint_around_it() -> None:
    made = canvas(width=96, margins=Margins(left=32), fit="resize")
    painted = pixels(3, 96, 64)
    result = made.composite(painted)
    assert np.array_equal(result[:, 40:], pixels(1, 64, 64)[:, 8:])
    assert np.array_equal(result[:, :32], painted[:, :32])
    assert made.mask is not None
    assert (made.mask[:, :32] == 255).all()
    assert (made.mask[:, 40:] == 0).all()


def test_margins_begin_with_the_colours_of_the_image() -> None:
    red = Image.new("RGB", (64, 64), (200, 10, 10))
    margins = Margins(left=16, top=16, right=16, bottom=16)
    made = read_start_image(
        make_recipe(image=IMAGE, strength=1, margins=margins), Kept({IMAGE: png(red)})
    )
    assert made is not None
    assert np.abs(made.pixels.astype(int) - (200, 10, 10)).max() <= 2


def test_margins_wider_than_the_image_are_filled() -> None:
    made = canvas(width=64, height=512, margins=Margins(top=240, bottom=240), fit="resize")
    assert made.pixels.shape == (512, 64, 3)


@pytest.mark.parametrize("missing", [IMAGE, MASK])
def test_a_missing_picture_is_asked_for_by_name(missing: str) -> None:
    files = {IMAGE: png(pixels(1, 64, 64)), MASK: png(disc())}
    del files[missing]
    with pytest.raises(MissingPicture, match=f"{missing[:12]}…, which is not stored here"):
        read_start_image(make_recipe(image=IMAGE, mask=MASK, strength=1), Kept(files))


def test_a_black_mask_is_refused() -> None:
    blobs = Kept({IMAGE: png(pixels(1, 64, 64)), MASK: png(Image.new("L", (64, 64)))})
    with pytest.raises(ImageError, match="all black"):
        read_start_image(make_recipe(image=IMAGE, mask=MASK, strength=1), blobs)


def test_a_mask_that_the_fit_cuts_off_is_refused() -> None:
    mask = np.zeros((64, 128), np.uint8)
    mask[:, 120:] = 255
    blobs = Kept({IMAGE: png(pixels(1, 128, 64)), MASK: png(mask)})
    with pytest.raises(ImageError, match="all black in the part that is drawn"):
        read_start_image(make_recipe(image=IMAGE, mask=MASK, strength=1), blobs)


def test_a_stored_picture_may_be_larger_than_a_file_that_is_given() -> None:
    long = Image.new("RGB", (2048, 64))
    made = read_start_image(
        make_recipe(image=IMAGE, strength=1, width=2048), Kept({IMAGE: png(long)})
    )
    assert made is not None
    assert made.pixels.shape == (64, 2048, 3)
