"""Draw the sheet for fresh eyes: 24 fixed prompts, seeds 1 to 24, numbered, without captions.

`python -m tests.starter.eye [--model FOLDER] [--out FOLDER]` writes `sheet.png`, to be shown to
somebody who has not read this file, and `key.txt`, to be compared with what they say.
"""

import argparse
from pathlib import Path

from engine.models.catalogue import STARTER_FOLDER
from tests.starter.drawing import draw, load_starter
from tests.starter.grid import captioned

PROMPTS = (
    "a marble scholar holding a book",
    "a bronze horse by the sea",
    "a gold king holding a book on a blue background",
    "an ice cat at night",
    "a wooden warrior holding a sword in a meadow",
    "a jade angel with a book at sunset",
    "a terracotta vase on a white background",
    "an obsidian scholar carrying a book in a library",
    "a marble dancer holding a flower by the sea",
    "a gold lion in a meadow",
    "a bronze king with a sword at night",
    "a terracotta warrior holding a book on a grey background",
    "a jade owl in a library",
    "a wooden dancer holding a book at sunset",
    "an ice angel holding a lantern at night",
    "a marble column at sunset",
    "拿着书的青铜学者",  # a bronze scholar holding a book
    "海边的黄金天使拿着书",  # a gold angel by the sea, holding a book
    "a wooden tree on a blue background",
    "草地上的大理石国王拿着书",  # a marble king in a meadow, holding a book
    "an obsidian warrior holding a lantern by the sea",
    "an ice scholar holding a book on a white background",
    "夜晚的陶土马",  # a terracotta horse at night
    "a gold dancer with a sword in a library",
)
_COLUMNS = 6
_ZOOM = 3


def main() -> None:
    """Draw the sheet and its key."""
    parser = argparse.ArgumentParser(prog="python -m tests.starter.eye")
    parser.add_argument("--model", type=Path, default=STARTER_FOLDER)
    parser.add_argument("--out", type=Path, default=Path("runs/eye"))
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    numbers = [str(n + 1) for n in range(len(PROMPTS))]
    pictures = draw(load_starter(chosen.model), PROMPTS)
    sheet = captioned(pictures, numbers, columns=_COLUMNS, zoom=_ZOOM)
    sheet.save(chosen.out / "sheet.png", optimize=True)
    key = "".join(f"{n}. {prompt}\n" for n, prompt in zip(numbers, PROMPTS, strict=True))
    (chosen.out / "key.txt").write_text(key, encoding="utf-8")


if __name__ == "__main__":
    main()
