"""Measure the bundled model before the judge, for the figures of the model card.

`python -m tests.starter.measure [--model FOLDER] [--count N]` reports, over N prompts each (half
of them Chinese): combinations seen in training, held-out ones, fewer steps, and negative prompts.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from engine.checkpoints import STARTER_FOLDER
from engine.loading import Model
from engine.starter.captions import draw_caption
from engine.starter.training.log import Log
from engine.starter.world import Spec, draw_spec
from tests.starter.drawing import draw, load_starter
from tests.starter.judge import CHOICES, Judge, draw_renders, judge, load_judge, shares

_NEGATIVES = {
    "book": ("object", "a marble scholar"),
    "sword": ("object", "a bronze warrior"),
    "night": ("ground", "a gold king"),
}


def main() -> None:
    """Draw, judge and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.starter.measure")
    parser.add_argument("--model", type=Path, default=STARTER_FOLDER)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    log, model, eye = Log(Path("runs") / "measure.log"), load_starter(chosen.model), load_judge()
    specs, pictures = draw_renders(4242, 500)
    log.write("500 unseen renders: " + _line(shares(specs, judge(eye, pictures))))
    for held_out, name in ((False, "seen in training"), (True, "held out")):
        specs, prompts = _wishes(chosen.count, held_out=held_out)
        started = time.perf_counter()
        pictures = draw(model, prompts)
        pace = (time.perf_counter() - started) / chosen.count
        right = _line(shares(specs, judge(eye, pictures)))
        log.write(f"{chosen.count} {name}: {right} ({pace:.2f} s a picture)")
    specs, prompts = _wishes(chosen.count, held_out=False)
    right = _line(shares(specs, judge(eye, draw(model, prompts, steps=12))))
    log.write(f"{chosen.count} with 12 steps: {right}")
    for negative in _NEGATIVES:
        log.write(_negative(model, eye, negative, chosen.count // 4))


def _wishes(count: int, *, held_out: bool) -> tuple[list[Spec], list[str]]:
    rng = np.random.default_rng(2027)
    specs = [draw_spec(rng, held_out=held_out) for _ in range(count)]
    return specs, [draw_caption(spec, rng, full=True).text for spec in specs]


def _negative(model: Model, eye: Judge, negative: str, count: int) -> str:
    """Count how often something comes unasked, without and with its name in the negative."""
    attribute, prompt = _NEGATIVES[negative]
    subject = prompt.split()[-1]
    parts = []
    for words in ("", negative):
        verdicts = judge(eye, draw(model, [prompt] * count, negative=words))
        seen = sum(verdict.names[attribute] == negative for verdict in verdicts)
        kept = sum(verdict.names["subject"] == subject for verdict in verdicts)
        parts.append(f"{seen} of {count} ({subject} in {kept})")
    return f'negative "{negative}" on "{prompt}": {parts[0]} without it, {parts[1]} with it'


def _line(right: dict[str, float]) -> str:
    return ", ".join(f"{name} {right[name]:.1%}" for name in CHOICES)


if __name__ == "__main__":
    main()
