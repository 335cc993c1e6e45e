"""MultiDiffusion: denoise a large picture in overlapping tiles of the model's usual size.

Bar-Tal et al. (2023), "MultiDiffusion", arXiv:2302.08113: each prediction of the whole is the
weighted mean of overlapping tiles' predictions, so that no seam can form between them.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from engine.denoise.samplers import Request, Sampling, advance
from engine.pictures.tile_grid import tile_overlap
from engine.pictures.tiles import Tiling


def in_tiles(sampling: Sampling, tile: int) -> Sampling:
    """Request each prediction of x, [1, C, h, w], in overlapping tiles of `tile` latents a side.

    It wraps a sampler and is itself one: tiles are requests like others, and share calls with
    pictures of their shape.
    """
    state = advance(sampling)
    while isinstance(state, Request):
        whole, tiling = state.x, _tiling(tile)
        height, width = whole.shape[2:]
        rows = zip(tiling.starts(height), tiling.weights(height), strict=True)
        columns = list(zip(tiling.starts(width), tiling.weights(width), strict=True))
        answers = len(whole) * (2 if state.unguided else 1)
        denoised = whole.new_zeros((answers, *whole.shape[1:]))
        for (top, down), (left, across) in product(rows, columns):
            part = (..., slice(top, top + len(down)), slice(left, left + len(across)))
            predicted = yield replace(state, x=whole[part].contiguous(), corner=(top, left))
            weights = (down[:, None] * across[None, :]).to(whole.device)
            denoised[part] += predicted * weights
        state = advance(sampling, denoised)
    return state


def count(height: int, width: int, tile: int) -> int:
    """Return how many tiles a picture is cut into; all in latents."""
    tiling = _tiling(tile)
    return len(tiling.starts(height)) * len(tiling.starts(width))


def _tiling(tile: int) -> Tiling:
    return Tiling(tile=tile, overlap=tile_overlap(tile))
