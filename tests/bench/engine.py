"""Measure the engine beside diffusers' own pipeline: `python -m tests.bench.engine`.

--quick       fewer people and no repetition
--model F     the folder of a model (default: the bundled one)
--repeat N    measure everything N times, in turn, and take medians (default 5)

(a) diffusers' pipeline, one job after another; (b) the same, batched by hand: jobs of equal steps
in one call, all of them known beforehand; (c) Marble, whose people arrive at random times within
the time of one picture, each with their own steps, scale, seed and sampler. Marble's times include
what the others do not do: writing PNGs, their metadata, and previews.

Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

from engine.device.backends import pick_device
from engine.device.probe import software
from engine.families.stable_diffusion import StableDiffusion, load
from engine.models.catalogue import STARTER_FOLDER, describe
from engine.pipeline.batching import Batching
from engine.recipe.recipe import Recipe
from tests.bench.crowd import (
    MODELS,
    Meter,
    Run,
    make_crowd,
    make_pipeline,
    serve,
    wait_of_a_short_job,
)

Crowd = Sequence[Recipe]
Round = dict[str, Run]
BASE = "(a) diffusers, one after another"
HAND = "(b) diffusers, batched by hand"
CROWDS = (1, 4, 8, 16)


def say(*columns: object) -> None:
    """Print a row: the first column wide, the others narrow."""
    first, *others = map(str, columns)
    sys.stdout.write(f"{first:44}{''.join(f'{column:>16}' for column in others)}\n")
    sys.stdout.flush()


def theirs(model: StableDiffusion) -> Any:
    """Return diffusers' pipeline around the very modules that Marble uses."""
    folder = str(model.checkpoint.folder / "scheduler")
    pipeline = StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        unet=model.unet,
        scheduler=EulerDiscreteScheduler.from_pretrained(folder),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def call_theirs(pipeline: Any, recipes: Sequence[Recipe]) -> None:
    """Draw recipes of equal steps and sizes in one call."""
    pipeline(
        [recipe.prompt for recipe in recipes],
        negative_prompt=[recipe.negative_prompt for recipe in recipes],
        num_inference_steps=recipes[0].steps,
        guidance_scale=recipes[0].guidance_scale,
        width=recipes[0].width,
        height=recipes[0].height,
        generator=[torch.Generator().manual_seed(recipe.seed) for recipe in recipes],
    )


def one_after_another(pipeline: Any, recipes: Sequence[Recipe]) -> Run:
    """(a) All come at once; each waits for those before."""
    return by_groups(pipeline, [[recipe] for recipe in recipes])


def by_hand(pipeline: Any, recipes: Sequence[Recipe]) -> Run:
    """(b) All come at once, and are grouped by their steps."""
    groups = defaultdict(list)
    for recipe in recipes:
        groups[recipe.steps].append(recipe)
    return by_groups(pipeline, [groups[steps] for steps in sorted(groups)])


def by_groups(pipeline: Any, groups: Sequence[Sequence[Recipe]]) -> Run:
    begun, waits = time.perf_counter(), []
    for group in groups:
        call_theirs(pipeline, group)
        waits += [time.perf_counter() - begun] * len(group)
    return Run(time.perf_counter() - begun, waits)


def marble(
    model: StableDiffusion, batching: Batching, recipes: Sequence[Recipe], solo: float
) -> Run:
    """(c) People arrive at random times within the time of one picture."""
    chance = random.Random(len(recipes))
    arrivals = [0.0, *(chance.uniform(0, solo) for _ in recipes[1:])]
    pipeline = make_pipeline(model, batching)
    try:
        return serve(pipeline, recipes, arrivals)
    finally:
        pipeline.close()


def compare(model: StableDiffusion, crowds: Sequence[Crowd], repeat: int) -> None:
    """Print pictures a second and waits, for crowds of each size.

    All are measured in turn, round after round: what slows the machine for a while slows them all.
    """
    pipeline = theirs(model)
    say("", "pictures/s", "wait p50", "wait p95", "to (a)", "to (b)")
    for recipes in crowds:
        rounds = [one_round(model, pipeline, recipes) for _ in range(repeat)]
        for name in rounds[0]:
            row(f"{len(recipes):>2}  {name}", [each[name] for each in rounds], rounds)


def one_round(model: StableDiffusion, pipeline: Any, recipes: Crowd) -> Round:
    """Measure each way once."""
    base = one_after_another(pipeline, recipes)
    runs = {BASE: base, HAND: by_hand(pipeline, recipes)}
    for batching in Batching:
        solo = base.seconds / len(recipes)
        runs[f"(c) Marble, {batching}"] = marble(model, batching, recipes, solo)
    return runs


