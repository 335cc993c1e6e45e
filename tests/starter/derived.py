"""Measure pictures made from pictures, for the figures of docs/starter-model.md.

`python -m tests.starter.derived [--count N] [--model FOLDER]` prints the tables: parents are drawn
from fixed seeds, and what is made of each is asked for as the commands do (`bots.requests.derive`).
"""

import argparse
import hashlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bots.requests import derive
from engine.errors import MissingPicture
from engine.events import Picture as Drawn
from engine.families.stable_diffusion import StableDiffusion
from engine.models.catalogue import STARTER, STARTER_FOLDER
from engine.pictures.images import to_png
from engine.pictures.start_image import read_start_image
from engine.recipe.parts import Variation
from engine.recipe.recipe import Recipe
from storage import Picture
from tests.engine.ticks import pipeline_on, run
from tests.starter.drawing import load_starter
from tests.starter.judge import Judge, Verdict, judge, load_judge

Pixels = NDArray[np.uint8]

PARENTS: Final = (
    "a marble scholar holding a book",
    "a bronze lion by the sea",
    "a jade angel holding a flower in a meadow",
    "a gold king holding a sword at sunset",
    "a wood horse in front of white",
    "a terracotta vase",
    "an obsidian owl at night",
    "a marble warrior",
    "a statue of a cat",
    "a dancer",
)
STRENGTHS: Final = (0.6, 0.7, 0.8)
AMOUNTS: Final = (0.1, 0.2, derive.STRONG)
HELD: Final = (28, 40, 100, 104)  # pixels: where people hold things


@dataclass
class Workshop:
    """Draw recipes with the bundled model, and keep what was drawn as a picture store does."""

    model: StableDiffusion
    eye: Judge
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pipeline = pipeline_on(self.model, store=self)

    def read(self, sha256: str) -> bytes:
        """Return a kept file."""
        try:
            return self.files[sha256]
        except KeyError:
            raise MissingPicture(sha256) from None

    def keep(self, png: bytes) -> str:
        """Keep a file; return its name."""
        name = hashlib.sha256(png).hexdigest()
        self.files[name] = png
        return name

    def draw(self, recipe: Recipe) -> Picture:
        """Draw a recipe's one picture and keep it."""
        [drawn] = [each for each in run(self.pipeline, recipe) if isinstance(each, Drawn)]
        return Picture(
            job=0,
            index=0,
            seed=recipe.seed,
            width=drawn.width,
            height=drawn.height,
            size=len(drawn.png),
            sha256=self.keep(drawn.png),
        )

    def pixels(self, picture: Picture) -> Pixels:
        """Return a kept picture's pixels."""
        with Image.open(io.BytesIO(self.read(picture.sha256))) as image:
            return np.asarray(image.convert("RGB"))

    def judged(self, pictures: Sequence[Picture]) -> list[Verdict]:
        """Name what is on each picture; it is 128 pixels wide and high."""
        return judge(self.eye, np.stack([self.pixels(picture) for picture in pictures]))


@dataclass(frozen=True)
class Parent:
    """Hold a picture, what it was made from, and what is on it."""

    recipe: Recipe
    picture: Picture
    names: dict[str, str]


def draw_parents(shop: Workshop, count: int, prompts: Sequence[str] = PARENTS) -> list[Parent]:
    """Draw parents with seeds from 1, prompts in turn."""
    defaults = asdict(shop.model.checkpoint.defaults)
    recipes = [
        Recipe(prompt=prompts[i % len(prompts)], seed=i + 1, checkpoint=STARTER, **defaults)
        for i in range(count)
    ]
    pictures = [shop.draw(recipe) for recipe in recipes]
    verdicts = shop.judged(pictures)
    return [
        Parent(recipe, picture, verdict.names)
        for recipe, picture, verdict in zip(recipes, pictures, verdicts, strict=True)
    ]


def kept(
    shop: Workshop, parents: Sequence[Parent], make: Callable[[Parent], Recipe]
) -> tuple[dict[str, float], float, list[Verdict]]:
    """Return what share of children keep each attribute, and how far their pixels are, of 255."""
    pictures = [shop.draw(make(parent)) for parent in parents]
    verdicts = shop.judged(pictures)
    pairs = list(zip(parents, verdicts, strict=True))
    shares = {
        name: sum(p.names[name] == v.names[name] for p, v in pairs) / len(pairs)
        for name in ("material", "subject", "ground", "object")
    }
    far = [
        float(np.abs(shop.pixels(p.picture).astype(float) - shop.pixels(c)).mean())
        for p, c in zip(parents, pictures, strict=True)
    ]
    return shares, sum(far) / len(far), verdicts


def by_noise(amount: float) -> Callable[[Parent], Recipe]:
    """Return a variation by turning the noise."""

    def make(parent: Parent) -> Recipe:
        variation = Variation(seed=parent.recipe.seed + 1000, amount=amount)
        return replace(parent.recipe, variations=(variation,))

    return make


