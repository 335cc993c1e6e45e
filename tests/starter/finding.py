"""Which picture a caption finds among others, by the bundled towers.

`python -m tests.starter.finding` prints the table of docs/starter-model.md. The judge only says
which of the model's own drawings show what was asked for.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from engine.finish.towers import Towers, load_towers
from engine.models.catalogue import STARTER
from engine.starter.captions import Language, draw_caption
from engine.starter.render.picture import render
from engine.starter.world import Spec, draw_spec
from tests.starter.drawing import draw, load_starter
from tests.starter.judge import is_right, judge, load_judge

SEED = 4040  # of no training
LANGUAGES: tuple[Language, ...] = ("en", "zh")


def draw_specs(rng: np.random.Generator, count: int, *, held_out: bool = False) -> list[Spec]:
    """Draw so many different combinations."""
    found: dict[Spec, None] = {}
    while len(found) < count:
        found[draw_spec(rng, held_out=held_out)] = None
    return list(found)


def full_captions(specs: Sequence[Spec], language: Language, rng: np.random.Generator) -> list[str]:
    """Draw a caption of each spec that names everything."""
    return [draw_caption(spec, rng, full=True, language=language).text for spec in specs]


def see(towers: Towers, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return the vectors of pictures, uint8 `[h, w, 3]`."""
    return towers.pictures([Image.fromarray(picture) for picture in pictures])


def share_first(asked: NDArray[np.float32], there: NDArray[np.float32]) -> float:
    """Return for how many of n vectors the one of the same number is the nearest."""
    return float(((asked @ there.T).argmax(1) == np.arange(len(asked))).mean())


def main() -> None:
    """Print the shares, over several hundreds of renders and over the model's own drawings."""
    parser = argparse.ArgumentParser(prog="python -m tests.starter.finding", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="hundreds of renders of each kind")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    towers = load_towers(STARTER)
    _say(f"{towers.name}, vectors of {towers.width} numbers")
    _say("| of 100 different combinations | English | Chinese | English, from the picture |")
    _say("| --- | --- | --- | --- |")
    for title, held_out in (("seen in training", False), ("held out of it", True)):
        rng = np.random.default_rng((SEED, held_out))
        rows = []
        for _ in range(chosen.rounds):
            specs = draw_specs(rng, 100, held_out=held_out)
            seen = see(towers, [render(spec, rng) for spec in specs])
            rows.append(_shares(towers, specs, seen, rng))
        _say(f"| {len(rows)}00 renders, combinations {title} | {_percent(np.mean(rows, 0))} |")
    rng = np.random.default_rng((SEED, 2))
    specs = draw_specs(rng, 100)
    drawn = draw(load_starter(), full_captions(specs, "en", rng))
    right = [is_right(*pair) for pair in zip(specs, judge(load_judge(), drawn), strict=True)]
    shares = _shares(towers, specs, see(towers, list(drawn)), rng)
    _say(
        f"| 100 of the model's own drawings, {sum(right)} right by the judge | {_percent(shares)} |"
    )


def _shares(
    towers: Towers, specs: Sequence[Spec], seen: NDArray[np.float32], rng: np.random.Generator
) -> tuple[float, ...]:
    """Return the shares of both languages, and of the English captions found by pictures."""
    read = [towers.texts(full_captions(specs, language, rng)) for language in LANGUAGES]
    return (*(share_first(texts, seen) for texts in read), share_first(seen, read[0]))


def _percent(shares: Sequence[float]) -> str:
    return " | ".join(f"{share:.1%}" for share in shares)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
