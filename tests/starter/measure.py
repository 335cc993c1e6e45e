"""Measure the bundled model, for the figures of the model card.

`python -m tests.starter.measure [table …] [--model FOLDER] [--count N]` prints each table as it
stands in docs/starter-model.md. Seeds are fixed: the same weights give the same figures.
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.families.stable_diffusion import StableDiffusion
from engine.models.catalogue import STARTER_FOLDER
from engine.starter.captions import draw_caption
from engine.starter.render.picture import render
from engine.starter.training.pictures import to_signed
from engine.starter.world import MATERIALS, PEOPLE, SUBJECTS, Spec, draw_spec
from tests.starter.drawing import draw, load_starter
from tests.starter.judge import (
    CHOICES,
    Judge,
    Verdict,
    draw_renders,
    is_right,
    judge,
    load_judge,
    shares,
)

Pixels = NDArray[np.uint8]

SAMPLERS = ("euler", "euler_ancestral", "heun", "dpmpp_2m", "ddim")
STEPS = (8, 12, 20, 30)
STRENGTHS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NEGATIVES = {"book": "object", "sword": "object", "night": "ground"}
_SEED = 2027  # of the prompts; the pictures' seeds count from 1
_RENDERS = 512
_SEEN = ("subject", "material", "ground")  # what every picture shows


@dataclass(frozen=True)
class Bench:
    """The model that is measured, the judge, and over how many pictures."""

    model: StableDiffusion
    eye: Judge
    count: int

    def judged(self, prompts: Sequence[str], **values: Any) -> list[Verdict]:
        """Draw one picture a prompt and name what is on each."""
        return judge(self.eye, draw(self.model, prompts, **values))


def draw_wishes(count: int, *, held_out: bool = False) -> tuple[list[Spec], list[str]]:
    """Draw specs, and prompts that name all of each; every second prompt is Chinese."""
    rng = np.random.default_rng(_SEED)
    specs = [draw_spec(rng, held_out=held_out) for _ in range(count)]
    return specs, [_full_caption(spec, rng, chinese=i % 2 == 1) for i, spec in enumerate(specs)]


def draw_changes(count: int) -> tuple[list[Spec], list[Spec], list[str]]:
    """Draw start specs, others that differ in everything but hands, and prompts for those."""
    specs, prompts = draw_wishes(count)
    rng = np.random.default_rng(_SEED + 1)
    return [_draw_other(spec, rng) for spec in specs], specs, prompts


def open_wishes(count: int, attribute: str) -> tuple[list[Spec], list[str]]:
    """Draw prompts that name subject and material alone: `attribute` is left to the model."""
    subjects = PEOPLE if attribute == "object" else SUBJECTS
    pairs = [(material, subject) for material in MATERIALS for subject in subjects]
    chosen = [pairs[i * 7 % len(pairs)] for i in range(count)]  # 7 divides neither 40 nor 96
    specs = [
        Spec(subject=subject, material=material, object="none", ground="grey")
        for material, subject in chosen
    ]
    return specs, [f"{material} {subject}" for material, subject in chosen]


def measure_renders(bench: Bench) -> None:
    """Show how far the judge itself can be trusted, and how much the codec keeps."""
    specs, pictures = draw_renders(4242, _RENDERS)
    _row("renders it never saw", _RENDERS, _shares(specs, judge(bench.eye, pictures)))
    restored, decibels = _through_codec(bench.model, pictures)
    _row("the same after the codec", _RENDERS, _shares(specs, judge(bench.eye, restored)))
    _say(f"codec: {decibels:.2f} dB")


def measure_prompts(bench: Bench) -> None:
    """Show what is right where everything is named: seen and held-out combinations."""
    for held_out, name in ((False, "seen in training"), (True, "held out of it")):
        specs, prompts = draw_wishes(bench.count, held_out=held_out)
        verdicts = bench.judged(prompts)
        _row(name, bench.count, _shares(specs, verdicts))
        for chinese in (False, True):
            half = slice(int(chinese), None, 2)
            language = "Chinese" if chinese else "English"
            _row(f"– in {language}", len(specs[half]), _shares(specs[half], verdicts[half]))
    specs, prompts = draw_wishes(bench.count)
    for steps in (20, 30):
        row = _shares(specs, bench.judged(prompts, steps=steps))
        _row(f"seen, {steps} steps", bench.count, row)


def measure_open(bench: Bench) -> None:
    """Show what the model puts where a prompt leaves object and ground open."""
    _, prompts = open_wishes(bench.count, "object")
    verdicts = bench.judged(prompts)
    for attribute in ("object", "ground"):
        found = Counter(verdict.names[attribute] for verdict in verdicts)
        _say(f"{attribute}: " + ", ".join(f"{name} {count}" for name, count in found.most_common()))


def measure_negatives(bench: Bench) -> None:
    """Show what a negative prompt takes away unasked, and what it leaves as it was."""
    for word, attribute in NEGATIVES.items():
        specs, prompts = open_wishes(bench.count, attribute)
        cells: list[object] = []
        for negative in ("", word):
            verdicts = bench.judged(prompts, negative=negative)
            right = shares(specs, verdicts)
            seen = sum(verdict.names[attribute] == word for verdict in verdicts)
            cells += [seen, _percent(right["subject"]), _percent(right["material"])]
        _row(word, bench.count, *cells)


def measure_samplers(bench: Bench) -> None:
    """Show the share of pictures with everything right, by sampler and steps."""
    specs, prompts = draw_wishes(bench.count)
    for sampler in SAMPLERS:
        cells = []
        for steps in STEPS:
            verdicts = bench.judged(prompts, sampler=sampler, steps=steps)
            right = sum(map(is_right, specs, verdicts)) / bench.count
            cells.append(_percent(right))
        _row(sampler, *cells)


def measure_strengths(bench: Bench) -> None:
    """Show what a start image keeps, and what the prompt has changed, by strength."""
    starts, specs, prompts = draw_changes(bench.count)
    images = np.stack([render(spec, np.random.default_rng(i)) for i, spec in enumerate(starts)])
    for strength in STRENGTHS:
        verdicts = bench.judged(prompts, on=images, strength=strength)
        kept, asked = shares(starts, verdicts), shares(specs, verdicts)
        cells = [_percent(share[name]) for share in (kept, asked) for name in _SEEN]
        _row(strength, *cells)


def measure_speed(bench: Bench) -> None:
    """Show seconds a picture, alone and in a batch of eight, and the folder's size."""
    for batch in (1, 8):
        draw(bench.model, ["a marble scholar"] * batch)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            draw(bench.model, ["a marble scholar"] * batch)
            times.append((time.perf_counter() - started) / batch)
        _say(f"{batch} at once: {sorted(times)[2]:.2f} s a picture")
    folder = bench.model.checkpoint.folder
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    _say(f"folder: {size / 1e6:.2f} MB")


