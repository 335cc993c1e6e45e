"""The four animals and the three things."""

from collections.abc import Callable

import numpy as np

from engine.starter.render.canvas import BARE, Canvas, Paint

SIDES = (-1, 1)
EYE = Paint(ink=1.0)
PUPIL = Paint(tint=(0.03, 0.03, 0.03))
AMBER = Paint(tint=(1.0, 0.74, 0.12))
GREEN_EYE = Paint(tint=(0.55, 0.88, 0.25))
NOSE = Paint(ink=0.9)
MANE = Paint(ink=0.45)
SOFT_MANE = Paint(ink=0.28)
HOOF = Paint(ink=0.5)
FAR = Paint(tone=0.70)
DEEP = Paint(tone=0.62)
SHADE = Paint(tone=0.80)
BRIGHT = Paint(tone=1.14)


def horse(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a horse from the side, its head to the left."""
    lift = rng.random() < 0.5
    for x, near in ((-0.15, False), (0.20, False), (-0.22, True), (0.27, True)):
        z, paint = (0.12, BARE) if near else (0.04, FAR)
        if lift and near and x < 0:
            canvas.capsule((x, 0.38), (x - 0.12, 0.27), 0.062, 0.046, z, paint)
            canvas.capsule((x - 0.12, 0.27), (x - 0.06, 0.13), 0.044, 0.034, z, paint)
            canvas.ellipsoid((x - 0.055, 0.115), 0.046, 0.036, z + 0.03, HOOF)
        else:
            canvas.capsule((x, 0.38), (x, 0.19), 0.070, 0.046, z, paint)
            canvas.capsule((x, 0.19), (x, 0.04), 0.042, 0.036, z, paint)
            canvas.ellipsoid((x - 0.012, 0.03), 0.055, 0.038, z + 0.03, HOOF)
    sway = rng.uniform(-0.03, 0.03)
    canvas.capsule((0.33, 0.53), (0.43, 0.42), 0.045, 0.062, 0.06, MANE)
    canvas.capsule((0.43, 0.42), (0.42 + sway, 0.17), 0.062, 0.025, 0.06, MANE)
    canvas.capsule((-0.17, 0.46), (0.20, 0.45), 0.145, 0.145, 0.10)
    canvas.ellipsoid((0.24, 0.46), 0.140, 0.155, 0.13)
    canvas.ellipsoid((-0.20, 0.47), 0.130, 0.150, 0.13)
    hx, hy = -0.35 + rng.uniform(-0.015, 0.015), 0.80 + rng.uniform(-0.02, 0.02)
    for step in range(6):
        t = step / 5
        at = (-0.10 + t * (hx + 0.20), 0.59 + t * (hy - 0.55))
        canvas.ellipsoid(at, 0.072, 0.052, 0.10, MANE, angle=-0.7)
    canvas.capsule((-0.22, 0.52), (hx + 0.06, hy), 0.125, 0.082, 0.13)
    for dx in (0.03, 0.085):
        ear = [(hx + dx - 0.03, hy + 0.05), (hx + dx + 0.04, hy + 0.05), (hx + dx, hy + 0.16)]
        canvas.slab(ear, 0.14, bevel=0.015)
    canvas.capsule((hx + 0.05, hy + 0.005), (hx - 0.105, hy - 0.155), 0.092, 0.062, 0.15)
    canvas.ellipsoid((hx - 0.105, hy - 0.165), 0.068, 0.062, 0.17)
    canvas.capsule((hx + 0.01, hy + 0.10), (hx - 0.02, hy + 0.05), 0.034, 0.02, 0.21, MANE)
    canvas.ellipsoid((hx - 0.01, hy + 0.0), 0.026, 0.026, 0.245, EYE, depth=0.01)
    canvas.ellipsoid((hx - 0.135, hy - 0.155), 0.016, 0.018, 0.235, EYE, depth=0.01)
    canvas.capsule((hx - 0.145, hy - 0.20), (hx - 0.09, hy - 0.20), 0.009, 0.008, 0.235, EYE)


def lion(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a lion from the side whose great head looks at the viewer."""
    for x, near in ((-0.10, False), (0.24, False), (-0.22, True), (0.33, True)):
        z, paint = (0.13, BARE) if near else (0.04, FAR)
        canvas.capsule((x, 0.34), (x - 0.01, 0.06), 0.082, 0.060, z, paint)
        canvas.ellipsoid((x - 0.04, 0.038), 0.085, 0.042, z + 0.04, paint)
    curl = rng.uniform(-0.03, 0.03)
    canvas.capsule((0.36, 0.46), (0.47, 0.50), 0.036, 0.032, 0.05)
    canvas.capsule((0.47, 0.50), (0.475 + curl, 0.70), 0.032, 0.028, 0.05)
    canvas.ellipsoid((0.475 + curl, 0.745), 0.056, 0.078, 0.07, MANE)
    canvas.capsule((-0.14, 0.40), (0.25, 0.40), 0.155, 0.135, 0.10)
    canvas.ellipsoid((0.28, 0.38), 0.120, 0.150, 0.13)
    x, y = -0.19 + rng.uniform(-0.015, 0.015), 0.60 + rng.uniform(-0.02, 0.02)
    canvas.ellipsoid((x, y), 0.275, 0.285, 0.15, MANE, depth=0.13, lobes=(14, 0.030))
    canvas.ellipsoid((x, y), 0.205, 0.215, 0.20, SOFT_MANE, depth=0.10, lobes=(12, 0.026))
    for side in SIDES:
        canvas.ellipsoid((x + side * 0.125, y + 0.150), 0.055, 0.055, 0.31)
    canvas.ellipsoid((x, y), 0.150, 0.165, 0.26, depth=0.08)
    for side in SIDES:
        canvas.ellipsoid((x + side * 0.038, y - 0.078), 0.056, 0.050, 0.33, BRIGHT, depth=0.03)
        canvas.ellipsoid((x + side * 0.062, y + 0.035), 0.024, 0.026, 0.345, EYE, depth=0.01)
        start, end = (x + side * 0.03, y + 0.078), (x + side * 0.095, y + 0.085)
        canvas.capsule(start, end, 0.012, 0.010, 0.34, Paint(ink=0.6))
        canvas.capsule((x, y - 0.105), (x + side * 0.05, y - 0.115), 0.010, 0.009, 0.365, NOSE)
    canvas.capsule((x, y + 0.05), (x, y - 0.02), 0.028, 0.038, 0.34)
    canvas.slab(
        [(x - 0.05, y - 0.02), (x + 0.05, y - 0.02), (x, y - 0.075)], 0.385, NOSE, bevel=0.015
    )


def owl(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a sitting owl from the front, with amber eyes."""
    for side in SIDES:
        for toe in (-0.055, 0.0, 0.055):
            canvas.capsule(
                (side * 0.11 + toe, 0.05),
                (side * 0.11 + toe, 0.01),
                0.028,
                0.024,
                0.24,
                Paint(ink=0.5),
            )
        tuft = [(0.06, 0.86), (0.16, 0.99), (0.255, 1.01), (0.235, 0.80)]
        canvas.slab([(side * x, y) for x, y in tuft], 0.20, SHADE, bevel=0.035)
    canvas.ellipsoid((0, 0.36), 0.275, 0.37, 0.05, depth=0.20)
    for row in range(4):
        for i in range(-2, 3):
            x = (i + 0.5 * (row % 2)) * 0.085
            if abs(x) < 0.19:
                y = 0.50 - row * 0.095
                paint = Paint(ink=0.22 if (i + row) % 2 else 0.06)
                canvas.ellipsoid((x, y), 0.050, 0.062, 0.235 - 1.4 * x * x, paint, depth=0.03)
    spread = rng.uniform(0.10, 0.18)
    for side in SIDES:
        for i in range(3):
            at = side * (0.255 + 0.012 * i), 0.40 - 0.075 * i
            paint = Paint(tone=0.88 - 0.10 * (i % 2))
            canvas.ellipsoid(
                at, 0.085, 0.245 - 0.03 * i, 0.15 + 0.02 * i, paint, angle=side * spread, depth=0.07
            )
    turn = rng.uniform(-0.02, 0.02)
    canvas.ellipsoid((turn, 0.76), 0.265, 0.205, 0.12, depth=0.17)
    for side in SIDES:
        x = turn + side * 0.112
        canvas.ellipsoid(
            (x, 0.765), 0.128, 0.132, 0.24, Paint(tone=1.18), depth=0.05, lobes=(12, 0.012)
        )
        canvas.ellipsoid((x, 0.765), 0.078, 0.078, 0.285, AMBER, depth=0.02)
        canvas.ellipsoid((x, 0.765), 0.042, 0.042, 0.312, PUPIL, depth=0.015)
    beak = [(turn - 0.042, 0.735), (turn + 0.042, 0.735), (turn, 0.615)]
    canvas.slab(beak, 0.33, Paint(ink=0.65), bevel=0.03)


def cat(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a sitting cat from the front, its tail at one side."""
    tip = 0.40 + rng.uniform(-0.04, 0.06)
    canvas.capsule((0.20, 0.07), (0.36, 0.09), 0.055, 0.052, 0.05)
    canvas.capsule((0.36, 0.09), (0.385, tip), 0.052, 0.042, 0.05)
    canvas.ellipsoid((0.385, tip + 0.02), 0.046, 0.056, 0.06, Paint(ink=0.35))
    body = [(0.0, 0.235), (0.12, 0.265), (0.32, 0.215), (0.52, 0.150), (0.62, 0.11)]
    canvas.turned(body, 0.05, depth=0.6)
    for side in SIDES:
        canvas.ellipsoid((side * 0.185, 0.12), 0.105, 0.125, 0.14)
        canvas.capsule((side * 0.075, 0.44), (side * 0.078, 0.06), 0.068, 0.054, 0.21)
        canvas.ellipsoid((side * 0.082, 0.038), 0.072, 0.042, 0.29, BRIGHT)
    x, y = rng.uniform(-0.03, 0.03), 0.735 + rng.uniform(-0.01, 0.01)
    for side in SIDES:
        ear = [(0.03, 0.13), (0.195, 0.285), (0.215, 0.03)]
        inner = [(0.095, 0.13), (0.172, 0.225), (0.185, 0.09)]
        canvas.slab([(x + side * dx, y + dy) for dx, dy in ear], 0.16, bevel=0.03)
        canvas.slab(
            [(x + side * dx, y + dy) for dx, dy in inner], 0.20, Paint(ink=0.45), bevel=0.01
        )
    canvas.ellipsoid((x, y), 0.225, 0.185, 0.15, depth=0.16)
    for side in SIDES:
        eye = x + side * 0.095, y + 0.015
        canvas.ellipsoid(eye, 0.056, 0.050, 0.275, GREEN_EYE, depth=0.02)
        canvas.ellipsoid(eye, 0.018, 0.045, 0.30, PUPIL, depth=0.015)
        canvas.ellipsoid((x + side * 0.042, y - 0.085), 0.056, 0.046, 0.285, BRIGHT, depth=0.03)
        for rise in (-0.02, 0.025):
            start = x + side * 0.085, y - 0.08 + rise * 0.4
            canvas.capsule(
                start, (x + side * 0.25, y - 0.08 + rise), 0.008, 0.005, 0.32, Paint(ink=0.6)
            )
    nose = [(x - 0.035, y - 0.035), (x + 0.035, y - 0.035), (x, y - 0.075)]
    canvas.slab(nose, 0.33, Paint(tint=(0.86, 0.45, 0.46)), bevel=0.012)


def vase(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw an amphora with two handles and painted bands."""
    belly = 0.27 * rng.uniform(0.93, 1.1)
    neck = 0.72 + rng.uniform(-0.02, 0.02)
    for side in SIDES:
        canvas.capsule((side * 0.09, neck + 0.06), (side * 0.25, neck + 0.05), 0.030, 0.030, 0.08)
        canvas.capsule((side * 0.25, neck + 0.05), (side * belly * 0.85, 0.56), 0.030, 0.028, 0.08)
    profile = [
        (0.0, 0.16), (0.04, 0.155), (0.075, 0.08), (0.12, 0.11), (0.28, belly * 0.93),
        (0.42, belly), (0.56, belly * 0.74), (neck - 0.06, 0.10), (neck + 0.10, 0.092),
        (neck + 0.16, 0.175), (neck + 0.20, 0.175),
    ]  # fmt: skip
    canvas.turned(profile, 0.05)
    canvas.ellipsoid((0, neck + 0.195), 0.155, 0.026, 0.18, Paint(ink=0.6), depth=0.005)
    band = Paint(ink=0.42)
    for y, share in ((0.545, 0.775), (0.30, 0.955)):
        canvas.turned([(y - 0.022, belly * share), (y + 0.022, belly * share)], 0.068, band)
    for i in range(-2, 3):
        angle = i * 0.5
        x, z = np.sin(angle) * belly * 0.93, 0.055 + 0.7 * belly * np.cos(angle)
        width = 0.042 * float(np.cos(angle)) + 0.004
        canvas.ellipsoid((x, 0.425), width, 0.062, z - 0.01, band, depth=0.03)


def column(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a fluted column with a scrolled capital."""
    half = 0.165 * rng.uniform(0.92, 1.1)
    canvas.turned([(0.09, half), (0.84, half * 0.88)], 0.06, Paint(tone=0.85))
    for i in range(-2, 3):
        x = float(np.sin(i * 0.54)) * half
        width = 0.155 * half * float(np.cos(i * 0.45)) + 0.004
        z = 0.06 + 0.7 * half * float(np.cos(i * 0.54)) - 0.012
        canvas.capsule((x, 0.13), (x * 0.88, 0.80), width, width, z, BRIGHT)
    foot = [
        (0.0, half * 1.5),
        (0.045, half * 1.48),
        (0.05, half * 1.2),
        (0.085, half * 1.32),
        (0.12, half * 1.1),
    ]
    canvas.turned(foot, 0.09)
    canvas.turned([(0.80, half * 0.95), (0.85, half * 1.15)], 0.10)
    top = [(-1.75, 0.925), (1.75, 0.925), (1.75, 1.0), (-1.75, 1.0)]
    canvas.slab([(x * half, y) for x, y in top], 0.22, bevel=0.02)
    canvas.turned([(0.84, half * 1.4), (0.93, half * 1.4)], 0.10)
    for side in SIDES:
        x = side * half * 1.38
        canvas.ellipsoid((x, 0.862), 0.088, 0.088, 0.22, depth=0.05)
        canvas.ellipsoid((x, 0.862), 0.056, 0.056, 0.262, Paint(ink=0.5), depth=0.015)
        canvas.ellipsoid((x, 0.862), 0.028, 0.028, 0.29, BRIGHT, depth=0.02)


def tree(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a round-headed tree with roots and boughs."""
    trunk = Paint(ink=0.30, tone=0.85)
    top = rng.uniform(-0.03, 0.03)
    for x in (-0.17, 0.18, 0.03):
        canvas.capsule((0, 0.12), (x, 0.012), 0.060, 0.026, 0.12, trunk)
    canvas.capsule((0, 0.04), (top, 0.45), 0.080, 0.058, 0.13, trunk)
    for x, y in ((-0.22, 0.60), (0.22, 0.62), (0.0, 0.68)):
        canvas.capsule((top, 0.40), (x, y), 0.046, 0.028, 0.12, trunk)
    crown = (
        (-0.22, 0.60, 0.15), (0.23, 0.62, 0.15), (-0.11, 0.76, 0.17), (0.13, 0.77, 0.165),
        (0.0, 0.88, 0.13), (0.0, 0.64, 0.155), (-0.30, 0.68, 0.095), (0.31, 0.70, 0.095),
        (-0.20, 0.86, 0.095), (0.20, 0.87, 0.095),
    )  # fmt: skip
    for index, (x, y, radius) in enumerate(crown):
        at = x + rng.uniform(-0.018, 0.018), y + rng.uniform(-0.018, 0.018)
        paint = Paint(tone=0.90 + 0.07 * (index % 4))
        lobes = (9, 0.018)
        canvas.ellipsoid(at, radius, radius * 0.9, 0.14 + rng.uniform(0, 0.05), paint, lobes=lobes)


DRAW: dict[str, Callable[[Canvas, np.random.Generator], None]] = {
    "horse": horse,
    "lion": lion,
    "owl": owl,
    "cat": cat,
    "vase": vase,
    "column": column,
    "tree": tree,
}
