"""The five people: toy statues of about four heads, each with its own dress and headgear."""

from collections.abc import Callable

import numpy as np

from engine.starter.render import objects
from engine.starter.render.canvas import BARE, Canvas, Paint, Point

SIDES = (-1, 1)
HEAD = 0.735  # height of the head's middle
SHOULDER = 0.555

HAIR = Paint(ink=0.42)
EYE = Paint(ink=0.95)
BROW = Paint(ink=0.75)
LIP = Paint(ink=0.62)
CAP = Paint(ink=0.62)
CAP_TOP = Paint(ink=0.50, tone=1.05)
BEARD = Paint(tone=1.12)
PLUME = Paint(tint=(0.80, 0.08, 0.12))
JEWEL = Paint(tint=(0.88, 0.08, 0.16))
CROWN = Paint(tint=(1.0, 0.78, 0.16))
HALO = Paint(tint=(1.0, 0.87, 0.36))
TASSEL = Paint(tint=(0.95, 0.72, 0.16))
SHADE = Paint(tone=0.78)
DEEP = Paint(tone=0.60)
BRIGHT = Paint(tone=1.14)

# Where the holding arm's elbow and hand are, by object.
_HOLD: dict[str, tuple[Point, Point]] = {
    "sword": ((-0.245, 0.375), (-0.315, 0.435)),
    "lantern": ((-0.235, 0.415), (-0.325, 0.500)),
    "flower": ((-0.240, 0.375), (-0.305, 0.440)),
}
# Elbow and hand of an arm with nothing to do, by person (drawn for the right side).
_REST: dict[str, tuple[Point, Point]] = {
    "scholar": ((0.225, 0.40), (0.205, 0.275)),
    "warrior": ((0.245, 0.42), (0.200, 0.300)),
    "king": ((0.250, 0.40), (0.125, 0.350)),
    "dancer": ((0.225, 0.70), (0.105, 0.925)),
    "angel": ((0.205, 0.40), (0.045, 0.430)),
}

_BOOK_RISE = {"dancer": 0.115}  # above the tutu


def draw_person(canvas: Canvas, subject: str, held: str, rng: np.random.Generator) -> None:
    """Draw a person who holds `held` ("none" for empty hands)."""
    _BODY[subject](canvas, rng)
    hand = _arms(canvas, subject, held, rng)
    x = rng.uniform(-0.012, 0.012)
    canvas.capsule((0, 0.56), (x, 0.66), 0.062, 0.058, 0.12)
    _HEAD[subject](canvas, x, rng)
    if hand is not None:
        objects.DRAW[held](canvas, hand, rng)
        thumbs = [(0.19, -0.075), (-0.19, -0.075)] if held == "book" else [(0.0, 0.0)]
        for dx, dy in thumbs:
            canvas.ellipsoid((hand[0] + dx, hand[1] + dy), 0.048, 0.046, 0.43, BRIGHT)


def _arms(canvas: Canvas, subject: str, held: str, rng: np.random.Generator) -> Point | None:
    """Draw both arms; give the place of what is held, if anything is."""
    if held == "book":
        y = rng.uniform(0.325, 0.355) + _BOOK_RISE.get(subject, 0.0)
        for side in SIDES:
            _arm(canvas, subject, side, (0.245, y + 0.035), (0.185, y - 0.06))
        return 0.0, y
    elbow, hand = _REST[subject]
    lift = rng.uniform(-0.02, 0.02)
    _arm(canvas, subject, 1, elbow, (hand[0], hand[1] + lift))
    if subject == "warrior":
        _shield(canvas)
    if held == "none":
        _arm(canvas, subject, -1, elbow, (hand[0], hand[1] + lift))
        return None
    elbow, hand = _HOLD[held]
    place = hand[0] + rng.uniform(-0.015, 0.015), hand[1] + rng.uniform(-0.02, 0.02)
    _arm(canvas, subject, -1, (-elbow[0], elbow[1]), (-place[0], place[1]))
    return place


