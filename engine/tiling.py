"""Denoise a large picture tile by tile, in tiles of the size for which the model was made.

Bar-Tal et al. (2023), "MultiDiffusion", arXiv:2302.08113: each prediction of the whole is the
weighted mean of overlapping tiles' predictions, so that no seam can form between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Final

import torch
from torch import Tensor

from engine.samplers import Request, Sampling, advance

OVERLAP: Final = 0.25  # of a tile's side, at least

Box = tuple[int, int, int, int]  # top, left, bottom, right; in latents


def tiled(sampling: Sampling, tile: int) -> Sampling:
    """Ask for each prediction of x, [1, C, h, w], in overlapping tiles `tile` latents a side.

    It is wrapped around a sampler and looks like one from outside: tiles are requests like others,
    and share calls with whatever has their shape.
    """
    state = advance(sampling)
    while isinstance(state, Request):
        whole = state.x
        total, weights = torch.zeros_like(whole), whole.new_zeros(1, 1, *whole.shape[2:])
        for top, left, bottom, right in boxes(whole.shape[2], whole.shape[3], tile):
            part = whole[:, :, top:bottom, left:right].contiguous()
            denoised = yield replace(state, x=part)
            weight = _weight(part)
            total[:, :, top:bottom, left:right] += denoised * weight
            weights[:, :, top:bottom, left:right] += weight
        state = advance(sampling, total / weights)
    return state


def boxes(height: int, width: int, tile: int) -> list[Box]:
    """Return tiles of one size that cover a picture evenly; all in latents."""
    rows, columns = min(tile, height), min(tile, width)
    return [
        (top, left, top + rows, left + columns)
        for top, left in product(_starts(height, rows), _starts(width, columns))
    ]


def _starts(length: int, tile: int) -> Iterator[int]:
    if length == tile:
        yield 0
        return
    # Round up: n tiles whose overlap is no less than asked for.
    count = 1 + -(-(length - tile) // max(1, int(tile * (1 - OVERLAP))))
    for number in range(count):
        yield round(number * (length - tile) / (count - 1))


def _weight(part: Tensor) -> Tensor:
    """Return a tile's weights, [1, 1, h, w]: highest in its middle, never quite 0 at its edge."""
    ramps = []
    for side in part.shape[2:]:
        middle = (side - 1) / 2
        at = torch.arange(side, device=part.device, dtype=part.dtype)
        ramps.append(1 - (at - middle).abs() / (middle + 1))
    return (ramps[0][:, None] * ramps[1][None, :])[None, None]
