"""What people hold: large and plain, so that it survives 128 pixels and the codec."""

from collections.abc import Callable

import numpy as np

from engine.starter.render.canvas import Canvas, Paint, Point

COVER = Paint(tint=(0.30, 0.07, 0.09))
PAGE = Paint(tint=(0.98, 0.94, 0.80))
PRINT = Paint(tint=(0.42, 0.36, 0.34))
STEEL_LIGHT = Paint(tint=(0.97, 0.99, 1.0))
STEEL_DARK = Paint(tint=(0.52, 0.60, 0.74))
BRASS = Paint(tint=(0.86, 0.62, 0.14))
LEATHER = Paint(tint=(0.34, 0.17, 0.09))
IRON = Paint(tint=(0.13, 0.12, 0.14))
FLAME = Paint(tint=(1.0, 0.86, 0.34), glows=True)
FLAME_HEART = Paint(tint=(1.0, 0.98, 0.82), glows=True)
STEM = Paint(tint=(0.16, 0.50, 0.15))
PETAL = Paint(tint=(0.93, 0.13, 0.27))
PETAL_DARK = Paint(tint=(0.72, 0.06, 0.20))
POLLEN = Paint(tint=(1.0, 0.83, 0.18))

_Z = 0.40  # in front of every body


def book(canvas: Canvas, hand: Point, rng: np.random.Generator) -> None:
    """Draw an open book, dark covers around cream pages, its middle at `hand`."""
    turn = _turn(hand, rng.uniform(-0.06, 0.06))
    width, half = rng.uniform(0.205, 0.225), rng.uniform(0.13, 0.145)
    for side in (-1, 1):
        cover = [(0, -half - 0.035), (1.12, -half), (1.12, half + 0.045), (0, half + 0.005)]
        page = [(0, -half - 0.005), (0.98, -half + 0.03), (0.98, half + 0.015), (0, half - 0.02)]
        canvas.slab([turn(side * x * width, y) for x, y in cover], _Z, COVER, bevel=0.014)
        canvas.slab([turn(side * x * width, y) for x, y in page], _Z + 0.02, PAGE, bevel=0.02)
        for row in (-0.055, 0.005, 0.065):
            line = turn(side * 0.26 * width, row - 0.01), turn(side * 0.80 * width, row + 0.01)
            canvas.capsule(*line, 0.0095, 0.0095, _Z + 0.045, PRINT)


def sword(canvas: Canvas, hand: Point, rng: np.random.Generator) -> None:
    """Draw a sword raised from `hand`, one half of its blade bright and one dark."""
    turn = _turn(hand, rng.uniform(-0.10, 0.16))
    length, half = rng.uniform(0.46, 0.52), 0.040
    for side, paint in ((-1, STEEL_LIGHT), (1, STEEL_DARK)):
        blade = [(0, 0.06), (side * half, 0.06), (side * half * 0.85, length - 0.09), (0, length)]
        canvas.slab([turn(x, y) for x, y in blade], _Z, paint, bevel=0.008)
    canvas.capsule(turn(0, 0.05), turn(0, -0.10), 0.024, 0.024, _Z, LEATHER)
    canvas.capsule(turn(-0.115, 0.065), turn(0.115, 0.065), 0.026, 0.026, _Z + 0.02, BRASS)
    canvas.ellipsoid(turn(0, -0.12), 0.036, 0.036, _Z, BRASS)


def lantern(canvas: Canvas, hand: Point, rng: np.random.Generator) -> None:
    """Draw a lit lantern on a short handle, held up in `hand`."""
    turn = _turn(hand, rng.uniform(-0.06, 0.06))
    canvas.capsule(turn(0, -0.10), turn(0, 0.09), 0.024, 0.024, _Z, IRON)
    foot = [(-0.110, 0.085), (0.110, 0.085), (0.110, 0.130), (-0.110, 0.130)]
    glass = [(-0.088, 0.120), (0.088, 0.120), (0.088, 0.315), (-0.088, 0.315)]
    roof = [(-0.115, 0.305), (0.115, 0.305), (0.050, 0.370), (-0.050, 0.370)]
    canvas.slab([turn(*point) for point in glass], _Z, FLAME, bevel=0.01)
    canvas.ellipsoid(turn(0, 0.215), 0.042, 0.062, _Z + 0.02, FLAME_HEART)
    for side in (-0.092, 0.092):
        canvas.capsule(turn(side, 0.12), turn(side, 0.31), 0.014, 0.014, _Z + 0.02, IRON)
    canvas.slab([turn(*point) for point in roof], _Z + 0.02, IRON, bevel=0.02)
    canvas.slab([turn(*point) for point in foot], _Z + 0.02, IRON, bevel=0.02)
    canvas.ellipsoid(turn(0, 0.395), 0.030, 0.030, _Z + 0.02, IRON)
    canvas.halo(turn(0, 0.215), 0.30)


def flower(canvas: Canvas, hand: Point, rng: np.random.Generator) -> None:
    """Draw a great red flower on a stem that stands in `hand`."""
    turn = _turn(hand, rng.uniform(-0.12, 0.12))
    canvas.capsule(turn(0, -0.10), turn(0, 0.24), 0.019, 0.016, _Z, STEM)
    canvas.ellipsoid(turn(0.07, 0.07), 0.075, 0.030, _Z, STEM, angle=0.6)
    canvas.ellipsoid(turn(-0.07, 0.11), 0.065, 0.028, _Z, STEM, angle=-0.6 + np.pi)
    first = rng.uniform(0, 1)
    for petal in range(6):
        angle = first + petal * np.pi / 3
        centre = turn(0.080 * np.cos(angle), 0.27 + 0.080 * np.sin(angle))
        paint = PETAL if petal % 2 else PETAL_DARK
        canvas.ellipsoid(centre, 0.070, 0.052, _Z + 0.02, paint, angle=angle, depth=0.03)
    canvas.ellipsoid(turn(0, 0.27), 0.050, 0.050, _Z + 0.06, POLLEN, depth=0.03)


DRAW: dict[str, Callable[[Canvas, Point, np.random.Generator], None]] = {
    "book": book,
    "sword": sword,
    "lantern": lantern,
    "flower": flower,
}


def _turn(origin: Point, angle: float) -> Callable[[float, float], Point]:
    """Give the map from an object's own coordinates to the figure's."""
    cos, sin = float(np.cos(angle)), float(np.sin(angle))

    def to_figure(x: float, y: float) -> Point:
        return origin[0] + x * cos - y * sin, origin[1] + x * sin + y * cos

    return to_figure