def by_image(strength: float, prompt: str | None = None) -> Callable[[Parent], Recipe]:
    """Return a variation by starting from the picture, maybe with other words."""

    def make(parent: Parent) -> Recipe:
        return replace(
            parent.recipe,
            image=parent.picture.sha256,
            strength=strength,
            seed=parent.recipe.seed + 1000,
            prompt=prompt or parent.recipe.prompt,
        )

    return make


def say_kept(shop: Workshop, parents: Sequence[Parent], name: str, make: object) -> None:
    shares, far, _ = kept(shop, parents, make)  # type: ignore[arg-type]
    row = " | ".join(f"{share:.0%}" for share in shares.values())
    _say(f"| {name} | {row} | {far:.1f} |")


def measure_variations(shop: Workshop, count: int) -> None:
    """Show what variations keep, by noise and by start image."""
    parents = draw_parents(shop, count)
    _say(f"| variation, n = {count} | material | subject | ground | object | mean distance |")
    _say("| --- | --- | --- | --- | --- | --- |")
    for amount in AMOUNTS:
        say_kept(shop, parents, f"noise {amount:g}", by_noise(amount))
    for strength in (derive.SUBTLE, derive.BOLD):
        say_kept(shop, parents, f"image {strength:g}", by_image(strength))


def measure_bronze(shop: Workshop, count: int) -> None:
    """Show how often a marble statue becomes bronze and stays what it was."""
    prompts = [f"a marble {subject}" for subject in ("scholar", "lion", "angel", "horse", "vase")]
    parents = draw_parents(shop, count, prompts)
    _say(f"| make it bronze, n = {count} | bronze | subject kept | both |")
    _say("| --- | --- | --- | --- |")
    for strength in STRENGTHS:

        def make(parent: Parent, strength: float = strength) -> Recipe:
            words = parent.recipe.prompt.replace("marble", "bronze")
            return by_image(strength, words)(parent)

        _, _, verdicts = kept(shop, parents, make)
        bronze = [v.names["material"] == "bronze" for v in verdicts]
        same = [
            p.names["subject"] == v.names["subject"] for p, v in zip(parents, verdicts, strict=True)
        ]
        both = sum(a and b for a, b in zip(bronze, same, strict=True))
        row = [sum(bronze) / count, sum(same) / count, both / count]
        _say(f"| strength {strength:g} | " + " | ".join(f"{share:.0%}" for share in row) + " |")


def held_mask(shop: Workshop) -> str:
    """Keep a mask of where people hold things; return its name."""
    mask = Image.new("L", (128, 128))
    ImageDraw.Draw(mask).rounded_rectangle(HELD, radius=8, fill=255)
    return shop.keep(to_png(mask))


def measure_inpainting(shop: Workshop, count: int) -> None:
    """Show how often a masked object becomes another, and that the rest stays byte for byte."""
    parents = draw_parents(shop, count, [f"a marble {who} holding a book" for who in PEOPLE])
    mask = held_mask(shop)
    changed, untouched = 0, 0
    pictures = []
    for parent in parents:
        recipe = replace(
            by_image(1.0, parent.recipe.prompt.replace("book", "sword"))(parent), mask=mask
        )
        picture = shop.draw(recipe)
        canvas = read_start_image(recipe, shop)
        assert canvas is not None
        assert canvas.mask is not None
        outside = canvas.mask == 0
        same = shop.pixels(picture)[outside] == shop.pixels(parent.picture)[outside]
        untouched += bool(same.all())
        pictures.append(picture)
    verdicts = shop.judged(pictures)
    changed = sum(v.names["object"] == "sword" for v in verdicts)
    gone = sum(v.names["object"] != "book" for v in verdicts)
    _say(f"book → sword under a mask, n = {count}: sword {changed}, no book {gone}")
    _say(f"every byte outside the mask as it was: {untouched} of {count}")


def measure_zoom(shop: Workshop, count: int) -> None:
    """Show that zooming out and panning keep the parent's picture inside."""
    inside = 0
    for parent in draw_parents(shop, count):
        recipe = derive.zoomed(parent.recipe, parent.picture, 1.5)
        canvas = read_start_image(recipe, shop)
        assert canvas is not None
        assert canvas.alpha is not None
        drawn = shop.pixels(shop.draw(recipe))
        core = canvas.alpha == 0
        inside += bool((drawn[core] == canvas.pixels[core]).all())
    _say(f"zoomed out, the parent's picture inside byte for byte: {inside} of {count}")


PEOPLE: Final = ("scholar", "warrior", "king", "dancer", "angel")
TABLES: Final = (measure_variations, measure_bronze, measure_inpainting, measure_zoom)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--model", type=Path, default=STARTER_FOLDER)
    arguments = parser.parse_args()
    shop = Workshop(load_starter(arguments.model), load_judge())
    for measure in TABLES:
        begun = time.monotonic()
        measure(shop, arguments.count)
        _say(f"({measure.__name__}: {time.monotonic() - begun:.0f} s)\n")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
