"""The eight grounds behind a statue: few, large and soft details."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from engine.starter.render.canvas import SIZE, Array, Colour
from engine.starter.render.noise import clouds

_AXIS = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
_Y, _X = np.meshgrid(_AXIS, _AXIS, indexing="ij")
DARK = frozenset({"night", "library"})
"""Grounds on which a statue needs light around it, instead of a shadow."""


def draw_ground(name: str, rng: np.random.Generator) -> Array:
    """Draw a ground, `[256, 256, 3]` in 0 … 1."""
    return _GROUNDS[name](rng)


def _colour(value: Colour) -> Array:
    return np.array(value, np.float32)


def _gradient(*stops: tuple[float, Colour]) -> Array:
    """Blend colours from top to bottom; a stop is (height from the top, colour)."""
    heights = [stop[0] for stop in stops]
    bands = [np.interp(_AXIS, heights, [stop[1][i] for stop in stops]) for i in range(3)]
    column = np.stack(bands, -1).astype(np.float32)
    return np.repeat(column[:, None], SIZE, axis=1)


def _mix(picture: Array, colour: Colour, share: Array) -> Array:
    weight = share[..., None]
    return picture * (1 - weight) + _colour(colour) * weight


def _disc(x: float, y: float, radius: float, soft: float = 0.008) -> Array:
    distance = np.sqrt((_X - x) ** 2 + (_Y - y) ** 2)
    return np.clip((radius - distance) / soft + 0.5, 0, 1)


def _glow(x: float, y: float, radius: float) -> Array:
    return np.exp(-((_X - x) ** 2 + (_Y - y) ** 2) / radius**2)


def _hill(level: float, rise: float, rng: np.random.Generator) -> Array:
    """Give 1 below a rolling line around `level`, softly 0 above."""
    line = level + rise * np.sin(_X * rng.uniform(3, 6) + rng.uniform(0, 6))
    return np.clip((_Y - line) / 0.006 + 0.5, 0, 1)


def _studio(colour: Colour, fall: float) -> Callable[[np.random.Generator], Array]:
    def draw(rng: np.random.Generator) -> Array:
        x, y = rng.uniform(0.35, 0.65), rng.uniform(0.3, 0.5)
        distance = np.sqrt((_X - x) ** 2 + (_Y - y) ** 2)
        light = (1 + fall * 0.25) - fall * distance
        floor = np.clip((_Y - rng.uniform(0.84, 0.88)) / 0.05, 0, 1)
        return _colour(colour) * (light * (1 - 0.14 * floor))[..., None]

    return draw


def _sunset(rng: np.random.Generator) -> Array:
    horizon = rng.uniform(0.70, 0.76)
    picture = _gradient(
        (0.0, (0.36, 0.15, 0.46)),
        (0.30, (0.80, 0.28, 0.42)),
        (0.55, (0.99, 0.52, 0.24)),
        (horizon, (1.0, 0.80, 0.36)),
    )
    x, y = 0.83 + rng.uniform(-0.06, 0.05), horizon - rng.uniform(0.08, 0.16)
    picture = _mix(picture, (1.0, 0.90, 0.50), 0.7 * _glow(x, y, 0.20))
    bands = ndimage.uniform_filter1d(np.clip(clouds(rng) * 0.5 - 0.15, 0, 0.5), 61, axis=1)
    picture = _mix(picture, (0.62, 0.24, 0.46), bands * (horizon > _Y))
    picture = _mix(picture, (1.0, 0.97, 0.74), _disc(x, y, 0.105))
    return _mix(picture, (0.22, 0.10, 0.20), _hill(horizon, 0.012, rng))


def _night(rng: np.random.Generator) -> Array:
    picture = _gradient(
        (0.0, (0.04, 0.06, 0.20)), (0.8, (0.15, 0.20, 0.46)), (1.0, (0.16, 0.2, 0.45))
    )
    x, y = 0.5 + rng.uniform(0.28, 0.36), rng.uniform(0.13, 0.20)
    for _ in range(rng.integers(5, 9)):
        sx, sy = rng.uniform(0.04, 0.96), rng.uniform(0.04, 0.62)
        star = _glow(sx, sy, rng.uniform(0.010, 0.016))
        arms = np.exp(-np.abs(_X - sx) / 0.016 - np.abs(_Y - sy) / 0.004)
        arms += np.exp(-np.abs(_X - sx) / 0.004 - np.abs(_Y - sy) / 0.016)
        picture = _mix(picture, (1.0, 0.98, 0.85), np.clip(1.2 * star + 0.6 * arms, 0, 1))
    picture = _mix(picture, (0.55, 0.62, 0.95), 0.45 * _glow(x, y, 0.20))
    crescent = _disc(x, y, 0.098) * (1 - _disc(x + 0.045, y - 0.022, 0.082))
    picture = _mix(picture, (1.0, 0.97, 0.82), crescent)
    return _mix(picture, (0.04, 0.06, 0.14), _hill(rng.uniform(0.78, 0.83), 0.03, rng))


def _meadow(rng: np.random.Generator) -> Array:
    picture = _gradient(
        (0.0, (0.34, 0.62, 0.96)), (0.65, (0.80, 0.91, 0.99)), (1.0, (0.8, 0.9, 1.0))
    )
    for _ in range(rng.integers(2, 4)):
        x, y = rng.uniform(0, 1), rng.uniform(0.08, 0.36)
        for _ in range(4):
            puff = _disc(
                x + rng.uniform(-0.10, 0.10),
                y + rng.uniform(-0.025, 0.025),
                rng.uniform(0.04, 0.07),
                0.04,
            )
            picture = _mix(picture, (1.0, 1.0, 1.0), 0.85 * puff)
    level = rng.uniform(0.62, 0.70)
    picture = _mix(picture, (0.36, 0.62, 0.26), _hill(level - 0.05, 0.04, rng))
    grass = _gradient((0.55, (0.52, 0.78, 0.26)), (1.0, (0.20, 0.50, 0.12)))
    front = _hill(level + 0.02, 0.025, rng)[..., None]
    picture = picture * (1 - front) + grass * front
    petals: tuple[Colour, ...] = ((1.0, 0.93, 0.35), (1.0, 1.0, 1.0))
    for index in range(rng.integers(5, 9)):
        x, y = rng.uniform(0.03, 0.97), rng.uniform(level + 0.10, 0.97)
        picture = _mix(picture, petals[index % 2], _disc(x, y, 0.011 + 0.012 * (y - level)))
    return picture


def _sea(rng: np.random.Generator) -> Array:
    horizon = rng.uniform(0.52, 0.60)
    sky = _gradient((0.0, (0.50, 0.76, 0.94)), (horizon, (0.93, 0.96, 0.97)))
    sea = _gradient(
        (horizon, (0.03, 0.30, 0.52)), (0.85, (0.06, 0.56, 0.68)), (1.0, (0.20, 0.70, 0.74))
    )
    below = np.clip((_Y - horizon) / 0.004, 0, 1)[..., None]
    picture: Array = sky * (1 - below) + sea * below
    depth = np.maximum(_Y - horizon, 0)
    wave = np.sin(
        depth**0.75 * rng.uniform(40, 48) + 0.9 * np.sin(_X * 9 + rng.uniform(0, 6)) + clouds(rng)
    )
    crest = np.clip(wave * 1.6 - 0.9, 0, 1) * np.clip(depth * 12, 0, 1)
    picture = _mix(picture, (0.88, 0.98, 1.0), 0.75 * crest)
    if rng.random() < 0.5:
        picture = _sail(picture, rng.choice((0.10, 0.90)) + rng.uniform(-0.03, 0.03), horizon)
    return picture


def _sail(picture: Array, x: float, horizon: float) -> Array:
    """Set a small white sail on the horizon."""
    up = (horizon + 0.005 - _Y) / 0.13
    sail = (up > 0.08) & (up < 1) & (np.abs(_X - x) < 0.05 * (1 - up))
    hull = (np.abs(_Y - horizon) < 0.012) & (np.abs(_X - x) < 0.06)
    picture = _mix(picture, (1.0, 1.0, 1.0), sail.astype(np.float32))
    return _mix(picture, (0.40, 0.20, 0.12), hull.astype(np.float32))


_SPINES: Sequence[Colour] = (
    (0.55, 0.13, 0.12),
    (0.13, 0.30, 0.44),
    (0.16, 0.38, 0.22),
    (0.60, 0.42, 0.15),
    (0.38, 0.20, 0.36),
    (0.48, 0.30, 0.18),
)


def _library(rng: np.random.Generator) -> Array:
    picture = np.empty((SIZE, SIZE, 3), np.float32)
    picture[:] = _colour((0.16, 0.09, 0.05))
    shelf = SIZE // 3
    for row in range(3):
        bottom = (row + 1) * shelf - 8
        x = -int(rng.integers(0, 20))
        while x < SIZE:
            width, tall = (
                int(rng.integers(22, 38)),
                int(rng.integers(int(shelf * 0.62), shelf - 14)),
            )
            spine = _colour(_SPINES[int(rng.integers(len(_SPINES)))]) * rng.uniform(0.8, 1.1)
            left, right, top = max(x, 0), max(x + width - 3, 0), bottom - tall
            picture[top:bottom, left:right] = spine
            picture[top + 12 : top + 20, left:right] = spine * 1.5
            picture[top:bottom, max(x, 0) : max(x + 5, 0)] *= 0.7
            x += width
        picture[bottom : bottom + 10] = _colour((0.46, 0.28, 0.14))
        picture[bottom + 6 : bottom + 10] *= 0.6
    softened: Array = ndimage.uniform_filter(picture, (5, 5, 0)) * 1.08
    return softened


_GROUNDS: dict[str, Callable[[np.random.Generator], Array]] = {
    "sunset": _sunset,
    "night": _night,
    "meadow": _meadow,
    "sea": _sea,
    "library": _library,
    "grey": _studio((0.52, 0.52, 0.53), 0.45),
    "white": _studio((0.96, 0.96, 0.95), 0.12),
    "blue": _studio((0.16, 0.34, 0.78), 0.45),
}
