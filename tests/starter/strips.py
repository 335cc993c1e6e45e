"""Draw the strips of pictures in docs/pictures.md: `python -m tests.starter.strips [FOLDER]`.

Seeds are fixed, nothing is picked: the same weights draw the same strips.
"""

import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from bots.requests import derive
from engine.recipe.parts import LANCZOS
from engine.recipe.recipe import Recipe
from tests.starter.derived import Parent, Workshop, by_image, draw_parents, held_mask
from tests.starter.drawing import load_starter
from tests.starter.judge import load_judge

GAP: Final = 6
NATIVE: Final = (128, 128)
FOLDER: Final = Path(__file__).parents[2] / "docs" / "images"


def variations(shop: Workshop, parents: Sequence[Parent]) -> list[list[Image.Image]]:
    """Return each parent, two subtle variations and two strong ones."""
    return [
        [
            opened(shop, parent),
            *(
                drawn(shop, seeded(derive.varied(parent.recipe, parent.picture, strong=strong), n))
                for strong in (False, True)
                for n in (1, 2)
            ),
        ]
        for parent in parents[:3]
    ]


def start_images(shop: Workshop, parents: Sequence[Parent]) -> list[list[Image.Image]]:
    """Return marble statues, and what becomes of them as bronze by strength."""
    marble = draw_parents(shop, 2, ["a marble lion", "a marble scholar"])
    return [
        [
            opened(shop, parent),
            *(
                drawn(shop, by_image(s, parent.recipe.prompt.replace("marble", "bronze"))(parent))
                for s in (0.5, 0.6, 0.7, 0.8, 0.9)
            ),
        ]
        for parent in marble
    ]


def masks(shop: Workshop, parents: Sequence[Parent]) -> list[list[Image.Image]]:
    """Return a scholar with a book, where the mask lies, and other things in its hands."""
    mask = held_mask(shop)
    [parent] = draw_parents(shop, 1)
    before = shop.pixels(parent.picture)
    with Image.open(io.BytesIO(shop.read(mask))) as image:
        covered = np.asarray(image.convert("L"))
    seen = Image.fromarray(np.where(covered[..., None] > 0, before // 2 + 127, before))
    words = ("sword", "flower", "lantern")
    return [
        [
            Image.fromarray(before),
            seen,
            *(
                drawn(
                    shop,
                    replace(
                        by_image(1.0, parent.recipe.prompt.replace("book", word))(parent),
                        mask=mask,
                    ),
                )
                for word in words
            ),
        ]
    ]


def outside(shop: Workshop, parents: Sequence[Parent]) -> list[list[Image.Image]]:
    """Return each parent zoomed out and panned."""
    rows = []
    for parent in parents[:2]:
        recipes = [
            *(derive.zoomed(parent.recipe, parent.picture, factor) for factor in (1.5, 2.0)),
            *(derive.panned(parent.recipe, parent.picture, side, 8) for side in ("left", "right")),
        ]
        pictures = [drawn(shop, seeded(recipe, 1)) for recipe in recipes]
        rows.append([opened(shop, parent), *pictures])
    return rows


def larger(shop: Workshop, parents: Sequence[Parent]) -> list[list[Image.Image]]:
    """Return parents enlarged twice: plainly, and with detail drawn into them."""
    detail = shop.model.checkpoint.second_pass_strength
    return [
        [
            opened(shop, parent),
            *(
                drawn(
                    shop,
                    derive.enlarged(
                        parent.recipe,
                        parent.picture,
                        factor=2,
                        by=LANCZOS,
                        strength=strength,
                        native=(128, 128),
                    ),
                )
                for strength in (None, detail)
            ),
        ]
        for parent in parents[:2]
    ]


STRIPS: Final = {
    "variations": variations,
    "start-images": start_images,
    "masks": masks,
    "outside": outside,
    "larger": larger,
}


def seeded(recipe: Recipe, number: int) -> Recipe:
    """Return the recipe with fixed seeds where a command would draw fresh ones."""
    if recipe.variations:
        *before, last = recipe.variations
        return replace(recipe, variations=(*before, replace(last, seed=number)))
    return replace(recipe, seed=number)


def drawn(shop: Workshop, recipe: Recipe) -> Image.Image:
    """Draw a recipe's picture."""
    return Image.fromarray(shop.pixels(shop.draw(recipe)))


def opened(shop: Workshop, parent: Parent) -> Image.Image:
    """Return a parent's picture."""
    return Image.fromarray(shop.pixels(parent.picture))


def sheet(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Lay rows of pictures side by side."""
    heights = [max(image.height for image in row) for row in rows]
    width = max(sum(image.width + GAP for image in row) - GAP for row in rows)
    page = Image.new("RGB", (width, sum(heights) + GAP * (len(rows) - 1)), "white")
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for image in row:
            page.paste(image, (left, top))
            left += image.width + GAP
        top += height + GAP
    return page


def main() -> None:
    """Write every strip."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    shop = Workshop(load_starter(), load_judge())
    parents = draw_parents(shop, 4)
    for name, make in STRIPS.items():
        sheet(make(shop, parents)).save(folder / f"pictures-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
