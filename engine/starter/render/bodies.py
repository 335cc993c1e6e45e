"""The bodies of the five people, without arms and heads."""

from collections.abc import Callable

import numpy as np

from engine.starter.render.canvas import BARE, Canvas, Paint

SIDES = (-1, 1)
SHADE = Paint(tone=0.78)
DEEP = Paint(tone=0.60)
BRIGHT = Paint(tone=1.14)


def _robe(canvas: Canvas, rng: np.random.Generator, waist: float, hem: float) -> None:
    profile = [
        (0.0, hem),
        (0.06, hem * 0.96),
        (0.26, waist * 1.12),
        (0.36, waist),
        (0.48, 0.165),
        (0.55, 0.165),
        (0.60, 0.085),
    ]
    folds = (rng.uniform(7.5, 9.5), 0.020, rng.uniform(0, 6))
    canvas.turned(profile, 0.05, depth=0.62, folds=folds)
    for side in SIDES:
        canvas.ellipsoid((side * hem * 0.45, 0.006), 0.07, 0.035, 0.16, SHADE)


def _scholar_body(canvas: Canvas, rng: np.random.Generator) -> None:
    _robe(canvas, rng, 0.155, 0.215)
    for side in SIDES:  # a stole over both shoulders
        canvas.capsule(
            (side * 0.075, 0.56), (side * 0.085, 0.07), 0.032, 0.036, 0.15, Paint(ink=0.28)
        )


def _warrior_body(canvas: Canvas, rng: np.random.Generator) -> None:
    stride = rng.uniform(0.085, 0.11)
    for side in SIDES:
        foot = side * stride * 1.15
        canvas.capsule((side * 0.075, 0.28), (foot, 0.14), 0.072, 0.060, 0.06)
        canvas.capsule((foot, 0.15), (foot, 0.03), 0.066, 0.050, 0.08, SHADE)  # greaves
        canvas.ellipsoid((foot + side * 0.012, 0.022), 0.072, 0.034, 0.11, DEEP)
    skirt = [(0.185, 0.185), (0.34, 0.135)]
    canvas.turned(skirt, 0.08, SHADE, folds=(11, 0.022, 0.0))
    chest = [(0.32, 0.128), (0.42, 0.140), (0.52, 0.172), (0.57, 0.150), (0.60, 0.080)]
    canvas.turned(chest, 0.09)
    for side in SIDES:
        canvas.ellipsoid((side * 0.066, 0.485), 0.068, 0.055, 0.17, BRIGHT, depth=0.03)
    canvas.turned([(0.315, 0.138), (0.355, 0.138)], 0.115, Paint(ink=0.45))


def _king_body(canvas: Canvas, rng: np.random.Generator) -> None:
    cape = [(0.0, 0.285), (0.30, 0.235), (0.54, 0.165), (0.58, 0.11)]
    canvas.turned(cape, 0.0, DEEP, depth=0.25, folds=(11, 0.016, rng.uniform(0, 6)))
    _robe(canvas, rng, 0.165, 0.205)
    canvas.turned([(0.335, 0.170), (0.385, 0.170)], 0.075, Paint(ink=0.40))
    for side in SIDES:  # a broad fur collar
        canvas.capsule((0, 0.50), (side * 0.165, 0.565), 0.050, 0.052, 0.19, Paint(tone=1.22))


def _dancer_body(canvas: Canvas, rng: np.random.Generator) -> None:
    knee = 0.215, 0.285 + rng.uniform(-0.02, 0.02)
    canvas.capsule((-0.02, 0.33), (-0.015, 0.03), 0.068, 0.034, 0.07)
    canvas.capsule((-0.015, 0.04), (-0.005, 0.0), 0.036, 0.026, 0.09, DEEP)
    canvas.capsule((0.05, 0.32), knee, 0.066, 0.052, 0.06)
    canvas.capsule(knee, (0.03, 0.165), 0.052, 0.030, 0.09)
    canvas.ellipsoid((0.025, 0.16), 0.040, 0.030, 0.11, DEEP)
    canvas.ellipsoid((0, 0.345), 0.290, 0.085, 0.10, BRIGHT, depth=0.06, lobes=(16, 0.018))
    canvas.ellipsoid((0, 0.365), 0.205, 0.052, 0.13, BARE, depth=0.05, lobes=(12, 0.014))
    bodice = [(0.35, 0.088), (0.42, 0.092), (0.52, 0.128), (0.56, 0.118), (0.60, 0.055)]
    canvas.turned(bodice, 0.13, Paint(tone=0.92))


def _angel_body(canvas: Canvas, rng: np.random.Generator) -> None:
    spread = rng.uniform(-0.08, 0.08)
    for side in SIDES:
        for feather in range(6):
            angle = 1.15 + spread - 0.34 * feather
            length = 0.47 - 0.035 * feather
            tip = side * (0.10 + length * np.cos(angle)), 0.50 + length * np.sin(angle)
            paint = Paint(tone=1.10 if feather % 2 else 0.86)
            canvas.capsule((side * 0.10, 0.50), tip, 0.050, 0.062, 0.0 + 0.008 * feather, paint)
        canvas.ellipsoid((side * 0.17, 0.53), 0.11, 0.13, 0.03, BRIGHT, depth=0.06)
    _robe(canvas, rng, 0.125, 0.225)
    canvas.turned([(0.365, 0.132), (0.405, 0.132)], 0.085, Paint(ink=0.35))


DRAW: dict[str, Callable[[Canvas, np.random.Generator], None]] = {
    "scholar": _scholar_body,
    "warrior": _warrior_body,
    "king": _king_body,
    "dancer": _dancer_body,
    "angel": _angel_body,
}
"""How each person's body is drawn."""