TABLES: dict[str, Callable[[Bench], None]] = {
    "renders": measure_renders,
    "prompts": measure_prompts,
    "open": measure_open,
    "negatives": measure_negatives,
    "samplers": measure_samplers,
    "strengths": measure_strengths,
    "speed": measure_speed,
}


def main() -> None:
    """Print the tables named on the command line, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.starter.measure")
    parser.add_argument("tables", nargs="*", metavar="table", help=", ".join(TABLES))
    parser.add_argument("--model", type=Path, default=STARTER_FOLDER)
    parser.add_argument("--count", type=int, default=200, help="pictures a figure")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    unknown = [table for table in chosen.tables if table not in TABLES]
    if unknown:
        parser.error(f"no such table: {', '.join(unknown)} (there are {', '.join(TABLES)})")
    torch.set_num_threads(chosen.threads)
    bench = Bench(load_starter(chosen.model), load_judge(), chosen.count)
    for table in chosen.tables or TABLES:
        _say(f"--- {table}")
        TABLES[table](bench)


def _draw_other(spec: Spec, rng: np.random.Generator) -> Spec:
    while True:
        other = draw_spec(rng)
        if all(getattr(other, name) != getattr(spec, name) for name in _SEEN):
            return other


def _full_caption(spec: Spec, rng: np.random.Generator, *, chinese: bool) -> str:
    while True:
        text = draw_caption(spec, rng, full=True).text
        if text.isascii() != chinese:
            return text


@torch.inference_mode()
def _through_codec(model: StableDiffusion, pictures: Pixels) -> tuple[Pixels, float]:
    """Encode and decode pictures; give them back with the codec's decibels."""
    restored, errors = [], []
    for start in range(0, len(pictures), 32):
        given = to_signed(pictures[start : start + 32])
        back = model.vae.decode(model.vae.encode(given).latent_dist.mode()).sample.clamp(-1, 1)
        errors.append((back - given).square().mean((1, 2, 3)))
        restored.append(((back + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(restored), 10 * math.log10(4 / float(torch.cat(errors).mean()))


def _shares(specs: Sequence[Spec], verdicts: Sequence[Verdict]) -> str:
    right = shares(specs, verdicts)
    return " | ".join(_percent(right[name]) for name in CHOICES)


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _row(*cells: object) -> None:
    _say("| " + " | ".join(str(cell) for cell in cells) + " |")


if __name__ == "__main__":
    main()
