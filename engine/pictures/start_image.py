"""The start image of a recipe at the picture's size, and the mask of what is drawn anew.

Pixels, without torch.
"""

from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from engine.files.stored import PictureStore
from engine.pictures.images import Fit, fit, flatten, read_stored_image
from engine.pictures.masks import HAMMING, fit_mask
from engine.recipe.recipe import Recipe

SEAM: Final = 8  # pixels of the start image at a margin over which what is drawn fades in
FEATHER: Final = 64  # a mask's edge fades over this part of the shorter side …
LEAST_FEATHER: Final = 2  # … or so many pixels, if that is more

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class StartImage:
    """Pixels [H, W, 3], uint8, and which of them are drawn anew (None: all).

    mask [H, W], uint8: all above 0 is drawn; alpha [H, W], uint8: the opacity of what is drawn.
    """

    pixels: Pixels
    mask: Pixels | None = None
    alpha: Pixels | None = None

    def composite(self, drawn: Pixels) -> Pixels:
        """Return the drawn picture over the start image: outside the mask every byte is kept."""
        if self.alpha is None:
            return drawn
        layers = [Image.fromarray(each) for each in (drawn, self.pixels, self.alpha)]
        return np.asarray(Image.composite(*layers))


def read_start_image(recipe: Recipe, store: PictureStore) -> StartImage | None:
    """Return the start image of a recipe, or None where it has none.

    Raises `MissingPicture` or `ImageError`.
    """
    if recipe.image is None:
        return None
    image = read_stored_image(store.read(recipe.image))
    if recipe.margins:
        return _with_margins(recipe, flatten(image))
    size, how = (recipe.width, recipe.height), cast(Fit, recipe.fit)
    pixels = np.asarray(fit(flatten(image), *size, how))
    if recipe.mask is None:
        return StartImage(pixels)
    # It was made for the start image, at its size.
    read = read_stored_image(store.read(recipe.mask)).convert("L")
    if read.size != image.size:
        read = fit(read, *image.size, "resize", HAMMING)
    mask = np.asarray(fit_mask(read, *size, how))
    return StartImage(pixels, mask, _feather(mask))


def _with_margins(recipe: Recipe, image: Image.Image) -> StartImage:
    """Return the image with blurred mirrors of its edges in the margins, which are masked."""
    assert recipe.margins is not None
    left, top, right, bottom = recipe.margins.inner(recipe.width, recipe.height)
    inner = fit(image, right - left, bottom - top, cast(Fit, recipe.fit))
    extended = _extend(inner, (left, top), (recipe.width, recipe.height))
    # Where a margin meets the image, what is drawn fades over a strip of the image.
    rows = _ramp(recipe.height, top, bottom)
    columns = _ramp(recipe.width, left, right)
    alpha = np.maximum(rows[:, None], columns[None, :])
    return StartImage(np.asarray(extended), alpha, alpha)


def _ramp(length: int, start: int, end: int) -> Pixels:
    """Return 255 outside start … end, falling to 0 over `SEAM` within, along one side."""
    seam = min(SEAM, (end - start) // 4)
    at = np.arange(length) + 0.5
    depth = np.full(length, np.inf)
    if start:
        depth = np.minimum(depth, at - start)
    if end < length:
        depth = np.minimum(depth, end - at)
    # Half a pixel past the strip nothing is drawn, so that the rest is kept byte for byte.
    return np.rint(255 * np.clip(1 - depth / seam, 0, 1)).astype(np.uint8)


def _extend(inner: Image.Image, at: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """Continue an image beyond its edges by its own mirror, ever more blurred.

    Noise at full strength hides most of it; what shows through are colours and light, which then
    fit. Edges drawn on would come back as stripes.
    """
    pixels = np.asarray(inner)
    before = at[1], at[0]
    after = size[1] - pixels.shape[0] - at[1], size[0] - pixels.shape[1] - at[0]
    widths = [(before[0], after[0]), (before[1], after[1]), (0, 0)]
    wide = Image.fromarray(np.pad(pixels, widths, mode="symmetric"))
    blurred = wide.filter(ImageFilter.GaussianBlur(max(size) / 16))
    blurred.paste(inner, at)
    return blurred


def _feather(mask: Pixels) -> Pixels:
    """Return the drawn picture's opacity, [H, W] uint8: the mask, fading in from its edge."""
    width = max(LEAST_FEATHER, min(mask.shape) // FEATHER)
    # Padded by its own edge: the border of the picture is not an edge of the mask.
    padded = Image.fromarray(np.pad(mask, 2 * width, mode="edge"))
    eroded = padded.filter(ImageFilter.MinFilter(2 * (width // 2) + 1))
    soft = np.asarray(eroded.filter(ImageFilter.GaussianBlur(width / 2)))
    alpha: Pixels = np.minimum(soft[2 * width : -2 * width, 2 * width : -2 * width], mask)
    return alpha
