"""Drive a pipeline tick by tick, on one loaded model, and check its reports."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.device.call_costs import UNMEASURED, Buckets
from engine.device.out_of_memory import Ladder
from engine.device.probe import Measuring
from engine.events import Ended, Key, Picture, Progress, Stage
from engine.files.stored import PictureFolder
from engine.finish.upscale import Upscaler
from engine.loading.model import Model
from engine.making_of.tap import MakingOf
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pipeline.batching import Batching
from engine.pipeline.costs import Measure
from engine.pipeline.finishing import unchecked
from engine.pipeline.loaded_model import LoadedModel
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.residency import Residency
from engine.recipe.recipe import Recipe
from engine.spec import Spec

# Batching gains much: eight rows cost as much as one.
ROOMY = Buckets({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0, 16: 3.0})
# Batching gains nothing.
TIGHT = Buckets({1: 1.0, 2: 2.0})
# As on a processor: some rows more gain something, many do not.
STEEP = Buckets({1: 1.0, 2: 1.43, 4: 2.13, 8: 3.5, 16: 6.9})

News = Progress | Picture | Ended
ORDER = [Stage.LOAD, Stage.ENCODE, Stage.DENOISE, Stage.DECODE]


def costing(buckets: Buckets) -> Measure:
    """Return a measurement of calls with that result."""

    def measure(*_: object) -> Measuring:
        yield from ()
        return buckets

    return measure


unmeasured = costing(UNMEASURED)


def make_loaded_model(
    model: Model,
    models_dir: Path | None = None,
    measure: Measure = unmeasured,
    *,
    ladder: Ladder | None = None,
    make_room: Callable[[int], object] = lambda size: None,
    offloaded: bool = False,
    by_groups: Collection[str] = (),
) -> LoadedModel:
    """Return a loaded model; all rows of its calls cost the same, unless they are measured.

    by_groups: parts of which a few blocks are on the device at a time.
    """
    return LoadedModel(
        model,
        models_dir,
        measure,
        ladder or Ladder(),
        make_room,
        offloaded=offloaded or bool(by_groups),
        in_turns=bool(by_groups),
        by_groups=by_groups,
    )


def load_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model count as one that is loaded in a thread."""
    monkeypatch.setattr("engine.pipeline.residency.LARGE", 0)


class OneModel(Residency):
    """One loaded model, under any name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.loaded_model = make_loaded_model(*args, **kwargs)

    def get(self, name: str) -> LoadedModel:
        return self.loaded_model

    load = get
    loading = at_work = False

    def close(self) -> None:
        pass


def pipeline_on(
    models: Residency | Model,
    batching: Batching = Batching.EXACT,
    *,
    measure: Measure = unmeasured,
    models_dir: Path | None = None,
    ladder: Ladder | None = None,
    **parts: Any,
) -> Pipeline:
    """Return a pipeline without stored pictures and upscale models, unless they are given."""
    ladder = ladder or Ladder()
    if isinstance(models, Model):
        models = OneModel(models, models_dir, measure, ladder=ladder)
    upscaler = Upscaler(ModelFiles(None, ModelKind.UPSCALER), torch.device("cpu"), ladder)
    usual: dict[str, Any] = {
        "store": PictureFolder(None),
        "upscale": upscaler,
        "check_safety": unchecked,
        "open_tap": MakingOf,
    }
    return Pipeline(models, batching, ladder=ladder, **{**usual, **parts})


def make_pipeline(
    model: Model,
    buckets: Buckets = ROOMY,
    batching: Batching = Batching.EXACT,
    **parts: Any,
) -> Pipeline:
    """Return a pipeline on a loaded model, with calls of those costs."""
    return pipeline_on(model, batching, measure=costing(buckets), **parts)


def run(pipeline: Pipeline, recipe: Recipe) -> list[Progress | Picture]:
    """Draw a recipe alone; return its events, or raise the error that it ended with."""
    *events, end = drive(pipeline, {0: [Spec(job=0, epoch=1, recipe=recipe)]})[0]
    assert isinstance(end, Ended)
    if end.error:
        raise end.error
    return [each for each in events if not isinstance(each, Ended)]


def drive(
    pipeline: Pipeline,
    arrivals: Mapping[int, Sequence[Spec]],
    cancels: Mapping[int, Sequence[Key]] | None = None,
) -> dict[int, list[News]]:
    """Tick until all is done; jobs arrive and are cancelled before the ticks named. By job."""
    told: dict[int, list[News]] = defaultdict(list)
    tick, left = 0, dict(arrivals)
    while left or pipeline.busy:
        for spec in left.pop(tick, ()):
            pipeline.admit(spec)
        for key in (cancels or {}).get(tick, ()):
            pipeline.cancel(key)
        for report in pipeline.tick():
            told[report.key.job].append(report.news)
        tick += 1
    return told


def draw(pipeline: Pipeline, recipes: Sequence[Recipe], joining: Sequence[int]) -> list[list[News]]:
    """Draw recipes that join at the ticks named; return each one's news, checked for order."""
    arrivals = defaultdict(list)
    for number, (recipe, tick) in enumerate(zip(recipes, joining, strict=True)):
        arrivals[tick].append(Spec(job=number, epoch=1, recipe=recipe))
    told = drive(pipeline, arrivals)
    pipeline.close()
    for number in range(len(recipes)):
        check_order(told[number])
    return [told[number] for number in range(len(recipes))]


def check_order(news: Sequence[News]) -> None:
    """Hold a job's news to their order: stages, then steps; one end, and nothing after it."""
    assert [isinstance(each, Ended) for each in news] == [False] * (len(news) - 1) + [True]
    ranks = [(ORDER.index(p.stage), p.step) for p in news if isinstance(p, Progress)]
    assert all(before < after for before, after in pairwise(ranks))
    pictures = [each.index for each in news if isinstance(each, Picture)]
    assert pictures == sorted(pictures)


def pngs(news: Sequence[News]) -> list[bytes]:
    """Return the pictures of a job's news."""
    return [each.png for each in news if isinstance(each, Picture)]


def steps(news: Sequence[News]) -> list[int]:
    """Return the steps of denoising that were told."""
    return [p.step for p in news if isinstance(p, Progress) and p.stage is Stage.DENOISE]
