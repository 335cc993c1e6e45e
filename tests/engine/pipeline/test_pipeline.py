"""The tick: what a seed promises whatever the load, and what people are told on the way."""

import io
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from engine.decode.vae import Pixels
from engine.denoise.noise import CpuNumbers, GpuNumbers
from engine.device.call_costs import Buckets
from engine.errors import Cancelled, PromptError
from engine.events import Ended, Key, Picture, Progress, Stage
from engine.families.stable_diffusion import StableDiffusion
from engine.formats.metadata import write_png
from engine.pipeline.batching import Batching
from engine.pipeline.pipeline import Pipeline
from engine.recipe.limits import NOISES, SAMPLERS
from engine.recipe.parts import Area, Upscale
from engine.recipe.recipe import Recipe
from engine.spec import Spec
from tests.conftest import ROOT
from tests.engine.ticks import (
    ROOMY,
    STEEP,
    TIGHT,
    draw,
    drive,
    make_pipeline,
    pipeline_on,
    pngs,
    run,
    steps,
)
from tests.factories import make_recipe

LONG = "a marble scholar " * 6  # more than one window of tokens
# In A1111's grammar: texts that take turns, of one length and of two, and that compose.
CHANGING = ["a [cat|dog]", f"[a cat:{LONG * 4}:2]", "a cat AND a dog :0.5", "a [cat::0.5] AND b"]
# Boxes, of which each is a call of its own, and texts that act at some noise levels alone.
PLACED = [
    (Area(prompt="a dog", width=0.5), Area(prompt="dull", negative=True, strength=0.5)),
    (Area(end=0.6), Area(prompt=LONG * 4, start=0.3, left=0.25, top=0.5)),
    (Area(start=0.9, end=0.95),),
]
RECIPES = st.builds(
    make_recipe,
    prompt=st.sampled_from(["a cat", "a (blue:1.3) dog", LONG, *CHANGING]),
    syntax=st.sampled_from(["marble", "a1111"]),
    areas=st.sampled_from([(), (), (), *PLACED]),
    negative_prompt=st.sampled_from(["", "blurred"]),
    seed=st.integers(0, 2**64 - 1),
    steps=st.integers(1, 5),
    guidance_scale=st.sampled_from([1.0, 4.0, 7.5]),
    sampler=st.sampled_from(SAMPLERS),
    noise=st.sampled_from(NOISES),
    count=st.integers(1, 2),
    width=st.sampled_from([64, 64, 64, 128]),
)
MIXES = st.lists(st.tuples(RECIPES, st.integers(0, 8)), min_size=1, max_size=5)


def alone(
    model: StableDiffusion, recipe: Recipe, buckets: Buckets, batching: Batching
) -> list[bytes]:
    """Return the PNGs of a recipe that has the model to itself."""
    return pngs(draw(make_pipeline(model, buckets, batching), [recipe], [0])[0])


def psnr(one: bytes, other: bytes) -> float:
    """Return how near two pictures are, in dB."""
    a, b = (np.asarray(Image.open(io.BytesIO(png)), dtype=np.float64) for png in (one, other))
    error = float(((a - b) ** 2).mean())
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


@settings(max_examples=12, deadline=None)
@given(MIXES, st.sampled_from([ROOMY, TIGHT]))
def test_in_exact_mode_a_seed_gives_the_same_bytes_whatever_the_company(
    model: StableDiffusion, mix: list[tuple[Recipe, int]], buckets: Buckets
) -> None:
    recipes, joining = zip(*mix, strict=True)
    for recipe, news in zip(
        recipes, draw(make_pipeline(model, buckets), recipes, joining), strict=True
    ):
        assert pngs(news) == alone(model, recipe, buckets, Batching.EXACT)
        assert len(pngs(news)) == recipe.count


