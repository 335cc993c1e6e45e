"""The heads of the five people: clear faces, and headgear that tells them apart."""

from collections.abc import Callable

import numpy as np

from engine.starter.render.canvas import Canvas, Paint, Point

SIDES = (-1, 1)
HEAD = 0.735  # height of the head's middle

HAIR = Paint(ink=0.42)
EYE = Paint(ink=1.0)
BROW = Paint(ink=0.85)
LIP = Paint(ink=0.75)
CAP = Paint(tint=(0.11, 0.11, 0.18))
CAP_TOP = Paint(tint=(0.20, 0.20, 0.31))
BEARD = Paint(ink=0.26)
PLUME = Paint(tint=(0.80, 0.08, 0.12))
JEWEL = Paint(tint=(0.88, 0.08, 0.16))
CROWN = Paint(tint=(1.0, 0.78, 0.16))
HALO = Paint(tint=(1.0, 0.87, 0.36))
TASSEL = Paint(tint=(0.95, 0.72, 0.16))
SHADE = Paint(tone=0.78)
DEEP = Paint(tone=0.60)
BRIGHT = Paint(tone=1.14)


def _face(canvas: Canvas, x: float, *, mouth: bool = True) -> None:
    """Draw head, eyes, brows, nose and mouth."""
    y = HEAD
    canvas.ellipsoid((x, y), 0.118, 0.132, 0.15, depth=0.11)
    for side in SIDES:
        canvas.ellipsoid((x + side * 0.048, y + 0.008), 0.025, 0.030, 0.26, EYE, depth=0.01)
        inner, outer = (x + side * 0.020, y + 0.058), (x + side * 0.080, y + 0.056)
        canvas.capsule(inner, outer, 0.012, 0.009, 0.26, BROW)
    canvas.capsule((x, y + 0.010), (x, y - 0.030), 0.011, 0.021, 0.262, BRIGHT)
    if mouth:
        for side in SIDES:
            canvas.capsule((x, y - 0.079), (x + side * 0.042, y - 0.066), 0.014, 0.010, 0.235, LIP)


def _beard(canvas: Canvas, x: float, length: float, width: float) -> None:
    top = HEAD - 0.045
    profile = [
        (top - length, 0.018),
        (top - length * 0.75, width * 0.55),
        (top - length * 0.3, width),
        (top, width * 0.95),
    ]
    canvas.turned(profile, 0.235, BEARD, x=x, depth=0.45, folds=(9, 0.012, 0.0))
    for side in SIDES:  # moustache
        canvas.capsule((x, top + 0.003), (x + side * 0.065, top - 0.02), 0.022, 0.012, 0.275, BEARD)


def _scholar_head(canvas: Canvas, x: float, rng: np.random.Generator) -> None:
    for side in SIDES:
        canvas.capsule(
            (x + side * 0.108, HEAD + 0.04),
            (x + side * 0.108, HEAD - 0.06),
            0.036,
            0.03,
            0.16,
            BEARD,
        )
    _face(canvas, x, mouth=False)
    _beard(canvas, x, rng.uniform(0.22, 0.25), 0.108)
    y = HEAD + 0.085
    canvas.turned([(y - 0.015, 0.124), (y + 0.06, 0.112)], 0.20, CAP, x=x)
    tilt = rng.uniform(-0.012, 0.012)
    board = [(-0.225, 0.065 - tilt), (0, 0.015), (0.225, 0.065 + tilt), (0, 0.115)]
    canvas.slab([(x + dx, y + dy - 0.022) for dx, dy in board], 0.345, CAP, bevel=0.01)
    canvas.slab([(x + dx, y + dy) for dx, dy in board], 0.355, CAP_TOP, bevel=0.014)
    corner = x + 0.175, y + 0.062
    canvas.capsule((x, y + 0.068), corner, 0.011, 0.011, 0.39, TASSEL)
    canvas.capsule(corner, (corner[0], y - 0.05), 0.011, 0.014, 0.39, TASSEL)
    canvas.ellipsoid((corner[0], y - 0.06), 0.022, 0.036, 0.39, TASSEL)


