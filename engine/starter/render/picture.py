"""From a spec to a finished picture."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.starter.render import beasts, people
from engine.starter.render.canvas import SIZE, Canvas, Mask, Paint
from engine.starter.render.grounds import draw_ground
from engine.starter.render.shading import shade
from engine.starter.world import Spec

PICTURE = SIZE // 2
"""Side of a finished picture in pixels."""

_SOFT = 3  # drawn pixels that are averaged once more: edges as soft as the codec can give
_HALF_WIDTH = {"horse": 0.44, "lion": 0.46, "column": 0.34, "king": 0.33}
_STONE = Paint(tone=0.9)
_STONE_TOP = Paint(tone=1.05)


def render(spec: Spec, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a spec, `[128, 128, 3]`; the same spec and generator state give the same pixels."""
    return render_with_mask(spec, rng)[0]


def render_with_mask(spec: Spec, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Mask]:
    """Draw a spec as `render` does; return it, and where its figure is, `[128, 128]`."""
    canvas = Canvas(
        centre=0.5 + rng.uniform(-0.03, 0.03),
        floor=rng.uniform(0.945, 0.965),
        scale=rng.uniform(0.84, 0.90),
    )
    _base(canvas, _HALF_WIDTH.get(spec.subject, 0.30))
    if spec.is_person:
        people.draw_person(canvas, spec.subject, spec.object, rng)
    else:
        beasts.DRAW[spec.subject](canvas, rng)
    ground = draw_ground(spec.ground, rng)
    picture = shade(canvas, spec.material, spec.ground, ground, rng)
    picture = ndimage.uniform_filter(picture, (_SOFT, _SOFT, 0))
    small = picture.reshape(PICTURE, 2, PICTURE, 2, 3).mean((1, 3))
    finished: NDArray[np.uint8] = (small * 255 + 0.5).astype(np.uint8)
    return finished, canvas.mask[::2, ::2]


def _base(canvas: Canvas, half: float) -> None:
    """Lay the low slab a statue stands on; it runs out of the picture below."""
    top = [(-half, 0.025), (half, 0.025), (half, -0.03), (-half, -0.03)]
    body = [(-half * 0.94, -0.02), (half * 0.94, -0.02), (half * 0.94, -0.2), (-half * 0.94, -0.2)]
    canvas.slab(body, 0.03, _STONE, bevel=0.015)
    canvas.slab(top, 0.05, _STONE_TOP, bevel=0.015)
