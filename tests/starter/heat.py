"""Hold heat maps of the bundled model to where things are, by the renderer's own masks.

Each picture starts from a render, whose layout it keeps, and is asked for in the render's words.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.making_of.record import Word, read_from
from engine.pictures.images import to_png
from engine.spec import Spec
from engine.starter.render.picture import render_with_mask
from engine.starter.world import draw_spec
from tests.engine.pictures.test_start_image import Kept
from tests.engine.ticks import drive, make_pipeline, pngs
from tests.factories import make_recipe
from tests.starter.drawing import load_starter

STRENGTH: Final = 0.6
SETTINGS: Final[dict[str, Any]] = {
    "steps": 16,
    "width": 128,
    "height": 128,
    "sampler": "dpmpp_2m",
    "schedule": "karras",
    "strength": STRENGTH,
}
_SEED: Final = 2


@dataclass(frozen=True, slots=True)
class Contrast:
    """Mean heat of a word inside of where its thing is, and outside, 0 to 255."""

    inside: float
    outside: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a picture shows, and the contrast of its subject's word and of "sea"."""

    subject: str
    figure: Contrast
    ground: Contrast


def measure(count: int) -> Iterator[Measured]:
    """Yield the contrasts of pictures of all kinds of subjects by the sea."""
    rng, store = np.random.default_rng(_SEED), Kept()
    pipeline = make_pipeline(load_starter(), store=store)
    for number in range(count):
        shown = replace(draw_spec(rng), ground="sea")
        pixels, mask = render_with_mask(shown, rng)
        png = to_png(Image.fromarray(pixels))
        name = sha256(png).hexdigest()
        store.files[name] = png
        held = "" if shown.object == "none" else f" holding a {shown.object}"
        prompt = f"a {shown.material} {shown.subject}{held} by the sea"
        recipe = make_recipe(prompt=prompt, seed=number, image=name, **SETTINGS)
        spec = Spec(job=number, epoch=1, recipe=recipe, making_of=True)
        [made] = pngs(drive(pipeline, {0: [spec]})[number])
        words = {word.text: word for word in read_from(made).texts[0].words}
        yield Measured(
            shown.subject, _contrast(words[shown.subject], mask), _contrast(words["sea"], ~mask)
        )
    pipeline.close()


def _contrast(word: Word, mask: NDArray[np.bool_]) -> Contrast:
    heat = Image.open(io.BytesIO(word.heat)).resize(mask.shape[::-1], Image.Resampling.BILINEAR)
    values = np.asarray(heat, float)
    return Contrast(float(values[mask].mean()), float(values[~mask].mean()))


def mean(contrasts: list[Contrast]) -> Contrast:
    """Return the mean of several."""
    return Contrast(
        float(np.mean([each.inside for each in contrasts])),
        float(np.mean([each.outside for each in contrasts])),
    )
