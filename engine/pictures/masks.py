"""Masks: white where something new is to be drawn, black where the picture stays, mode L.

Greys are edges, drawn in part. A mask comes from what is transparent in the picture itself, from
a second picture, or from a colour painted over the first.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageColor, ImageFilter

from engine.errors import ImageError, shorten
from engine.files.stored import PictureStore
from engine.pictures.images import Fit, fit, read_image, read_stored_image
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence

TOLERANCE: Final = 48  # of 255: JPEG blurs a painted colour by about 30 at its edges
FAINT: Final = 40  # of 255: what JPEG makes of black beside white stays below
HAMMING: Final = Image.Resampling.HAMMING  # it rings nowhere
INVERTED: Final = "inverted "  # begins the names of channels of which black is painted
CHANNELS: Final = {"red": "R", "green": "G", "blue": "B"}


def read_mask(data: bytes, picture: Image.Image) -> Image.Image:
    """Read a mask from a second picture's brightness, at the size of the first.

    The second may have another size but not another shape. What is transparent in it is black.
    Raises `ImageError`.
    """
    other = read_image(data)
    if not _same_shape(other.size, picture.size):
        mine, its = (f"{each.width} × {each.height}" for each in (other, picture))
        raise ImageError(Sentence("mask_of_another_shape", mask=mine, picture=its))
    if other.mode == "RGBA":
        black = Image.new("RGBA", other.size, (0, 0, 0, 255))
        other = Image.alpha_composite(black, other)
    mask = fit(other.convert("L"), *picture.size, "resize", HAMMING)
    mask = mask.point([0 if step < FAINT else step for step in range(256)])
    return _check(mask, Sentence("black_mask"))


def soften(mask: Image.Image, pixels: float) -> Image.Image:
    """Return a mask whose edges fade over so many pixels to either side, by a normal blur."""
    return mask.filter(ImageFilter.GaussianBlur(pixels / 2)) if pixels else mask


def read_area_masks(recipe: Recipe, store: PictureStore) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the masks of a recipe's areas by name, each [H, W] of its own size.

    Raises `MissingPicture` or `ImageError`.
    """
    names = {area.mask for area in recipe.areas if area.mask is not None}
    read = {name: read_stored_image(store.read(name)).convert("L") for name in sorted(names)}
    return {name: np.asarray(mask, np.uint8) for name, mask in read.items()}


def fit_mask(mask: Image.Image, width: int, height: int, how: Fit) -> Image.Image:
    """Bring a mask to the size of what is drawn, as its picture; raises `ImageError`.

    Black stays black: the filter does not ring.
    """
    return _check(fit(mask, width, height, how, HAMMING), Sentence("black_where_drawn"))


def transparency_mask(picture: Image.Image) -> Image.Image:
    """Return a mask of a picture's erased area; raises `ImageError` if there is none."""
    if picture.mode != "RGBA":
        raise ImageError(Sentence("nothing_transparent"))
    return ImageChops.invert(picture.getchannel("A"))


def inverse_of(channel: str) -> str:
    """Return the name of a channel that is taken the other way round."""
    return channel.removeprefix(INVERTED) if channel.startswith(INVERTED) else INVERTED + channel


def channel_mask(picture: Image.Image, channel: str) -> Image.Image:
    """Return one of a picture's channels (`red`, `green`, `blue`) as a mask: full is painted.

    Of `alpha` what is transparent is; of one that is inverted (`inverse_of`) the rest. Raises
    `ImageError` where nothing is marked.
    """
    plain = channel.removeprefix(INVERTED)
    if plain == "alpha":
        mask = transparency_mask(picture)
    elif plain in CHANNELS:
        mask = picture.getchannel(CHANNELS[plain])
    else:
        raise ImageError(f"A picture has no channel {shorten(plain)}.")
    if plain != channel:
        mask = ImageChops.invert(mask)
    elif plain == "alpha":
        return mask
    return _check(mask, Sentence("nothing_of_colour", colour=channel))


def colour_mask(picture: Image.Image, colour: str, tolerance: int = TOLERANCE) -> Image.Image:
    """Return a mask of what was painted over in a colour, given by name or as #rrggbb.

    No channel of such a pixel is further than the tolerance (0 … 255) from the colour. Raises
    `ImageError` for an unknown colour or where nothing has it.
    """
    try:
        wanted = ImageColor.getrgb(colour)[:3]
    except ValueError:
        raise ImageError(
            f"{shorten(colour)} is no colour; a mask is a picture (a file, or one of yours like "
            "12.3), 'alpha', or a colour such as red or #ff0000."
        ) from None
    plain = Image.new("RGB", picture.size, wanted)
    bands = ImageChops.difference(picture.convert("RGB"), plain).split()
    distance = ImageChops.lighter(ImageChops.lighter(bands[0], bands[1]), bands[2])
    mask = distance.point([255 if step <= tolerance else 0 for step in range(256)])
    return _check(mask, Sentence("nothing_of_colour", colour=colour))


def _same_shape(size: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Return whether two sizes have one aspect ratio, but for the rounding of a pixel."""
    scaled = size[1] * wanted[0] / size[0], size[0] * wanted[1] / size[1]
    return abs(scaled[0] - wanted[1]) <= 1 or abs(scaled[1] - wanted[0]) <= 1


def _check(mask: Image.Image, sentence: str) -> Image.Image:
    if mask.getextrema()[1] == 0:
        raise ImageError(sentence)
    return mask