def _warrior_head(canvas: Canvas, x: float, rng: np.random.Generator) -> None:
    y = HEAD
    crest = [
        (-0.05, 0.10), (-0.165, 0.05), (-0.190, 0.12), (-0.12, 0.190),
        (0.0, 0.215), (0.12, 0.190), (0.190, 0.12), (0.165, 0.05), (0.05, 0.10),
    ]  # fmt: skip
    canvas.slab([(x + dx, y + dy) for dx, dy in crest], 0.10, PLUME, bevel=0.035)
    _face(canvas, x)
    for side in SIDES:  # cheek plates
        plate = [(0.055, 0.09), (0.138, 0.07), (0.138, -0.10), (0.085, -0.145), (0.078, -0.02)]
        canvas.slab([(x + side * dx, y + dy) for dx, dy in plate], 0.245, SHADE, bevel=0.02)
    canvas.ellipsoid((x, y + 0.085), 0.140, 0.085, 0.17, depth=0.12)
    canvas.capsule((x - 0.115, y + 0.062), (x + 0.115, y + 0.062), 0.020, 0.020, 0.265, DEEP)
    canvas.slab(
        [
            (x - 0.022, y + 0.16),
            (x + 0.022, y + 0.16),
            (x + 0.022, y + 0.06),
            (x - 0.022, y + 0.06),
        ],
        0.28,
        PLUME,
        bevel=0.01,
    )


def _king_head(canvas: Canvas, x: float, rng: np.random.Generator) -> None:
    for side in SIDES:
        canvas.capsule(
            (x + side * 0.110, HEAD + 0.05),
            (x + side * 0.125, HEAD - 0.08),
            0.034,
            0.040,
            0.15,
            HAIR,
        )
    _face(canvas, x, mouth=False)
    _beard(canvas, x, rng.uniform(0.12, 0.14), 0.106)
    y = HEAD + 0.075
    tall = rng.uniform(0.135, 0.150)
    points: list[Point] = [(x - 0.128, y)]
    for spike in range(5):
        at = -0.150 + 0.075 * spike
        points.append((x + at, y + tall))
        if spike < 4:
            points.append((x + at + 0.0375, y + tall * 0.52))
    points.append((x + 0.128, y))
    canvas.slab(points, 0.29, CROWN, bevel=0.02)
    canvas.capsule((x - 0.118, y + 0.012), (x + 0.118, y + 0.012), 0.024, 0.024, 0.30, CROWN)
    for spike in range(5):
        at = x - 0.150 + 0.075 * spike
        canvas.ellipsoid((at, y + tall), 0.022, 0.022, 0.31, JEWEL)
    canvas.ellipsoid((x, y + 0.045), 0.028, 0.030, 0.315, JEWEL)


def _dancer_head(canvas: Canvas, x: float, rng: np.random.Generator) -> None:
    canvas.ellipsoid((x, HEAD + 0.160), 0.062, 0.054, 0.12, HAIR)
    canvas.ellipsoid((x, HEAD + 0.028), 0.128, 0.130, 0.12, HAIR)
    _face(canvas, x)
    for side in SIDES:
        canvas.capsule(
            (x, HEAD + 0.125), (x + side * 0.112, HEAD + 0.055), 0.040, 0.026, 0.235, HAIR
        )


def _angel_head(canvas: Canvas, x: float, rng: np.random.Generator) -> None:
    y = HEAD + 0.185 + rng.uniform(-0.008, 0.008)
    for step in range(16):  # a ring, seen from a little below
        a, b = (2 * np.pi * (step + turn) / 16 for turn in (0, 1))
        start = x + 0.135 * np.cos(a), y + 0.042 * np.sin(a)
        end = x + 0.135 * np.cos(b), y + 0.042 * np.sin(b)
        canvas.capsule(start, end, 0.017, 0.017, 0.16 if np.sin(a) > 0 else 0.30, HALO)
    canvas.ellipsoid((x, HEAD + 0.02), 0.138, 0.138, 0.11, HAIR)
    for side in SIDES:
        canvas.capsule(
            (x + side * 0.118, HEAD + 0.03),
            (x + side * 0.135, HEAD - 0.16),
            0.042,
            0.034,
            0.15,
            HAIR,
        )
    _face(canvas, x)
    for side in SIDES:
        canvas.capsule(
            (x, HEAD + 0.125), (x + side * 0.110, HEAD + 0.04), 0.038, 0.028, 0.235, HAIR
        )


DRAW: dict[str, Callable[[Canvas, float, np.random.Generator], None]] = {
    "scholar": _scholar_head,
    "warrior": _warrior_head,
    "king": _king_head,
    "dancer": _dancer_head,
    "angel": _angel_head,
}
"""How each person's head is drawn; x is where its middle stands."""
