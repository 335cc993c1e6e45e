"""Soft clouds of noise, made once and cut out at random places."""

from functools import cache

import numpy as np
from scipy import ndimage

from engine.starter.render.canvas import SIZE, Array

_BANKS = 6
_SIDE = 2 * SIZE
_OCTAVES = ((34.0, 1.0), (17.0, 0.5), (9.0, 0.22))  # (blur in pixels, weight)


def clouds(rng: np.random.Generator) -> Array:
    """Cut a field `[256, 256]` of smooth noise, mean about 0 and deviation about 1."""
    field = _bank(int(rng.integers(_BANKS)))
    y, x = rng.integers(0, _SIDE - SIZE, 2)
    cut = field[y : y + SIZE, x : x + SIZE]
    return cut[:, ::-1] if rng.random() < 0.5 else cut


@cache
def _bank(index: int) -> Array:
    rng = np.random.default_rng(1000 + index)
    total = np.zeros((_SIDE, _SIDE), np.float32)
    for blur, weight in _OCTAVES:
        layer = ndimage.gaussian_filter(rng.standard_normal((_SIDE, _SIDE)), blur, mode="wrap")
        total += (weight * layer / layer.std()).astype(np.float32)
    field: Array = total / total.std()
    return field
