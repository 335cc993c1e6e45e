"""Run a network over a picture tile by tile, and blend the tiles so that none can be seen.

Tiles overlap. A network sees no picture beyond a tile's edge, so its output near the edge is worth
little: the outer quarter of an overlap is dropped, and across the rest one tile fades into the
next. Weights add up to one everywhere. For a network whose receptive field is smaller than that
quarter, the result equals that of the whole picture.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.pictures import tile_grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Describe how a picture is cut, in units that a network maps one to one.

    tile: a tile's side; overlap: what two neighbours share at least; inside, outside: how many
    pixels of the network's input and output a unit has (an 8 × upscaler: 1 and 8; a VAE's encoder:
    8 and 1).
    """

    tile: int
    overlap: int
    inside: int = 1
    outside: int = 1

    def starts(self, length: int) -> list[int]:
        """Return where tiles begin along a side of `length` units, evenly spread."""
        return tile_grid.starts(length, self.tile, self.overlap)

    def weights(self, length: int) -> list[Tensor]:
        """Return each tile's weights along a side, fp32 over its output's pixels."""
        size = min(self.tile, length) * self.outside
        starts = [start * self.outside for start in self.starts(length)]
        overlap = self.overlap * self.outside
        inwards = torch.arange(size) + 0.5
        rising = ((inwards - overlap / 4) / (overlap / 2)).clamp(0, 1)
        total = torch.zeros(length * self.outside)
        weights = []
        for start in starts:
            weight = torch.ones(size)
            weight *= rising if start else 1
            weight *= rising.flip(0) if start != starts[-1] else 1
            weights.append(weight)
            total[start : start + size] += weight
        return [w / total[s : s + size] for s, w in zip(starts, weights, strict=True)]


@dataclass(frozen=True, slots=True)
class Piece:
    """A tile of a network's input, and where its output goes with what weight.

    x: a view [1, C, t·inside, t·inside]; weight: [t·outside, t·outside]; rows and columns: of the
    output.
    """

    x: Tensor
    weight: Tensor
    rows: slice
    columns: slice


def cut(x: Tensor, tiling: Tiling) -> Iterator[Piece]:
    """Yield the tiles of x, [1, C, H·inside, W·inside]."""
    height, width = (side // tiling.inside for side in x.shape[2:])
    for top, down in zip(tiling.starts(height), tiling.weights(height), strict=True):
        for left, across in zip(tiling.starts(width), tiling.weights(width), strict=True):
            # Slices end at the picture's end by themselves.
            inside, outside = (
                [slice(at * unit, (at + tiling.tile) * unit) for at in (top, left)]
                for unit in (tiling.inside, tiling.outside)
            )
            yield Piece(x[..., inside[0], inside[1]], down[:, None] * across, *outside)


def tiled(call: Callable[[Tensor], Tensor], x: Tensor, tiling: Tiling) -> Tensor:
    """Return call(x), made of calls on tiles of x.

    x: [1, C, H·inside, W·inside]; returns [1, K, H·outside, W·outside], fp32 in the machine's
    memory, where a large picture has more room than on a device.
    """
    height, width = (side // tiling.inside * tiling.outside for side in x.shape[2:])
    result: Tensor | None = None
    for piece in cut(x, tiling):
        answer = call(piece.x).float().cpu()
        if result is None:
            result = torch.zeros((1, answer.shape[1], height, width))
        result[..., piece.rows, piece.columns] += answer * piece.weight
    assert result is not None  # there is at least one tile
    return result