def row(name: str, runs: Sequence[Run], rounds: Sequence[Round]) -> None:
    """Print one way's medians over all rounds."""
    waits = sorted(wait for run in runs for wait in run.waits)
    ratios = [
        statistics.median(
            run.rate / each[other].rate for run, each in zip(runs, rounds, strict=True)
        )
        for other in (BASE, HAND)
    ]
    say(
        name,
        f"{statistics.median(run.rate for run in runs):.2f}",
        f"{statistics.median(waits):.2f} s",
        f"{waits[min(len(waits) - 1, int(0.95 * len(waits)))]:.2f} s",
        *(f"{ratio:.2f}×" for ratio in ratios),
    )


def one_person(model: StableDiffusion, recipes: Crowd) -> None:
    """Print one person's time beside (a)'s, picture by picture in turn."""
    pipeline = theirs(model)
    ours: list[float] = []
    others: list[float] = []
    for recipe in recipes:
        others.append(one_after_another(pipeline, [recipe]).seconds)
        ours.append(marble(model, Batching.EXACT, [recipe], 0).seconds)
    ratio = statistics.median(a / b for a, b in zip(ours, others, strict=True))
    say(f"one person, {len(recipes)} pictures in turn with (a): time", f"{ratio:.2f}×")


def shares(model: StableDiffusion, recipes: Crowd) -> None:
    """Print what the tick, the previews and all else take, in percent of all time.

    The tick's own share are its thread's seconds outside of what is named.
    """
    for batching in Batching:
        meter = Meter()
        with meter.watch(model):
            begun = time.thread_time()
            run = marble(model, batching, recipes, 0)
            own = time.thread_time() - begun - sum(meter.own.values())
        say(
            f"{len(recipes)} people, {batching}: share of the time",
            f"tick {100 * own / run.seconds:.1f} %",
            *(f"{k} {100 * v / run.seconds:.2f} %" for k, v in sorted(meter.seconds.items())),
        )


def short_among_long(model: StableDiffusion, recipe: Recipe, repeat: int) -> None:
    """Print how much longer a job of 4 steps takes among seven of 50."""
    for batching in Batching:
        waits: dict[int, list[float]] = {0: [], 7: []}
        for _ in range(repeat):
            for others, measured in waits.items():
                pipeline = make_pipeline(model, batching)
                measured.append(wait_of_a_short_job(pipeline, recipe, others))
                pipeline.close()
        alone, among = (statistics.median(measured) for measured in waits.values())
        say(
            f"4 steps among seven of 50, {batching}",
            f"{among:.2f} s",
            f"alone {alone:.2f} s",
            f"{among / alone:.2f}×",
        )


def say_rows(model: StableDiffusion) -> None:
    """Print how many rows calls have, as the probe has decided."""
    for batching in Batching:
        loaded_model = MODELS[id(model), batching].get("")
        for buckets in loaded_model.costs.measured.values():
            exact = batching is Batching.EXACT
            rows = buckets.canonical(2) if exact else buckets.widest()
            costs = ", ".join(f"{n}: {s * 1e3:.1f}" for n, s in buckets.seconds.items())
            say(f"{batching}: {rows} rows a call", f"   ms by rows: {costs}")


def bench(model: StableDiffusion, *, quick: bool, repeat: int, side: int = 0) -> None:
    """Print the whole table for a loaded model, with pictures of that side or its own."""
    warm = make_crowd(model, 2, side=side)
    say(f"{software(model.device)}, {model.dtype}, {warm[0].width}×{warm[0].height}")
    begun = time.perf_counter()
    one_after_another(theirs(model), warm)
    for batching in Batching:
        marble(model, batching, warm, 0)
    crowds = [make_crowd(model, people, side=side) for people in CROWDS]
    say_rows(model)
    compare(model, crowds[:2] if quick else crowds, 1 if quick else repeat)
    one_person(model, make_crowd(model, 2 if quick else 12, seed=5, side=side))
    shares(model, crowds[1] if quick else crowds[2])
    short_among_long(model, warm[0], 1 if quick else repeat)
    say(f"measured in {time.perf_counter() - begun:.0f} s")


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", type=Path, default=STARTER_FOLDER)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    model = load(describe("bench", arguments.model), pick_device())
    bench(model, quick=arguments.quick, repeat=arguments.repeat)


if __name__ == "__main__":
    main()
