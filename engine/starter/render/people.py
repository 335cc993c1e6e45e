"""The five people: toy statues of about three heads, put together from body, arms and head."""

from dataclasses import replace

import numpy as np

from engine.starter.render import bodies, heads, objects
from engine.starter.render.canvas import Canvas, Paint, Point

SIDES = (-1, 1)
SHOULDER = 0.555
BRIGHT = Paint(tone=1.14)
_HEAD_ZOOM = 1.2  # heads are drawn larger than life: a face needs the pixels
_CHIN = 0.60

# Where the holding arm's elbow and hand are, by object: in one place for all three. A lantern that
# alone hung low, before the tutu, was not drawn for a dancer, whom training never shows with one.
_HOLD: dict[str, tuple[Point, Point]] = {
    "sword": ((-0.245, 0.375), (-0.315, 0.435)),
    "lantern": ((-0.240, 0.375), (-0.315, 0.420)),
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
# The same for the arm that else holds something, where that rests otherwise: lowered as if it held.
_REST_OF_HOLDING: dict[str, tuple[Point, Point]] = {
    "dancer": ((0.235, 0.395), (0.315, 0.455)),
}

_BOOK_RISE = {"dancer": 0.115}  # above the tutu


def draw_person(canvas: Canvas, subject: str, held: str, rng: np.random.Generator) -> None:
    """Draw a person who holds `held` ("none" for empty hands)."""
    bodies.DRAW[subject](canvas, rng)
    hand = _arms(canvas, subject, held, rng)
    x = rng.uniform(-0.012, 0.012)
    canvas.capsule((0, 0.56), (x, 0.66), 0.062, 0.058, 0.12)
    heads.DRAW[subject](_zoomed(canvas), x, rng)
    if hand is not None:
        objects.DRAW[held](canvas, hand, rng)
        thumbs = [(0.19, -0.075), (-0.19, -0.075)] if held == "book" else [(0.0, 0.0)]
        for dx, dy in thumbs:
            canvas.ellipsoid((hand[0] + dx, hand[1] + dy), 0.048, 0.046, 0.43, BRIGHT)


def _zoomed(canvas: Canvas) -> Canvas:
    """Give the same relief with larger figure units, growing from the chin."""
    floor = canvas.floor - canvas.scale * _CHIN * (1 - _HEAD_ZOOM)
    return replace(canvas, scale=canvas.scale * _HEAD_ZOOM, floor=floor)


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
        elbow, hand = _REST_OF_HOLDING.get(subject, _REST[subject])
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


def _shield(canvas: Canvas) -> None:
    centre = 0.235, 0.285
    canvas.ellipsoid(centre, 0.150, 0.150, 0.28, Paint(ink=0.35), depth=0.04)
    canvas.ellipsoid(centre, 0.118, 0.118, 0.30, depth=0.05)
    canvas.ellipsoid(centre, 0.045, 0.045, 0.34, BRIGHT, depth=0.04)