@settings(max_examples=12, deadline=None)
@given(MIXES)
def test_in_throughput_mode_company_changes_no_more_than_rounding_does(
    model: StableDiffusion, mix: list[tuple[Recipe, int]]
) -> None:
    recipes, joining = zip(*mix, strict=True)
    pipeline = make_pipeline(model, ROOMY, Batching.THROUGHPUT)
    for recipe, news in zip(recipes, draw(pipeline, recipes, joining), strict=True):
        solo = alone(model, recipe, ROOMY, Batching.THROUGHPUT)
        assert all(psnr(a, b) >= 45 for a, b in zip(pngs(news), solo, strict=True))


@pytest.mark.parametrize(
    ("choice", "draws"),
    [
        ({"sampler": "euler"}, 1),
        ({"sampler": "euler_ancestral"}, 1 + 3),
        ({"sampler": "euler_ancestral", "noise": "gpu"}, 1 + 3),
        ({"sampler": "lcm", "noise": "gpu", "ensd": 0}, 1 + 3),
        ({"sampler": "lcm", "upscale": Upscale(factor=1.5, strength=0.75)}, 1 + 3 + 1 + 2),
        ({"sampler": "dpmpp_sde"}, None),
    ],
)
def test_a_job_draws_noise_once_for_all_pictures_each_of_which_is_the_same_alone(
    choice: dict[str, Any],
    draws: int | None,
    model: StableDiffusion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    for kind in (CpuNumbers, GpuNumbers):
        monkeypatch.setattr(kind, "__call__", _counted(kind.__call__, made))
    recipe = make_recipe(count=4, steps=4, **choice)
    together = pngs(run(pipeline_on(model), recipe))
    assert draws in (len(made), None)
    for picture, png in enumerate(together):
        found = len(made)
        assert pngs(run(pipeline_on(model), replace(recipe, picture=picture))) == [png]
        assert len(made) - found == found // (picture + 1)


def _counted(draw: Callable[[Any, int], Tensor], made: list[int]) -> Callable[[Any, int], Tensor]:
    def counted(numbers: Any, number: int) -> Tensor:
        made.append(number)
        return draw(numbers, number)

    return counted


def test_in_exact_mode_a_seed_gives_the_same_bytes_in_another_process(
    model: StableDiffusion, tiny_folder: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; import torch; from hashlib import sha256\n"
        "from engine.models.catalogue import describe\n"
        "from engine.families.stable_diffusion import load\n"
        "from tests.engine.ticks import draw, make_pipeline, pngs\n"
        "from tests.factories import make_recipe\n"
        "model = load(describe('tiny', Path(sys.argv[1])), torch.device('cpu'))\n"
        "recipes = [make_recipe(seed=1), make_recipe(seed=2, sampler='heun')]\n"
        "news = draw(make_pipeline(model), recipes, [0, 1])\n"
        "print(sha256(pngs(news[1])[0]).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    here = alone(model, make_recipe(seed=2, sampler="heun"), ROOMY, Batching.EXACT)
    assert done.stdout.split()[-1] == digest(here[0])


def digest(png: bytes) -> str:
    from hashlib import sha256

    return sha256(png).hexdigest()


@pytest.fixture
def calls(model: StableDiffusion, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that fills with the rows of each call of the U-Net."""
    rows: list[int] = []
    forward: Callable[..., object] = model.unet.forward

    def counted(x: object, *args: object, **kwargs: object) -> object:
        rows.append(len(x))  # type: ignore[arg-type]
        return forward(x, *args, **kwargs)

    monkeypatch.setattr(model.unet, "forward", counted)
    return rows


def test_jobs_of_different_steps_scales_and_samplers_share_calls(
    model: StableDiffusion, calls: list[int]
) -> None:
    recipes = [
        make_recipe(steps=3, guidance_scale=7.0),
        make_recipe(steps=6, sampler="dpmpp_2m", prompt="a dog"),
        make_recipe(steps=6, guidance_scale=1.0, seed=4),
    ]
    draw(make_pipeline(model), recipes, [0, 0, 0])
    assert calls == [8] * 6  # padded to the one canonical size


def test_where_batching_gains_nothing_a_call_has_one_pictures_rows(
    model: StableDiffusion, calls: list[int]
) -> None:
    recipes = [make_recipe(steps=2), make_recipe(steps=3, guidance_scale=1.0)]
    draw(make_pipeline(model, TIGHT), recipes, [0, 0])
    assert sorted(calls) == [1, 1, 1, 2, 2]


def test_throughput_mode_pads_nothing_and_mixes_lengths(
    model: StableDiffusion, calls: list[int]
) -> None:
    recipes = [make_recipe(steps=2), make_recipe(steps=2, prompt=LONG)]
    draw(make_pipeline(model, ROOMY, Batching.THROUGHPUT), recipes, [0, 0])
    assert calls == [4, 4]


@pytest.mark.parametrize("batching", Batching)
@pytest.mark.parametrize("buckets", [ROOMY, TIGHT, STEEP])
def test_a_short_job_among_long_ones_takes_at_most_twice_its_own_calls(
    model: StableDiffusion, calls: list[int], buckets: Buckets, batching: Batching
) -> None:
    long = [make_recipe(steps=50, seed=n) for n in range(7)]
    pipeline = make_pipeline(model, buckets, batching)
    for number, recipe in enumerate(long):
        pipeline.admit(Spec(job=number, epoch=1, recipe=recipe))
    for _ in range(10):
        list(pipeline.tick())
    before = sum(buckets.cost(rows) for rows in calls)
    pipeline.admit(Spec(job=9, epoch=1, recipe=make_recipe(steps=4, seed=9)))
    while not any(isinstance(r.news, Picture) and r.key.job == 9 for r in pipeline.tick()):
        pass
    spent = sum(buckets.cost(rows) for rows in calls) - before
    pipeline.close()
    assert spent <= 2 * 4 * buckets.cost(2)


def test_nobody_waits_for_company(model: StableDiffusion, calls: list[int]) -> None:
    pipeline = make_pipeline(model)
    pipeline.admit(Spec(job=1, epoch=1, recipe=make_recipe(steps=2)))
    list(pipeline.tick())
    assert calls == [8]
    pipeline.close()


def test_a_job_that_is_to_be_alone_shares_no_call(model: StableDiffusion, calls: list[int]) -> None:
    specs = [
        Spec(job=n, epoch=1, recipe=make_recipe(steps=2, seed=n), alone=n == 0) for n in range(2)
    ]
    pipeline = make_pipeline(model)
    drive(pipeline, {0: specs})
    pipeline.close()
    assert len(calls) == 4


def test_steps_are_told_in_order_and_each_once(model: StableDiffusion) -> None:
    news = draw(make_pipeline(model), [make_recipe(steps=4, sampler="heun", count=2)], [0])[0]
    assert steps(news) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("tick", [1, 2, 3, 6, 7])
def test_a_job_is_cancelled_before_the_next_call(
    model: StableDiffusion, calls: list[int], tick: int
) -> None:
    pipeline = make_pipeline(model)
    spec = Spec(job=1, epoch=2, recipe=make_recipe(steps=6, count=3))
    news = drive(pipeline, {0: [spec]}, {tick: [Key(1, 2)]})[1]
    assert isinstance(news[-1], Ended)
    assert isinstance(news[-1].error, Cancelled)
    assert len(calls) == min(tick, 6)
    assert not pipeline.busy
    pipeline.close()


def test_a_job_that_waits_and_one_that_is_unknown_can_be_cancelled(model: StableDiffusion) -> None:
    pipeline = make_pipeline(model)
    spec = Spec(job=1, epoch=1, recipe=make_recipe())
    told = drive(pipeline, {0: [spec]}, {0: [Key(1, 1), Key(5, 5)]})
    assert [type(each) for each in told[1]] == [Ended]
    assert told.keys() == {1}
    pipeline.close()


def test_a_prompt_that_cannot_be_read_ends_its_job_alone(model: StableDiffusion) -> None:
    recipes = [make_recipe(prompt="(a cat:1e99)"), make_recipe(steps=2)]
    broken, fine = draw(make_pipeline(model), recipes, [0, 0])
    assert isinstance(broken[-1], Ended)
    assert isinstance(broken[-1].error, PromptError)
    assert len(pngs(fine)) == 1


def run_events(pipeline: Pipeline, recipe: Recipe) -> Sequence[object]:
    try:
        return run(pipeline, recipe)
    finally:
        pipeline.close()


def test_one_recipe_runs_by_itself_through_all_stages(model: StableDiffusion) -> None:
    events = run_events(pipeline_on(model), make_recipe(steps=2, count=2))
    stages = [getattr(event, "stage", None) for event in events]
    denoise = [Stage.DENOISE] * 3
    assert stages[:4] == [Stage.ENCODE, *denoise]
    assert [event.index for event in events if isinstance(event, Picture)] == [0, 1]


def test_a_recipe_that_is_cancelled_between_ticks_leaves_the_pipeline_free(
    model: StableDiffusion,
) -> None:
    pipeline = pipeline_on(model)
    recipe = make_recipe(steps=50)
    told = drive(pipeline, {0: [Spec(job=1, epoch=1, recipe=recipe)]}, {2: [Key(1, 1)]})
    assert isinstance(told[1][-1], Ended)
    assert isinstance(told[1][-1].error, Cancelled)
    assert not pipeline.busy
    assert len(run_events(pipeline, make_recipe(steps=1))) > 0


def test_large_pictures_are_written_by_a_thread_and_handed_over_in_order(
    model: StableDiffusion,
) -> None:
    recipe = make_recipe(steps=1, width=320, height=320, count=3)
    news = draw(make_pipeline(model), [recipe, make_recipe(steps=8)], [0, 0])
    assert [len(pngs(each)) for each in news] == [3, 1]


def test_pictures_of_one_job_are_written_side_by_side(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)

    def together(*picture: Any) -> bytes:
        both.wait(60)
        return write_png(*picture)

    monkeypatch.setattr("engine.pipeline.finishing.write_png", together)
    recipe = make_recipe(steps=1, width=320, height=320, count=2)
    [news] = draw(make_pipeline(model), [recipe], [0])
    assert len(pngs(news)) == 2


def test_a_job_that_comes_while_a_large_png_is_written_does_not_wait_for_it(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = threading.Event()

    def slow(pixels: Pixels, recipe: Recipe, *others: Any) -> bytes:
        assert recipe.width == 64 or written.wait(60)
        return write_png(pixels, recipe, *others)

    monkeypatch.setattr("engine.pipeline.finishing.write_png", slow)
    pipeline = make_pipeline(model)
    large = Spec(job=1, epoch=1, recipe=make_recipe(steps=1, width=320, height=320))
    small = Spec(job=2, epoch=1, recipe=make_recipe(steps=1))
    pipeline.admit(large)
    begun = [report.news for _ in range(5) for report in pipeline.tick()]
    assert Progress(stage=Stage.DECODE, step=0, total=1) in begun
    pipeline.admit(small)
    told = [(report.key.job, report.news) for _ in range(5) for report in pipeline.tick()]
    assert not written.is_set()
    assert [job for job, news in told if isinstance(news, Ended)] == [2]
    written.set()
    assert pngs(drive(pipeline, {})[1])
    pipeline.close()


def test_who_is_done_keeps_nobody_else(model: StableDiffusion) -> None:
    """Or each would keep whom it led last, and they theirs, for as long as one of them is kept."""
    pipeline = make_pipeline(model, batching=Batching.THROUGHPUT)
    for job in range(3):
        pipeline.admit(Spec(job=job, epoch=1, recipe=make_recipe(steps=2 + job)))
    list(pipeline.tick())
    pictures = [running.members[0].picture for running in pipeline._running.values()]
    assert any(picture.stacked for picture in pictures)
    drive(pipeline, {})
    pipeline.close()
    assert [picture.stacked for picture in pictures] == [None] * 3
