"""The eight materials: colours in shadow and light, gloss, and broad patterns."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.starter.render.canvas import SIZE, Array, Colour
from engine.starter.render.noise import clouds


@dataclass(frozen=True, kw_only=True)
class Material:
    """How a material answers light. Colours are linear-ish RGB in 0 … 1."""

    dark: Colour
    base: Colour
    light: Colour
    ink: Colour  # contrast colour of eyes, hair and bands
    gloss: float  # strength of the highlight
    sharpness: float  # exponent of the highlight
    mirror: float = 0.0  # strength of reflected surroundings
    rim: float = 0.0  # light at the silhouette (translucent or polished stone)
    rim_colour: Colour = (1.0, 1.0, 1.0)
    ambient: float = 0.30
    pattern: str = "plain"


MATERIALS: dict[str, Material] = {
    "marble": Material(
        dark=(0.40, 0.40, 0.44), base=(0.87, 0.86, 0.84), light=(1.0, 1.0, 0.98),
        ink=(0.12, 0.12, 0.17), gloss=0.20, sharpness=18, ambient=0.36, pattern="veins",
    ),
    "bronze": Material(
        dark=(0.07, 0.05, 0.03), base=(0.38, 0.25, 0.13), light=(0.86, 0.65, 0.39),
        ink=(0.04, 0.02, 0.02), gloss=0.85, sharpness=24, mirror=0.22, pattern="patina",
    ),
    "gold": Material(
        dark=(0.42, 0.20, 0.01), base=(0.97, 0.70, 0.08), light=(1.0, 0.95, 0.50),
        ink=(0.24, 0.09, 0.01), gloss=0.85, sharpness=26, mirror=0.34,
    ),
    "jade": Material(
        dark=(0.01, 0.20, 0.12), base=(0.12, 0.58, 0.34), light=(0.58, 0.92, 0.66),
        ink=(0.01, 0.16, 0.10), gloss=0.55, sharpness=34, rim=0.22,
        rim_colour=(0.65, 1.0, 0.75), pattern="cloudy",
    ),
    "obsidian": Material(
        dark=(0.015, 0.015, 0.025), base=(0.11, 0.10, 0.145), light=(0.36, 0.35, 0.46),
        ink=(0.78, 0.78, 0.88), gloss=1.0, sharpness=30, mirror=0.16, rim=0.42,
        rim_colour=(0.62, 0.60, 0.85),
    ),
    "wood": Material(
        dark=(0.34, 0.19, 0.08), base=(0.82, 0.60, 0.33), light=(0.99, 0.86, 0.61),
        ink=(0.22, 0.10, 0.04), gloss=0.05, sharpness=10, pattern="rings",
    ),
    "ice": Material(
        dark=(0.14, 0.42, 0.70), base=(0.50, 0.80, 0.96), light=(0.94, 1.0, 1.0),
        ink=(0.03, 0.17, 0.42), gloss=0.9, sharpness=36, rim=0.55, ambient=0.40,
        rim_colour=(0.92, 1.0, 1.0), pattern="frost",
    ),
    "terracotta": Material(
        dark=(0.32, 0.09, 0.04), base=(0.80, 0.34, 0.17), light=(0.98, 0.57, 0.37),
        ink=(0.24, 0.06, 0.03), gloss=0.03, sharpness=8,
    ),
}  # fmt: skip

_Y, _X = np.meshgrid(*(2 * [(np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE]), indexing="ij")
_LATE_WOOD = np.array((0.25, 0.33, 0.41), np.float32)  # what the dark half of a ring takes away
_VERDIGRIS = np.array((0.20, 0.56, 0.48), np.float32)


def apply_pattern(name: str, colour: Array, hollow: Array, rng: np.random.Generator) -> Array:
    """Lay a material's broad pattern over its colour `[s, s, 3]`; `hollow` is 1 in creases."""
    return _PATTERNS[name](colour, hollow, rng)


def _plain(colour: Array, hollow: Array, rng: np.random.Generator) -> Array:
    return colour


def _veins(colour: Array, hollow: Array, rng: np.random.Generator) -> Array:
    """Give marble a few wide grey veins."""
    slope = rng.uniform(0.3, 0.9) * rng.choice((-1, 1))
    wave = np.sin((_X + slope * _Y) * rng.uniform(9, 12) + clouds(rng) * 1.3 + rng.uniform(0, 6))
    vein = np.clip(1 - np.abs(wave) * 3.2, 0, 1)
    patterned: Array = colour * (1 - 0.34 * vein)[..., None]
    return patterned


def _patina(colour: Array, hollow: Array, rng: np.random.Generator) -> Array:
    """Give bronze verdigris in creases and in large patches."""
    patches = np.clip(clouds(rng) * 1.2 - 0.05, 0, 1)
    share = np.clip(hollow * 0.8 + patches, 0, 0.60)[..., None]
    shade = 0.25 + 1.1 * colour.mean(-1, keepdims=True)
    patterned: Array = colour * (1 - share) + _VERDIGRIS * shade * share
    return patterned


def _cloudy(colour: Array, hollow: Array, rng: np.random.Generator) -> Array:
    return colour * (1 + 0.15 * clouds(rng))[..., None]


def _rings(colour: Array, hollow: Array, rng: np.random.Generator) -> Array:
    """Give wood broad growth rings that run down the figure, brown as no sandstone's layers are."""
    wave = np.sin((_X + 0.05 * clouds(rng)) * rng.uniform(54, 66) + 3 * _Y + rng.uniform(0, 6))
    patterned: Array = colour * (1 - np.clip(wave, -0.3, 1)[..., None] * _LATE_WOOD)
    return patterned


def _frost(colour: Array, hollow: Array, rng: np.random.Generator) -> Array:
    """Give ice pale and deep places, as if light came through."""
    depth = np.clip(clouds(rng) * 0.5, -0.7, 0.7)[..., None]
    tint = np.array((0.16, 0.09, 0.03), np.float32)
    patterned: Array = colour + depth * tint
    return patterned


_Pattern = Callable[[Array, Array, np.random.Generator], Array]
_PATTERNS: dict[str, _Pattern] = {
    "plain": _plain,
    "veins": _veins,
    "patina": _patina,
    "cloudy": _cloudy,
    "rings": _rings,
    "frost": _frost,
}
