"""Tiles that cannot be seen: a network of short sight gives the same with them as without."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from engine.pictures.tiles import Tiling, tiled


def picture(height: int, width: int, channels: int = 3) -> Tensor:
    """Return noise in 0…1."""
    return torch.rand((1, channels, height, width), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("length", [1, 31, 32, 33, 40, 100, 257])
def test_tiles_cover_a_side_and_overlap_enough(length: int) -> None:
    tiling = Tiling(tile=32, overlap=12)
    starts = tiling.starts(length)
    assert starts[0] == 0
    assert starts[-1] + 32 >= length
    assert starts[-1] == max(0, length - 32)
    assert all(0 < b - a <= 32 - 12 for a, b in pairwise(starts))


@pytest.mark.parametrize("length", [20, 32, 33, 50, 100, 257])
@pytest.mark.parametrize("outside", [1, 4])
def test_weights_add_up_to_one(length: int, outside: int) -> None:
    tiling = Tiling(tile=32, overlap=12, outside=outside)
    total = torch.zeros(length * outside)
    for start, weight in zip(tiling.starts(length), tiling.weights(length), strict=True):
        total[start * outside : start * outside + len(weight)] += weight
        assert weight.min() >= 0
    assert (total - 1).abs().max() < 1e-6


@pytest.mark.parametrize("size", [(32, 32), (33, 70), (100, 20), (101, 97)])
def test_a_network_of_short_sight_is_not_changed_by_tiles(size: tuple[int, int]) -> None:
    kernel = torch.randn((3, 3, 7, 7), generator=torch.Generator().manual_seed(1))

    def blur(x: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(x, kernel, padding=3)

    x = picture(*size)
    difference = tiled(blur, x, Tiling(tile=32, overlap=12)) - blur(x)
    assert difference.abs().max() < 1e-4


@pytest.mark.parametrize(("inside", "outside"), [(1, 4), (8, 1), (2, 3)])
def test_units_of_input_and_output_may_differ(inside: int, outside: int) -> None:
    def resize(x: Tensor) -> Tensor:
        small = torch.nn.functional.avg_pool2d(x, inside)
        return small.repeat_interleave(outside, 2).repeat_interleave(outside, 3)

    x = picture(50 * inside, 41 * inside)
    tiling = Tiling(tile=16, overlap=6, inside=inside, outside=outside)
    found = tiled(resize, x, tiling)
    assert found.shape == (1, 3, 50 * outside, 41 * outside)
    assert (found - resize(x)).abs().max() < 1e-6


def test_tiles_that_disagree_fade_into_each_other() -> None:
    levels = iter(range(100))

    def paint(x: Tensor) -> Tensor:
        return torch.full_like(x, float(next(levels)))

    row = tiled(paint, picture(16, 64), Tiling(tile=16, overlap=8))[0, 0, 8]
    # The next tile says one more; it takes half an overlap, four pixels, to go there.
    assert row.diff().min() >= 0
    assert row.diff().max() <= 0.26


def test_no_call_sees_more_than_a_tile() -> None:
    seen = []

    def watch(x: Tensor) -> Tensor:
        seen.append(tuple(x.shape[2:]))
        return x

    tiled(watch, picture(100, 30), Tiling(tile=32, overlap=8))
    assert set(seen) == {(32, 30)}
    assert len(seen) == 4
