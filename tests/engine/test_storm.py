"""A storm: any mix of jobs, cancels and faults. Each job ends once, and nothing stays."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batching import Batching
from engine.buckets import Buckets
from engine.errors import Cancelled, MarbleError
from engine.events import Picture
from engine.executors import Spec
from engine.loading import Model
from engine.memory import One
from engine.metadata import encode_png
from engine.pipeline import Pipeline
from engine.reports import Ended, Key
from engine.sources import Upscale
from tests.engine.ticks import ROOMY, STEEP, TIGHT, News
from tests.factories import make_recipe

LONGEST = 300  # ticks; a mix that takes more hangs
ERRORS = (
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ValueError("broken"),
)
RECIPES = st.builds(
    make_recipe,
    prompt=st.sampled_from(["a cat", "a dog " * 50]),
    steps=st.integers(1, 5),
    guidance_scale=st.sampled_from([1.0, 4.0]),
    sampler=st.sampled_from(["euler", "heun", "dpmpp_2m_sde"]),
    count=st.integers(1, 3),
    width=st.sampled_from([64, 64, 96]),
    upscale=st.sampled_from([None, None, Upscale(factor=1.5), Upscale(factor=1.5, strength=0.5)]),
)


@dataclass(frozen=True)
class Fault:
    """Let a part fail at one of its calls."""

    part: str
    call: int
    error: Exception


FAULTS = st.builds(
    Fault,
    part=st.sampled_from(["unet", "vae", "text_encoder", "png"]),
    call=st.integers(0, 12),
    error=st.sampled_from(ERRORS),
)


@contextmanager
def faulty(model: Model, faults: Sequence[Fault]) -> Iterator[None]:
    """Let parts of the engine fail as the faults say."""
    targets = {
        "unet": (model.unet, "forward"),
        "vae": (model.vae, "_decode"),
        "text_encoder": (model.text_encoder, "forward"),
        "png": None,
    }
    with pytest.MonkeyPatch.context() as patch:
        for part, target in targets.items():
            calls = {fault.call: fault.error for fault in faults if fault.part == part}
            if target is None:
                patch.setattr("engine.reveal.encode_png", _failing(encode_png, calls))
            else:
                patch.setattr(*target, _failing(getattr(*target), calls))
        yield


def _failing(function: Any, calls: dict[int, Exception]) -> Any:
    count = iter(range(10**9))

    def call(*args: Any, **kwargs: Any) -> Any:
        if error := calls.get(next(count)):
            raise error
        return function(*args, **kwargs)

    return call


@settings(max_examples=40, deadline=None)
@given(
    jobs=st.lists(st.tuples(RECIPES, st.integers(0, 8), st.booleans()), min_size=1, max_size=5),
    cancels=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12)), max_size=4),
    faults=st.lists(FAULTS, max_size=3),
    buckets=st.sampled_from([ROOMY, STEEP, TIGHT]),
    batching=st.sampled_from(Batching),
)
def test_each_job_ends_once_and_nothing_stays(
    model: Model,
    jobs: list[tuple[Any, int, bool]],
    cancels: list[tuple[int, int]],
    faults: list[Fault],
    buckets: Buckets,
    batching: Batching,
) -> None:
    specs = [
        Spec(job=number, epoch=1, recipe=recipe, alone=alone)
        for number, (recipe, _, alone) in enumerate(jobs)
    ]
    pipeline = Pipeline(One(model, lambda device, what, call: buckets), batching)
    told: dict[int, list[News]] = defaultdict(list)
    with faulty(model, faults):
        for tick in range(LONGEST):
            for spec, (_, arrival, _) in zip(specs, jobs, strict=True):
                if arrival == tick:
                    pipeline.admit(spec)
            stopped = {job for job, at in cancels if at == tick}
            for job in stopped:
                pipeline.cancel(Key(job, 1))
            begun = {job for job in stopped if told[job]}
            for report in pipeline.tick():
                told[report.key.job].append(report.news)
            for job in begun:  # a step later it is over, whatever it was at
                assert isinstance(told[job][-1], Ended)
            if tick > 12 and not pipeline.busy:
                break
        else:
            pytest.fail("some job never ends")
    pipeline.close()
    for spec in specs:
        _check(spec, told[spec.job])
    assert pipeline._reveal.next is None
    assert not pipeline._reveal._pngs
    assert pipeline._models.get("starter").users == 0  # type: ignore[union-attr]


def _check(spec: Spec, news: list[News]) -> None:
    assert [isinstance(each, Ended) for each in news] == [False] * (len(news) - 1) + [True]
    end, drawn = news[-1], [each.index for each in news if isinstance(each, Picture)]
    assert isinstance(end, Ended)
    assert end.error is None or isinstance(end.error, MarbleError)
    assert drawn == sorted(set(drawn))
    if end.error is None:
        assert drawn == [*spec.recipe.pictures]
    elif isinstance(end.error, Cancelled):
        assert len(drawn) <= len(spec.recipe.pictures)
