"""Reference pictures of a recipe: what a model that edits by words sees beside the prompt.

Pixels, without torch.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.files.stored import PictureStore
from engine.pictures.images import fit, flatten, read_stored_image
from engine.pictures.start_image import Pixels
from engine.recipe.recipe import Recipe

MEGAPIXEL: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSizes:
    """Describe at which sizes a model takes reference pictures, in pixels.

    Both sides are multiples of `multiple`. preferred: the sizes (width, height) that it was trained
    on, of which the nearest in shape is taken. Without these a picture keeps its shape, with about
    `pixels` where it has more, or, if it `enlarges`, also where it has fewer.
    """

    multiple: int = 16
    pixels: int = MEGAPIXEL
    enlarges: bool = False
    preferred: tuple[tuple[int, int], ...] = ()

    def of(self, width: int, height: int) -> tuple[int, int]:
        """Return the size at which a picture of that size is taken."""
        if self.preferred:
            return min(self.preferred, key=lambda size: abs(size[0] / size[1] - width / height))
        scale = math.sqrt(self.pixels / (width * height))
        if not self.enlarges:
            scale = min(1, scale)
        whole = (round(side * scale / self.multiple) for side in (width, height))
        across, down = (self.multiple * max(1, number) for number in whole)
        return across, down


# As the models' makers do it.
KONTEXT: Final = ReferenceSizes(
    preferred=(
        *((672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328), (832, 1248)),
        *((880, 1184), (944, 1104), (1024, 1024), (1104, 944), (1184, 880), (1248, 832)),
        *((1328, 800), (1392, 752), (1456, 720), (1504, 688), (1568, 672)),
    )
)
FLUX2: Final = ReferenceSizes()
QWEN_EDIT: Final = ReferenceSizes(multiple=32, enlarges=True)


def read_references(
    recipe: Recipe, store: PictureStore, sizes: ReferenceSizes
) -> tuple[Pixels, ...]:
    """Return the reference pictures of a recipe, each [H, W, 3] uint8, as a model takes them.

    What rounding a size leaves over is cut off. Raises `MissingPicture` or `ImageError`.
    """
    found = []
    for name in recipe.references:
        image = flatten(read_stored_image(store.read(name)))
        found.append(np.asarray(fit(image, *sizes.of(*image.size), "crop")))
    return tuple(found)
