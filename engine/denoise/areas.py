"""Where and when texts for a part of a picture act: boxes with soft edges, masks, noise levels.

As in ComfyUI's ConditioningSetArea, ConditioningSetMask and ConditioningSetTimestepRange.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from engine.denoise.conditions import Box, Place
from engine.loading.noise_schedule import NoiseSchedule, SigmaTable
from engine.recipe.conditions import WHOLE
from engine.recipe.parts import Area

EDGE: Final = 8  # latents on which a box fades, at most a quarter of its side
LEAST: Final = 8  # latents of a side of a mask's box


def place(
    area: Area,
    size: tuple[int, int],
    schedule: SigmaTable,
    masks: Mapping[str, Tensor],
    device: torch.device,
    *,
    whole: int = 1,
    tiled: bool = False,
) -> Place:
    """Return where an area acts on latents of a size: height, width.

    masks: [1, 1, H, W] in 0 … 1, by name; whole: of so many latents the network takes multiples;
    tiled: whether it sees tiles of the picture, and so no boxes.
    """
    levels = _level(schedule, area.end), _level(schedule, area.start)
    if area.mask is None and area.box == WHOLE.box:
        if area.strength == 1 and levels == (0.0, math.inf):
            return Place()
        return Place(levels=levels)
    box = _box(area, size)
    if area.mask is None:
        weights = _faded(box, size) * area.strength
    else:
        mask = interpolate(masks[area.mask], size, mode="bilinear")
        box = _bounds(mask) if area.bounds else box
        weights = torch.zeros_like(mask)
        box.of(weights).copy_(box.of(mask) * area.strength)
    seen = _grown(box, size, whole)
    everything = tiled or seen == Box(0, 0, *size)
    return Place(None if everything else seen, weights.to(device), levels)


def _level(schedule: SigmaTable, share: float) -> float:
    """Return the σ at a share of the way from noise to picture."""
    if share <= 0:
        return math.inf
    if share >= 1:
        return 0.0
    span = 999.0 if isinstance(schedule, NoiseSchedule) else 1.0
    return float(schedule.sigma((1 - share) * span))


def _box(area: Area, size: tuple[int, int]) -> Box:
    """Return an area's box in whole latents, rounded as ComfyUI does."""
    height, width = size
    down, across = round(area.top * height), round(area.left * width)
    down, across = min(down, height - 1), min(across, width - 1)
    sides = max(1, round(area.height * height)), max(1, round(area.width * width))
    return Box(down, across, min(sides[0], height - down), min(sides[1], width - across))


def _bounds(mask: Tensor) -> Box:
    """Return the box around what is not black in a mask, [1, 1, h, w]."""
    rows, columns = (mask.abs().amax((0, 1, axis)).nonzero().flatten() for axis in (3, 2))
    height, width = mask.shape[2:]
    if not len(rows):
        return Box(0, 0, min(LEAST, height), min(LEAST, width))
    top, left = int(rows[0]), int(columns[0])
    tall, wide = int(rows[-1]) - top + 1, int(columns[-1]) - left + 1
    return Box(top, left, min(max(LEAST, tall), height - top), min(max(LEAST, wide), width - left))


def _faded(box: Box, size: tuple[int, int]) -> Tensor:
    """Return weights of 1 in a box, which fade where it does not end with the picture."""
    sides = []
    for start, length, whole in ((box.top, box.height, size[0]), (box.left, box.width, size[1])):
        side, edge = torch.ones(length), min(EDGE, length // 4)
        ramp = torch.arange(1, edge + 1) / max(1, edge)
        if start:
            side[:edge] *= ramp
        if start + length < whole:
            side[length - edge :] *= ramp.flip(0)
        sides.append(side)
    weights = torch.zeros(1, 1, *size)
    box.of(weights).copy_(sides[0][:, None] * sides[1])
    return weights


def _grown(box: Box, size: tuple[int, int], whole: int) -> Box:
    """Return the least box around one whose sides are multiples, as far as the picture goes."""
    spans = []
    for start, length, end in ((box.top, box.height, size[0]), (box.left, box.width, size[1])):
        first = start // whole * whole
        spans.append((first, min(end, -(-(start + length) // whole) * whole) - first))
    return Box(spans[0][0], spans[1][0], spans[0][1], spans[1][1])
