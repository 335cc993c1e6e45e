"""Several pictures as one, numbered, so that people can say which they mean."""

import io
import math
from collections.abc import Hashable, Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from bots.presentation.fit import Limit, fit_composed
from engine.events import Progress, Verdict
from engine.pictures.images import BACKGROUND, blank

GAP: Final = 4  # pixels between pictures
LARGEST: Final = 2048  # pixels of a grid's longer side: more is shown by no chat
PREVIEW: Final = 1024  # … while the rest is drawn: it is sent again with each picture
JPEG: Final = Limit(size=2**20, formats=frozenset({"jpeg"}))
LABEL: Final = 0.09  # a label's height, as a part of a picture's shorter side
SMALLEST_LABEL: Final = 14  # pixels

Size = tuple[int, int]  # width, height


def arrange(count: int) -> Size:
    """Return columns and rows for so many pictures: as square as can be, wider than high."""
    columns = math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


def compose(
    pngs: Sequence[bytes], largest: int = LARGEST, numbers: Sequence[int] = ()
) -> Image.Image:
    """Lay pictures out from the top left, each with its number: from 1, where none are given.

    Pictures may differ in size: each is centred in a cell of the largest. `largest` is in pixels of
    the grid's longer side. Blocks.
    """
    images = [Image.open(io.BytesIO(png)).convert("RGB") for png in pngs]
    columns, rows = arrange(len(images))
    cell = (max(each.width for each in images), max(each.height for each in images))
    scale = min(1.0, largest / max(cell[0] * columns, cell[1] * rows))
    cell = (max(1, int(cell[0] * scale)), max(1, int(cell[1] * scale)))
    size = (_offset(columns, cell[0]) - GAP, _offset(rows, cell[1]) - GAP)
    grid = Image.new("RGB", size, BACKGROUND)
    shown = numbers or range(1, len(images) + 1)
    for at, (number, image) in enumerate(zip(shown, images, strict=True)):
        left, top = (_offset(at % columns, cell[0]), _offset(at // columns, cell[1]))
        image.thumbnail(cell, Image.Resampling.LANCZOS)
        grid.paste(
            image, (left + (cell[0] - image.width) // 2, top + (cell[1] - image.height) // 2)
        )
        _label(grid, (left, top), cell, str(number))
    return grid


def pictures_of(progress: Progress, *, checked: bool) -> Hashable:
    """Return what tells whether `preview_of` would return the same as of other news of a job."""
    if progress.finished:
        return checked, len(progress.finished)
    return checked, progress.preview


def preview_of(progress: Progress, *, checked: bool) -> bytes | None:
    """Return what is there of a job's pictures as a JPEG, or None; blocks.

    What is finished, as a grid, else the preview. checked: of all that only what the safety check
    found safe, which nothing says of a preview.
    """
    if not progress.finished:
        return None if checked else progress.preview
    seen = [not checked or each.verdict is Verdict.SAFE for each in progress.finished]
    if not any(seen):
        return None
    pngs = [
        each.png if shown else blank(each.width, each.height)
        for each, shown in zip(progress.finished, seen, strict=True)
    ]
    return fit_composed(compose(pngs, PREVIEW), JPEG).data


def _offset(index: int, side: int) -> int:
    return index * (side + GAP)


def _label(grid: Image.Image, corner: Size, cell: Size, text: str) -> None:
    """Write a number on a dark patch in a cell's top left corner: legible on any picture."""
    size = max(SMALLEST_LABEL, round(min(cell) * LABEL))
    draw = ImageDraw.Draw(grid)
    font = ImageFont.load_default(size)
    width, height = math.ceil(draw.textlength(text, font=font)), size
    pad = size // 3
    patch = (*corner, corner[0] + width + 2 * pad, corner[1] + height + pad)
    draw.rectangle(patch, fill=BACKGROUND)
    middle = ((patch[0] + patch[2]) / 2, (patch[1] + patch[3]) / 2)
    draw.text(middle, text, font=font, fill="white", anchor="mm")
