"""Fit a picture into a platform's limits, losing as little as possible.

The PNG goes out as it is where it fits, since it carries its recipe. Else it is written again, as
lossless WebP first, then with less and less quality, then smaller.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image

from engine.errors import MarbleError

# Format and how it is written, best first; a platform names those it shows.
LADDER: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("webp", {"lossless": True, "method": 4}),
    ("webp", {"quality": 95, "method": 4}),
    ("jpeg", {"quality": 95, "subsampling": 0}),
    ("webp", {"quality": 85, "method": 4}),
    ("jpeg", {"quality": 85}),
)
SMALLER: Final = 0.75  # of the sides, once the ladder is exhausted
SMALLEST: Final = 16  # pixels
SUFFIXES: Final = {"png": "png", "webp": "webp", "jpeg": "jpg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A platform's limits: bytes, pixels a side, their sum, their ratio, and formats."""

    size: int
    side: int = 16_383  # WebP's own
    sides: int = 2 * 16_383  # width + height
    ratio: float = 1e9
    formats: frozenset[str] = frozenset({"png", "webp", "jpeg"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A picture that fits; whole: not a pixel was lost."""

    data: bytes
    format: str
    width: int
    height: int
    whole: bool

    @property
    def suffix(self) -> str:
        """Return what the name of its file ends with."""
        return SUFFIXES[self.format]


class TooLarge(MarbleError):
    """Says that no version of a picture fits into a limit."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(f"no version of the picture fits into {limit}")


def fit(png: bytes, limit: Limit) -> Fitted:
    """Return a PNG itself where it fits, else the best version that does; blocks.

    Raises `TooLarge` where not even a thumbnail does.
    """
    whole = Image.open(io.BytesIO(png))
    box = _box(whole.size, limit)
    if box == whole.size and len(png) <= limit.size and "png" in limit.formats:
        return Fitted(data=png, format="png", width=box[0], height=box[1], whole=True)
    image = whole.convert("RGB")
    for size in _sizes(box):
        scaled = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
        for kind, options in LADDER:
            if kind in limit.formats and len(data := _encode(scaled, kind, options)) <= limit.size:
                nothing_lost = size == image.size and "lossless" in options
                return Fitted(
                    data=data, format=kind, width=size[0], height=size[1], whole=nothing_lost
                )
    raise TooLarge(limit)


def _box(size: tuple[int, int], limit: Limit) -> tuple[int, int]:
    """Scale a size down to the limit's side lengths and aspect ratio."""
    width, height = size
    if max(size) > limit.ratio * min(size):
        longest = int(limit.ratio * min(size))
        width, height = min(width, longest), min(height, longest)
    scale = min(1.0, limit.side / max(width, height), limit.sides / (width + height))
    return max(1, int(width * scale)), max(1, int(height * scale))


def _sizes(box: tuple[int, int]) -> Iterator[tuple[int, int]]:
    scale = 1.0
    while scale == 1.0 or min(box) * scale >= SMALLEST:
        yield max(1, round(box[0] * scale)), max(1, round(box[1] * scale))
        scale *= SMALLER


def _encode(image: Image.Image, kind: str, options: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
