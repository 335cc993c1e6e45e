"""Draw the grid of the model card: twelve fixed prompts, seeds 1 to 12, none picked.

`python -m tests.starter.grid [--model FOLDER] [--out FILE]`
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from engine.models.catalogue import STARTER_FOLDER
from tests.starter.drawing import draw, load_starter

PROMPTS = (
    "a marble scholar holding a book",
    "a marble scholar holding a book in a library",
    "a gold king holding a sword by the sea",
    "a bronze warrior holding a sword at sunset",
    "an ice angel holding a lantern at night",
    "a jade dancer on a white background",
    "a wooden owl at night",
    "a terracotta horse in a meadow",
    "an obsidian cat on a grey background",
    "拿着花的大理石天使",  # a marble angel holding a flower
    "海边的青铜狮子",  # a bronze lion by the sea
    "夜晚的黄金学者拿着灯笼",  # a gold scholar holding a lantern at night
)
_IN_ENGLISH = {
    9: "(zh) marble angel holding a flower",
    10: "(zh) bronze lion by the sea",
    11: "(zh) gold scholar, lantern, at night",
}
_LINE = 22  # px


def captioned(
    pictures: NDArray[np.uint8], captions: list[str], *, columns: int = 4, zoom: int = 2
) -> Image.Image:
    """Set pictures `[n, h, w, 3]` in rows with a line of text below each."""
    side = pictures.shape[1] * zoom
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * side, rows * (side + _LINE)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, picture in enumerate(pictures):
        x, y = index % columns * side, index // columns * (side + _LINE)
        large = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
        sheet.paste(large, (x, y))
        pen.text((x + 4, y + side + 5), captions[index], fill="black")
    return sheet


def main() -> None:
    """Draw the grid and write it."""
    parser = argparse.ArgumentParser(prog="python -m tests.starter.grid")
    parser.add_argument("--model", type=Path, default=STARTER_FOLDER)
    parser.add_argument("--out", type=Path, default=Path("docs/images/starter-grid.png"))
    chosen = parser.parse_args()
    pictures = draw(load_starter(chosen.model), PROMPTS)
    captions = [f"{n + 1}. {_IN_ENGLISH.get(n, prompt)}" for n, prompt in enumerate(PROMPTS)]
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    captioned(pictures, captions).save(chosen.out, optimize=True)


if __name__ == "__main__":
    main()
