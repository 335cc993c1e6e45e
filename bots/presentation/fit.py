"""Fit a picture into a platform's limits, losing as little as possible.

The PNG goes out as it is where it fits, since it carries its recipe. Else it is written again, as
lossless WebP first, then with less and less quality, then smaller. What is composed of several
pictures is a JPEG: as a PNG it would take eighty times as long to write, and five times as many
bytes.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image

from engine.errors import MarbleError

Ladder = Sequence[tuple[str, Mapping[str, Any]]]

# Format and how it is written, best first; a platform names those it shows.
LADDER: Final[Ladder] = (
    ("webp", {"lossless": True, "method": 4}),
    ("webp", {"quality": 95, "method": 4}),
    ("jpeg", {"quality": 95, "subsampling": 0}),
    ("webp", {"quality": 85, "method": 4}),
    ("jpeg", {"quality": 85}),
)
COMPOSED: Final = 2  # where on the ladder what is composed begins
LOSSLESS: Final = 0.5  # of its PNG: a lossless version is hardly ever smaller
SMALLER: Final = 0.75  # of the sides, once the ladder is exhausted
SMALLEST: Final = 16  # pixels
THUMBNAIL: Final = 320  # pixels of the longer side of a small copy for lists
SUFFIXES: Final = {"webp": "webp", "jpeg": "jpg"}


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
    """A picture that fits; suffix: of its file's name; whole: not a pixel was lost."""

    data: bytes
    suffix: str
    whole: bool


def fit(png: bytes, limit: Limit) -> Fitted:
    """Return a PNG itself where it fits, else the best version that does; blocks.

    Raises `MarbleError` where not even a thumbnail does.
    """
    original = Image.open(io.BytesIO(png))
    box = _box(original.size, limit)
    if box == original.size and len(png) <= limit.size and "png" in limit.formats:
        return Fitted(data=png, suffix="png", whole=True)
    ladder = LADDER if limit.size >= LOSSLESS * len(png) else LADDER[1:]
    return _shrink(original.convert("RGB"), box, limit, ladder)


def fit_composed(image: Image.Image, limit: Limit) -> Fitted:
    """Return the best version of a picture that is no file yet; blocks. Raises as `fit` does."""
    return _shrink(image, _box(image.size, limit), limit, LADDER[COMPOSED:])


def thumbnail(png: bytes) -> bytes:
    """Return a small copy of a picture as WebP, as large as it is at most; blocks."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return _encode(image, "webp", {"quality": 80, "method": 4})


def _shrink(image: Image.Image, box: tuple[int, int], limit: Limit, ladder: Ladder) -> Fitted:
    for size in _sizes(box):
        scaled = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
        for kind, options in ladder:
            if kind in limit.formats and len(data := _encode(scaled, kind, options)) <= limit.size:
                whole = size == image.size and "lossless" in options
                return Fitted(data=data, suffix=SUFFIXES[kind], whole=whole)
    raise MarbleError(f"no version of the picture fits into {limit}")


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
