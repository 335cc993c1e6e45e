"""Contact sheets: many pictures on one, to be looked at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8]], columns: int, path: Path, *, zoom: int = 1
) -> None:
    """Write pictures `[h, w, 3]` of one size row by row into one PNG."""
    height, width = (side * zoom for side in pictures[0].shape[:2])
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for index, picture in enumerate(pictures):
        tile = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
        sheet.paste(tile, ((index % columns) * width, (index // columns) * height))
    sheet.save(path)
