"""People who ask for pictures: their recipes, when they come, and how long each of them waited."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from engine.decode.vae import Previewer
from engine.device.probe import Measurements, Probe
from engine.events import Ended
from engine.families.stable_diffusion import StableDiffusion
from engine.pipeline import finishing
from engine.pipeline.batching import Batching
from engine.pipeline.pipeline import Pipeline
from engine.recipe.recipe import Recipe
from engine.spec import Spec
from tests.engine.ticks import OneModel, pipeline_on

STEPS = (8, 12, 16, 20)
# All of them call the U-Net once a step, as the schedulers that they are compared with do.
SAMPLERS = ("euler", "dpmpp_2m", "euler_ancestral", "ddim")
PROMPTS = ("a marble scholar", "a bronze lion", "a plaster bust of a poet", "a granite sword")


def make_crowd(model: StableDiffusion, people: int, seed: int = 1, side: int = 0) -> list[Recipe]:
    """Return a recipe for each person: steps, scales, seeds, samplers and words differ.

    side: of the pictures, in pixels; else it is the model's own.
    """
    chance, defaults = random.Random(seed), model.checkpoint.defaults
    return [
        Recipe(
            prompt=chance.choice(PROMPTS),
            seed=chance.randrange(2**32),
            steps=chance.choice(STEPS),
            guidance_scale=chance.choice((3.0, 4.0, 7.5)),
            width=side or defaults.width,
            height=side or defaults.height,
            sampler=chance.choice(SAMPLERS),
            schedule="normal",
            checkpoint=model.checkpoint.name,
        )
        for _ in range(people)
    ]


# Of each model, as a process has it for as long as it lives: what was measured is kept.
MODELS: dict[tuple[int, Batching], OneModel] = {}


def make_pipeline(model: StableDiffusion, batching: Batching) -> Pipeline:
    """Return a pipeline as a child process has it once it is warm."""
    probe = Probe(Measurements(None))
    measure = probe.buckets if batching is Batching.EXACT else probe.buckets_now
    models = MODELS.setdefault((id(model), batching), OneModel(model, measure=measure))
    return pipeline_on(models, batching)


@dataclass(frozen=True)
class Run:
    """Hold how long everything took, and how long each person waited, in seconds."""

    seconds: float
    waits: Sequence[float]

    @property
    def rate(self) -> float:
        """Return pictures a second."""
        return len(self.waits) / self.seconds


def serve(pipeline: Pipeline, recipes: Sequence[Recipe], arrivals: Sequence[float]) -> Run:
    """Draw recipes that arrive at these seconds from the start."""
    coming = sorted(zip(arrivals, range(len(recipes)), strict=True), reverse=True)
    begun, waits = time.perf_counter(), {}
    while coming or pipeline.busy:
        now = time.perf_counter() - begun
        while coming and coming[-1][0] <= now:
            _, number = coming.pop()
            pipeline.admit(Spec(job=number, epoch=1, recipe=recipes[number]))
        if not pipeline.busy:
            time.sleep(max(0.0, coming[-1][0] - now))
        for report in pipeline.tick():
            if isinstance(report.news, Ended):
                assert report.news.error is None, report.news.error
                waits[report.key.job] = time.perf_counter() - begun - arrivals[report.key.job]
    return Run(time.perf_counter() - begun, list(waits.values()))


def wait_of_a_short_job(pipeline: Pipeline, recipe: Recipe, others: int) -> float:
    """Return how long a job of 4 steps takes that joins so many of 50, ten ticks after them."""
    short, long = replace(recipe, steps=4, sampler="euler"), replace(recipe, steps=50)
    for number in range(others):
        pipeline.admit(Spec(job=number, epoch=1, recipe=replace(long, seed=number)))
    for _ in range(others and 10):
        list(pipeline.tick())
    begun = time.perf_counter()
    pipeline.admit(Spec(job=others, epoch=1, recipe=short))
    while not any(r.key.job == others and isinstance(r.news, Ended) for r in pipeline.tick()):
        pass
    return time.perf_counter() - begun


class Meter:
    """Add up what a model's calls and previews take: seconds, and those of this thread alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.own: dict[str, float] = {}

    @contextmanager
    def watch(self, model: StableDiffusion) -> Iterator[None]:
        """Time the model's calls and the previews while the context lasts."""
        places: list[tuple[Any, str, str]] = [
            (model.unet, "forward", "model"),
            (model.text_encoder, "forward", "model"),
            (model.vae, "decode", "model"),
            (Previewer, "__call__", "previews"),
            (finishing, "write_png", "PNGs"),
        ]
        kept = [(place, name, getattr(place, name)) for place, name, _ in places]
        for place, name, kind in places:
            setattr(place, name, self._timed(getattr(place, name), kind))
        try:
            yield
        finally:
            for place, name, function in kept:
                setattr(place, name, function)

    def _timed(self, function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begun, own = time.perf_counter(), time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent, self_spent = time.perf_counter() - begun, time.thread_time() - own
                self.seconds[kind] = self.seconds.get(kind, 0.0) + spent
                self.own[kind] = self.own.get(kind, 0.0) + self_spent

        return timed
