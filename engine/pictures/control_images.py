"""ControlNet images: pictures unchanged, or a preprocessor's result.

Pixels, without torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from engine.files.stored import PictureStore
from engine.pictures.images import Fit, fit, flatten, read_stored_image
from engine.recipe.parts import CANNY, Control
from engine.recipe.recipe import Recipe

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class ControlImage:
    """A control and its picture, at the picture's own size, mode RGB, and how it is fitted."""

    control: Control
    image: Image.Image
    fit: str

    def at(self, width: int, height: int) -> Pixels:
        """Return the ControlNet image for a size in pixels, [H, W, 3] uint8."""
        fitted = fit(self.image, width, height, cast(Fit, self.fit))
        return PREPROCESSORS[self.control.preprocessor](np.asarray(fitted))


def read_control_images(recipe: Recipe, store: PictureStore) -> tuple[ControlImage, ...]:
    """Read the ControlNet images of a recipe, or raise `MissingPicture` or `ImageError`."""
    return tuple(
        ControlImage(control, flatten(read_stored_image(store.read(control.image))), recipe.fit)
        for control in recipe.controls
    )


def canny(pixels: Pixels) -> Pixels:
    """Return edges, white on black, [H, W, 3] uint8. Canny (1986)."""
    import cv2  # nobody waits for it who gives no picture to find edges in

    edges = cv2.Canny(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), *CANNY)
    return np.repeat(np.asarray(edges, np.uint8)[..., None], 3, axis=2)


PREPROCESSORS: Final[Mapping[str, Callable[[Pixels], Pixels]]] = {
    "none": lambda pixels: pixels,
    "canny": canny,
}
