"""A relief: solid shapes pile up as heights, each with its paint, before light falls on them.

Shapes are given in *figure units*: x to the right and y up from the middle of the feet, 1.0 about
a figure's height. Depth z points at the viewer, in the same unit. The canvas maps them to pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Point = tuple[float, float]
Colour = tuple[float, float, float]
Window = tuple[slice, slice]

SIZE = 256
"""Side of the drawing in pixels; twice the finished picture's."""


@dataclass(frozen=True)
class Paint:
    """How a shape departs from the bare material."""

    tone: float = 1.0  # multiplies the material's colour
    ink: float = 0.0  # 0 … 1, mixes in the material's contrast colour (eyes, brows, hair)
    tint: Colour | None = None  # a colour of its own (blade, pages, petals)
    glows: bool = False  # shines with its tint, whatever the light


BARE = Paint()


@dataclass(frozen=True)
class Halo:
    """A soft light around a lamp, in picture units."""

    x: float
    y: float
    radius: float


@dataclass
class Canvas:
    """The relief being built: one value a pixel for height and for each kind of paint."""

    centre: float  # picture units (0 … 1), where x = 0 stands
    floor: float  # picture units, where y = 0 stands
    scale: float  # picture units per figure unit
    height: Array = field(default_factory=lambda: np.zeros((SIZE, SIZE), np.float32))
    mask: Mask = field(default_factory=lambda: np.zeros((SIZE, SIZE), np.bool_))
    tone: Array = field(default_factory=lambda: np.ones((SIZE, SIZE), np.float32))
    ink: Array = field(default_factory=lambda: np.zeros((SIZE, SIZE), np.float32))
    tint: Array = field(default_factory=lambda: np.zeros((SIZE, SIZE, 3), np.float32))
    tinted: Mask = field(default_factory=lambda: np.zeros((SIZE, SIZE), np.bool_))
    glowing: Mask = field(default_factory=lambda: np.zeros((SIZE, SIZE), np.bool_))
    halos: list[Halo] = field(default_factory=list)

    def capsule(
        self, a: Point, b: Point, radius: float, end: float, z: float, paint: Paint = BARE
    ) -> None:
        """Add a limb from a to b, its radius going from `radius` to `end`."""
        margin = max(radius, end)
        window, x, y = self._window(
            min(a[0], b[0]) - margin,
            min(a[1], b[1]) - margin,
            max(a[0], b[0]) + margin,
            max(a[1], b[1]) + margin,
        )
        dx, dy = b[0] - a[0], b[1] - a[1]
        along = ((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy + 1e-9)
        along = np.clip(along, 0, 1)
        radii = radius + (end - radius) * along
        away = (x - a[0] - along * dx) ** 2 + (y - a[1] - along * dy) ** 2
        self._put(window, np.sqrt(np.maximum(radii * radii - away, 0)), away < radii**2, z, paint)

    def ellipsoid(
        self,
        centre: Point,
        rx: float,
        ry: float,
        z: float,
        paint: Paint = BARE,
        *,
        angle: float = 0.0,
        depth: float | None = None,
        lobes: tuple[int, float] | None = None,
    ) -> None:
        """Add a ball; `lobes` = (count, height) makes rays on it, as in a mane."""
        reach = max(rx, ry)
        window, x, y = self._window(
            centre[0] - reach, centre[1] - reach, centre[0] + reach, centre[1] + reach
        )
        x, y = x - centre[0], y - centre[1]
        if angle:
            cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            x, y = x * cos + y * sin, y * cos - x * sin
        inside = 1 - (x / rx) ** 2 - (y / ry) ** 2
        height = (min(rx, ry) if depth is None else depth) * np.sqrt(np.maximum(inside, 0))
        if lobes:
            height = height + lobes[1] * np.cos(lobes[0] * np.arctan2(y, x)) * np.clip(
                2 - 2 * inside, 0, 1
            )
        self._put(window, height, inside > 0, z, paint)

    def turned(
        self,
        profile: Sequence[Point],
        z: float,
        paint: Paint = BARE,
        *,
        x: float = 0.0,
        depth: float = 0.7,
        folds: tuple[float, float, float] | None = None,
    ) -> None:
        """Add a body turned on a lathe: `profile` lists (y, half width) from the bottom up.

        `folds` = (count, height, phase) drapes it, more so towards the bottom.
        """
        heights = [point[0] for point in profile]
        widths = [point[1] for point in profile]
        reach = max(widths)
        window, gx, gy = self._window(x - reach, heights[0], x + reach, heights[-1])
        if gy.size == 0:
            return
        width = np.interp(gy[:, :1], heights, widths).astype(np.float32)
        width = np.maximum(ndimage.uniform_filter1d(width, 5, axis=0, mode="nearest"), 1e-4)
        across = (gx - x) / width
        inside = (np.abs(across) < 1) & (gy >= heights[0]) & (gy <= heights[-1])
        height = depth * width * np.sqrt(np.maximum(1 - across * across, 0))
        if folds:
            count, rise, phase = folds
            drop = np.clip((heights[-1] - gy) / (heights[-1] - heights[0]), 0, 1)
            wave = np.cos(count * np.arcsin(np.clip(across, -1, 1)) + phase)
            height = height + rise * wave * (0.15 + 0.85 * drop)
        self._put(window, height, inside, z, paint)

    def slab(
        self, points: Sequence[Point], z: float, paint: Paint = BARE, *, bevel: float = 0.02
    ) -> None:
        """Add a flat plate with bevelled edges, `bevel` wide and high."""
        xs, ys = [point[0] for point in points], [point[1] for point in points]
        window, x, _ = self._window(min(xs), min(ys), max(xs), max(ys))
        rows, columns = x.shape
        if rows < 2 or columns < 2:
            return
        left, top = window[1].start, window[0].start
        outline = Image.new("L", (columns, rows))
        ImageDraw.Draw(outline).polygon(
            [(px - left, py - top) for px, py in map(self._pixel, points)], fill=255
        )
        inside = np.asarray(outline) > 0
        reach = max(1, round(bevel * self.scale * SIZE))
        rise = ndimage.uniform_filter(inside.astype(np.float32), 2 * reach + 1, mode="constant")
        self._put(window, np.maximum(rise * 2 - 1, 0) * bevel, inside, z, paint)

    def halo(self, centre: Point, radius: float) -> None:
        """Remember a lamp's light, to be laid over the finished picture."""
        x, y = self._pixel(centre)
        self.halos.append(Halo(x / SIZE, y / SIZE, radius * self.scale))

    def _pixel(self, point: Point) -> Point:
        x, y = point
        return (
            (self.centre + self.scale * x) * SIZE,
            (self.floor - self.scale * y) * SIZE,
        )

    def _window(self, x0: float, y0: float, x1: float, y1: float) -> tuple[Window, Array, Array]:
        """Cut out the pixels around a box; give their figure coordinates, broadcast to 2-D."""
        left, bottom = self._pixel((x0, y0))
        right, top = self._pixel((x1, y1))
        rows = slice(max(0, int(top) - 1), max(0, min(SIZE, int(bottom) + 2)))
        columns = slice(max(0, int(left) - 1), max(0, min(SIZE, int(right) + 2)))
        per_pixel = 1 / (SIZE * self.scale)
        x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) * per_pixel
        y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * per_pixel
        grid_x, grid_y = np.meshgrid(x - self.centre / self.scale, self.floor / self.scale - y)
        return (rows, columns), grid_x.astype(np.float32), grid_y.astype(np.float32)

    def _put(self, window: Window, height: Array, inside: Mask, z: float, paint: Paint) -> None:
        """Let a shape stand out where it is the highest so far."""
        height = height + z
        wins = inside & ((height > self.height[window]) | ~self.mask[window])
        self.height[window][wins] = height[wins]
        self.mask[window][wins] = True
        self.tone[window][wins] = paint.tone
        self.ink[window][wins] = paint.ink
        self.tinted[window][wins] = paint.tint is not None
        self.glowing[window][wins] = paint.glows
        if paint.tint is not None:
            self.tint[window][wins] = paint.tint
