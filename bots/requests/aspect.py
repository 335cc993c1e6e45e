"""Sizes of pictures: typed in pixels, or as a shape like 3:2 that waits for the model's size."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import OptionError
from engine.recipe.limits import RANGES, Range
from engine.sentences import Sentence

A_SIZE: Final = Sentence("a_size")
ASPECTS: Final = ((1, 1), (3, 2), (2, 3), (4, 3), (3, 4), (16, 9), (9, 16))  # that are offered
LONGEST: Final = int(RANGES["width"].high // RANGES["width"].low)  # as in 32:1
# In pixels, as people type them: they are rounded to the model's multiple once that is known.
TYPED: Final = Range(RANGES["width"].low, RANGES["width"].high, 1)


@dataclass(frozen=True, slots=True)
class Aspect:
    """A shape, in the place of both width and height until the model is known."""

    across: int
    down: int


def parse_size(text: str) -> dict[str, Any]:
    """Read "512", "768x512", or a shape such as "3:2", which waits for the model's size.

    Raises `OptionError`.
    """
    if shape := re.fullmatch(r"\s*([1-9]\d{0,2})\s*[:：]\s*([1-9]\d{0,2})\s*", text, re.ASCII):
        across, down = int(shape[1]), int(shape[2])
        if max(across, down) > LONGEST * min(across, down):
            raise OptionError("size", text, Sentence("shape_at_most", most=LONGEST))
        aspect = Aspect(across, down)
        return {"width": aspect, "height": aspect}
    found = re.fullmatch(r"\s*(\d{1,6})\s*(?:[x×*]\s*(\d{1,6})\s*)?", text.lower())
    if not found:
        raise OptionError("size", text, A_SIZE)
    width, height = int(found[1]), int(found[2] or found[1])
    for side in (width, height):
        if side not in TYPED:
            allowed = Sentence("pixels_a_side", allowed=TYPED.said(whole=True))
            if found[2] and 0 < min(width, height) <= max(width, height) < TYPED.low:
                allowed = Sentence("a_shape_or", allowed=allowed, shape=f"{width}:{height}")
            raise OptionError("size", text, allowed)
    return {"width": width, "height": height}


def size_like(width: int, height: int, pixels: int, multiple: int) -> tuple[int, int]:
    """Return a size of about so many pixels in the shape of another, as a model draws it.

    Where a side would be too long or too short, the shape is kept, and not the number of pixels.
    """
    limits = RANGES["width"]
    scale = math.sqrt(pixels / (width * height))
    scale = max(scale, limits.low / min(width, height))
    scale = min(scale, limits.high / max(width, height))
    return whole_size(width * scale, height * scale, multiple)


def whole_size(width: float, height: float, multiple: int) -> tuple[int, int]:
    """Return the nearest size that a recipe allows and whose sides are multiples, in pixels."""
    limits = RANGES["width"]
    fitted = (
        int(min(max(multiple * round(side / multiple), limits.low), limits.high))
        for side in (width, height)
    )
    return next(fitted), next(fitted)


def sized(values: Mapping[str, Any], pixels: int, multiple: int) -> dict[str, Any]:
    """Return values with a size of about so many pixels where a shape was asked for."""
    shape = values.get("width")
    if not isinstance(shape, Aspect):
        return dict(values)
    width, height = size_like(shape.across, shape.down, pixels, multiple)
    return {**values, "width": width, "height": height}
