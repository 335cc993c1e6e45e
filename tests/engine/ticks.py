"""Drive a pipeline tick by tick, and watch what it says."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from engine.device.call_costs import Buckets
from engine.events import Ended, Key, Picture, Progress, Stage
from engine.loading.model import Model
from engine.pipeline.batching import Batching
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.residency import One
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


def make_pipeline(
    model: Model, buckets: Buckets = ROOMY, batching: Batching = Batching.EXACT
) -> Pipeline:
    """Return a pipeline on a loaded model, with calls that cost what is said."""

    def measure(device: object, what: str, call: object) -> Buckets:
        return buckets

    return Pipeline(One(model, measure), batching)


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