def _arm(canvas: Canvas, subject: str, side: int, elbow: Point, hand: Point) -> None:
    """Draw one arm; points are given for the right side (side 1)."""
    sleeve = 1.25 if subject in ("scholar", "king", "angel") else 1.0
    wide = 0.115 if subject == "dancer" else 0.140
    a, b, c = (
        (side * wide, SHOULDER - 0.015),
        (side * elbow[0], elbow[1]),
        (side * hand[0], hand[1]),
    )
    canvas.capsule(a, b, 0.064, 0.050 * sleeve, 0.17)
    canvas.capsule(b, c, 0.050 * sleeve, 0.044 * sleeve, 0.21)
    canvas.ellipsoid(c, 0.047, 0.047, 0.27, BRIGHT)


def _face(canvas: Canvas, x: float, *, mouth: bool = True) -> None:
    """Draw head, eyes, brows, nose and mouth."""
    y = HEAD
    canvas.ellipsoid((x, y), 0.118, 0.132, 0.15, depth=0.11)
    for side in SIDES:
        canvas.ellipsoid((x + side * 0.046, y + 0.008), 0.020, 0.024, 0.26, EYE, depth=0.01)
        inner, outer = (x + side * 0.022, y + 0.050), (x + side * 0.076, y + 0.046)
        canvas.capsule(inner, outer, 0.011, 0.008, 0.26, BROW)
    canvas.capsule((x, y + 0.010), (x, y - 0.030), 0.011, 0.021, 0.262, BRIGHT)
    if mouth:
        for side in SIDES:
            canvas.capsule((x, y - 0.079), (x + side * 0.036, y - 0.068), 0.011, 0.008, 0.235, LIP)


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


def _shield(canvas: Canvas) -> None:
    centre = 0.235, 0.285
    canvas.ellipsoid(centre, 0.150, 0.150, 0.28, Paint(ink=0.35), depth=0.04)
    canvas.ellipsoid(centre, 0.118, 0.118, 0.30, depth=0.05)
    canvas.ellipsoid(centre, 0.045, 0.045, 0.34, BRIGHT, depth=0.04)


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
    canvas.slab([(x + dx, y + dy - 0.018) for dx, dy in board], 0.345, Paint(ink=0.9), bevel=0.01)
    canvas.slab([(x + dx, y + dy) for dx, dy in board], 0.355, CAP_TOP, bevel=0.014)
    side = 1 if rng.random() < 0.5 else -1
    corner = x + side * 0.175, y + 0.062
    canvas.capsule((x, y + 0.068), corner, 0.011, 0.011, 0.39, TASSEL)
    canvas.capsule(corner, (corner[0], y - 0.05), 0.011, 0.014, 0.39, TASSEL)
    canvas.ellipsoid((corner[0], y - 0.06), 0.022, 0.036, 0.39, TASSEL)


def _warrior_head(canvas: Canvas, x: float, rng: np.random.Generator) -> None:
    y = HEAD
    crest = [
        (-0.05, 0.10), (-0.165, 0.06), (-0.195, 0.13), (-0.12, 0.215),
        (0.0, 0.245), (0.12, 0.215), (0.195, 0.13), (0.165, 0.06), (0.05, 0.10),
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
    tall = rng.uniform(0.165, 0.185)
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
    canvas.ellipsoid((x, HEAD + 0.172), 0.062, 0.058, 0.12, HAIR)
    canvas.ellipsoid((x, HEAD + 0.028), 0.128, 0.130, 0.12, HAIR)
    _face(canvas, x)
    for side in SIDES:
        canvas.capsule(
            (x, HEAD + 0.125), (x + side * 0.112, HEAD + 0.055), 0.040, 0.026, 0.235, HAIR
        )


def _angel_head(canvas: Canvas, x: float, rng: np.random.Generator) -> None:
    y = HEAD + 0.205 + rng.uniform(-0.008, 0.008)
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


_Body = Callable[[Canvas, np.random.Generator], None]
_Head = Callable[[Canvas, float, np.random.Generator], None]
_BODY: dict[str, _Body] = {
    "scholar": _scholar_body,
    "warrior": _warrior_body,
    "king": _king_body,
    "dancer": _dancer_body,
    "angel": _angel_body,
}
_HEAD: dict[str, _Head] = {
    "scholar": _scholar_head,
    "warrior": _warrior_head,
    "king": _king_head,
    "dancer": _dancer_head,
    "angel": _angel_head,
}
