"""Where the tiles of a picture lie, as plain numbers: whoever estimates counts what is drawn.

Standard library only; `engine.pictures.tiles` runs networks over them.
"""

from math import ceil
from typing import Final

from engine.recipe.limits import LATENT_SIDE

OVERLAP: Final = 0.25  # of a tile's side, at least: of those in which detail is drawn


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Return where tiles begin along a side, evenly spread; neighbours share `overlap` at least."""
    if length <= tile:
        return [0]
    last = length - tile
    steps = ceil(last / (tile - overlap))
    return [round(last * step / steps) for step in range(steps + 1)]


def tile_overlap(tile: int) -> int:
    """Return how many latents two tiles share at least, of so many a side."""
    return max(1, int(tile * OVERLAP))


def drawn(width: int, height: int, tile: int | None) -> int:
    """Return how many pixels a network sees of a picture in tiles (None: whole); all in pixels."""
    if tile is None:
        return width * height
    side = tile // LATENT_SIDE
    amount = 1
    for length in (width // LATENT_SIDE, height // LATENT_SIDE):
        found = starts(length, side, tile_overlap(side))
        amount *= len(found) * min(side, length) * LATENT_SIDE
    return amount
