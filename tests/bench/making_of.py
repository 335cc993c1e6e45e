"""Measure making-ofs: where words' heat lies, and what taps cost jobs that have none.

    python -m tests.bench.making_of [COMMIT]

Heat: over 50 pictures, by the renderer's masks (`tests.starter.heat`). Cost: jobs without taps at
this commit and at another one, in pairs, each in a process of its own that draws a picture at a
time; told is the ratio of CPU seconds with its 95 % interval.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, stdev
from typing import Final

from engine.executors.child import child_environment
from tests.bench.discord import checked_out
from tests.conftest import ROOT
from tests.starter import heat

BASE: Final = "6cfe50a"  # the last commit without taps
PICTURES: Final = 50
PAIRS: Final = 60
WARM: Final = 3  # pictures before
DRAW: Final = """
import sys, time
import torch
from engine.events import Ended
from engine.executors.config import EngineConfig
from engine.executors.opening import open_pipeline
from engine.spec import Spec
from tests.factories import make_recipe
torch.set_num_threads(1)
pipeline = open_pipeline(EngineConfig(device="cpu"))
for number, _ in enumerate(sys.stdin):
    recipe = make_recipe(steps=20, width=128, height=128, seed=number)
    begun = time.process_time()
    pipeline.admit(Spec(job=number, epoch=1, recipe=recipe))
    while pipeline.busy:
        for report in pipeline.tick():
            assert not isinstance(report.news, Ended) or report.news.error is None
    print(time.process_time() - begun, flush=True)
"""


@contextmanager
def drawer(tree: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that draws a picture for each line, by a tree's code."""
    environment = {**child_environment(), "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", DRAW],
        cwd=tree,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def draw(process: subprocess.Popen[str]) -> float:
    """Let it draw a picture; return its CPU seconds."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def costs(commit: str) -> None:
    """Print how long jobs without taps take, beside another commit's."""
    with checked_out(commit) as other, drawer(ROOT) as here, drawer(other) as there:
        ratios = []
        for number in range(PAIRS + WARM):
            pair = (here, there) if number % 2 else (there, here)
            seconds = {process: draw(process) for process in pair}
            if number >= WARM:
                ratios.append(math.log(seconds[here] / seconds[there]))
    sys.stdout.write(f"CPU time without taps, beside {commit}: {interval(ratios)}, {PAIRS} pairs\n")


def interval(logarithms: Sequence[float]) -> str:
    """Write the mean of ratios, of which these are the logarithms, with its 95 % interval."""
    middle, wide = mean(logarithms), 1.96 * stdev(logarithms) / math.sqrt(len(logarithms))
    low, high = math.exp(middle - wide), math.exp(middle + wide)
    return f"{math.exp(middle):.4f} ({low:.4f} to {high:.4f})"


def heats() -> None:
    """Print the mean heat inside and outside, by word."""
    found: dict[str, list[heat.Contrast]] = defaultdict(list)
    for each in heat.measure(PICTURES):
        for name, contrast in (
            ("every subject", each.figure),
            (each.subject, each.figure),
            ("sea", each.ground),
        ):
            found[name].append(contrast)
    sys.stdout.write(
        "| word | pictures | mean inside | mean outside | ratio |\n|---|---|---|---|---|\n"
    )
    for name, contrasts in sorted(found.items(), key=lambda item: -len(item[1])):
        both = heat.mean(contrasts)
        row = f"{both.inside:.0f} | {both.outside:.0f} | {both.inside / both.outside:.2f}"
        sys.stdout.write(f"| {name} | {len(contrasts)} | {row} |\n")


if __name__ == "__main__":
    heats()
    costs(sys.argv[1] if len(sys.argv) > 1 else BASE)
