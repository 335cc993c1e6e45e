"""Light on a relief: normals, shadows, highlights, and the picture that comes of them."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from engine.starter.render.canvas import SIZE, Array, Canvas
from engine.starter.render.grounds import DARK
from engine.starter.render.materials import MATERIALS, Material, apply_pattern

_STEEPEST = 2.6  # slopes are cut here, so that outlines do not turn black
_AXIS = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
_Y, _X = np.meshgrid(_AXIS, _AXIS, indexing="ij")


@dataclass(frozen=True)
class Light:
    """A direction towards the lamp: x right, y down, z at the viewer; length 1."""

    x: float
    y: float
    z: float


def draw_light(rng: np.random.Generator) -> Light:
    """Draw a lamp above, mostly to the left.

    Two sides would be two answers to one caption, and the model draws their mean.
    """
    x, y, z = rng.uniform(-0.75, 0.10), -rng.uniform(0.45, 0.75), 0.8
    length = float(np.sqrt(x * x + y * y + z * z))
    return Light(float(x) / length, float(y) / length, z / length)


def shade(
    canvas: Canvas, material_name: str, ground_name: str, ground: Array, rng: np.random.Generator
) -> Array:
    """Light the relief and set it before its ground: `[256, 256, 3]` in 0 … 1."""
    material, light = MATERIALS[material_name], draw_light(rng)
    relief = canvas.height * canvas.scale  # picture units
    normal = _normals(relief)
    facing = normal[0] * light.x + normal[1] * light.y + normal[2] * light.z
    hollow = np.clip((ndimage.uniform_filter(relief, 17) - relief) * 8, 0, 1)
    shadow = _cast_shadow(relief, light)
    bright = np.clip(material.ambient + 0.62 * facing, 0, 1)
    bright = (bright * (1 - 0.25 * shadow) * (1 - 0.30 * hollow))[..., None]

    stone = _ramp(material, bright)
    stone = apply_pattern(material.pattern, stone, hollow, rng)
    stone = stone * canvas.tone[..., None]
    ink = (canvas.ink * 0.95)[..., None]
    stone = stone * (1 - ink) + _rgb(material.ink) * (0.55 + 0.6 * bright) * ink
    stone = stone + _gloss(material, light, normal, facing, shadow)

    own = canvas.tint * (0.50 + 0.62 * bright)
    statue = np.where(canvas.tinted[..., None], own, stone)
    statue = statue * _cast_of(ground)
    statue = np.where(canvas.glowing[..., None], canvas.tint, statue)
    ground = _set_off(ground, canvas, dark=ground_name in DARK)
    picture = np.where(canvas.mask[..., None], statue, ground)
    for halo in canvas.halos:
        near = np.exp(-((_X - halo.x) ** 2 + (_Y - halo.y) ** 2) / halo.radius**2 * 1.8)
        picture = picture + (0.42 * near)[..., None] * _rgb((1.0, 0.74, 0.26))
    return np.clip(picture, 0, 1)


def _rgb(colour: tuple[float, float, float]) -> Array:
    return np.array(colour, np.float32)


def _normals(relief: Array) -> tuple[Array, Array, Array]:
    soft = ndimage.uniform_filter(relief, 3)
    dy, dx = np.gradient(soft * SIZE)
    dx, dy = (np.clip(slope, -_STEEPEST, _STEEPEST) for slope in (dx, dy))
    scale = 1 / np.sqrt(dx * dx + dy * dy + 1)
    return -dx * scale, -dy * scale, scale


def _cast_shadow(relief: Array, light: Light) -> Array:
    """Give 1 where a higher part stands between a point and the lamp."""
    shadow = np.zeros_like(relief)
    for distance in (5, 10, 16):
        dx, dy = round(-light.x * distance), round(-light.y * distance)
        rise = np.roll(relief, (dy, dx), (0, 1)) - relief - distance / SIZE * 0.9
        np.maximum(shadow, rise, out=shadow)
    soft: Array = np.clip(ndimage.uniform_filter(shadow, 5) * 20, 0, 1)
    return soft


def _ramp(material: Material, bright: Array) -> Array:
    """Colour brightness 0 … 1 from the material's shadow over its base to its light."""
    dark, base, light = _rgb(material.dark), _rgb(material.base), _rgb(material.light)
    low, high = dark + (base - dark) * bright * 2, base + (light - base) * (bright * 2 - 1)
    return np.where(bright < 0.5, low, high)


def _gloss(
    material: Material,
    light: Light,
    normal: tuple[Array, Array, Array],
    facing: Array,
    shadow: Array,
) -> Array:
    """Add the highlight (Blinn-Phong), mirrored bands, and the lit rim."""
    nx, ny, nz = normal
    half = float(np.sqrt(light.x**2 + light.y**2 + (1 + light.z) ** 2))
    along = np.clip((facing + nz) / half, 0, 1)
    shine = material.gloss * 0.7 * along**material.sharpness * (1 - shadow)
    total = shine[..., None] * _rgb(material.light)
    if material.mirror:
        bands = np.clip(np.sin(ny * 5 + nx * 2 + 0.6) * 0.5 + 0.1, 0, 1)
        total = total + (material.mirror * bands)[..., None] * _rgb(material.light)
    if material.rim:
        rim = material.rim * (1 - nz) ** 2.2
        total = total + rim[..., None] * _rgb(material.rim_colour)
    return total


def _cast_of(ground: Array) -> Array:
    """Give the ground's faint colour cast, the brightest channel at 1."""
    mean = ground.mean((0, 1))
    cast: Array = (1 - 0.10) + 0.10 * mean / max(float(mean.max()), 1e-3)
    return cast


def _set_off(ground: Array, canvas: Canvas, *, dark: bool) -> Array:
    """Part statue and ground: a soft shadow on a light ground, light on a dark one."""
    near = ndimage.uniform_filter(canvas.mask.astype(np.float32), 25)
    near = ndimage.uniform_filter(near, 25)[..., None]
    parted: Array = ground + near * _rgb((0.16, 0.17, 0.22)) if dark else ground * (1 - 0.24 * near)
    return parted
