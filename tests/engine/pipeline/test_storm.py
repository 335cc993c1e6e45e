"""A storm: any mix of jobs, cancels and faults. Each job ends once, nothing stays, and those that
nothing ails give the bytes that they give alone.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.device.call_costs import Buckets
from engine.errors import Cancelled, EngineError, MarbleError, NotFinite, OutOfMemory
from engine.events import Ended, Key, Picture
from engine.families.stable_diffusion import StableDiffusion
from engine.formats.metadata import write_png
from engine.loading.model import Conditioning
from engine.pipeline.batching import Batching
from engine.pipeline.job import RunningJob
from engine.recipe.parts import Upscale
from engine.recipe.recipe import Recipe
from engine.spec import Spec
from engine.text_encode.conditioning import TextEncoder
from tests.engine.ticks import ROOMY, STEEP, TIGHT, News, drive, make_pipeline, pngs
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
def faulty(model: StableDiffusion, faults: Sequence[Fault]) -> Iterator[None]:
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
                patch.setattr("engine.pipeline.finishing.write_png", _failing(write_png, calls))
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
@pytest.mark.slow
def test_each_job_ends_once_and_nothing_stays(
    model: StableDiffusion,
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
    pipeline = make_pipeline(model, buckets, batching)
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
    assert pipeline._finisher.next is None
    assert not pipeline._finisher._pngs
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


# What ails a job, and how it is known by its prompt: where it fails, with what.
LETTER = "q"  # healthy prompts are written without it
OOM, BROKEN = ERRORS
MARKS = {"unet broken": 1e4, "unet memory": 2e4, "nan": torch.nan, "infinite": torch.inf}
AILMENTS: dict[str, type[Exception]] = {
    "encode broken": EngineError,
    "encode memory": OutOfMemory,
    "unet broken": EngineError,
    "unet memory": OutOfMemory,
    "nan": NotFinite,
    "infinite": NotFinite,
    "decode broken": EngineError,
    "decode memory": OutOfMemory,
    "decode nan": NotFinite,
    "png broken": EngineError,
}
FIVE, SEVEN = "marble " * 60, "statue " * 87  # windows, which share no call
HEALTHY = [
    make_recipe(prompt="a cat", steps=3, count=2),
    make_recipe(prompt="a cat", steps=2, seed=8, guidance_scale=1.0),
    make_recipe(prompt="a dog " * 50, steps=3, sampler="heun"),
    make_recipe(prompt=FIVE, negative_prompt=SEVEN, steps=2),
    make_recipe(prompt=SEVEN, steps=2, seed=9),
    make_recipe(prompt="a cat", steps=2, upscale=Upscale(factor=1.5, strength=0.5)),
]


def ailing(what: str, count: int, long: bool) -> Recipe:
    """Return a job that fails; of the healthy ones' size, so that it is in their calls."""
    return make_recipe(prompt=f"{LETTER} {what} " + FIVE * long, count=count, steps=2)


@contextmanager
def ailments(model: StableDiffusion) -> Iterator[dict[int, list[Tensor]]]:
    """Let whatever works on a job's own tensors fail as its prompt says, for that job alone.

    Yields each job's finished latents: pixels hide differences in the last bits.
    """
    read, forward = TextEncoder.encode, model.unet.forward
    decode, show = model.vae.post_quant_conv.forward, RunningJob.finish_picture

    def encode(text: TextEncoder, prompt: str, *args: Any, **kwargs: Any) -> Conditioning:
        what = next((each for each in AILMENTS if prompt.startswith(f"{LETTER} {each} ")), "")
        if what.startswith("encode"):
            raise OOM if "memory" in what else BROKEN
        found = read(text, prompt, *args, **kwargs)
        if what not in MARKS:
            return found
        return replace(found, embeds=torch.full_like(found.embeds, MARKS[what]))

    def call(x: Tensor, t: Tensor, *, encoder_hidden_states: Tensor, **told: Any) -> Any:
        for what, error in (("unet memory", OOM), ("unet broken", BROKEN)):
            if bool((encoder_hidden_states == MARKS[what]).any()):
                raise error
        return forward(x, t, encoder_hidden_states=encoder_hidden_states, **told)

    def finish_picture(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        prompt = current[-1].prompt
        if not prompt.startswith(f"{LETTER} decode"):
            return decode(x, *args, **kwargs)
        if "nan" not in prompt:
            raise OOM if "memory" in prompt else BROKEN
        return decode(x * torch.nan, *args, **kwargs)

    def write(pixels: Any, recipe: Recipe, *args: Any) -> bytes:
        if recipe.prompt.startswith(f"{LETTER} png"):
            raise BROKEN
        return write_png(pixels, recipe, *args)

    def note(running: RunningJob, number: int, made: Any) -> Any:
        current.append(running.recipe)
        if isinstance(made, Tensor):
            latents[running.key.job].append(made.clone())
        return show(running, number, made)

    latents: dict[int, list[Tensor]] = defaultdict(list)
    current: list[Recipe] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TextEncoder, "encode", encode)
        patch.setattr(model.unet, "forward", call)
        patch.setattr(model.vae.post_quant_conv, "forward", finish_picture)
        patch.setattr(RunningJob, "finish_picture", note)
        patch.setattr("engine.pipeline.finishing.write_png", write)
        yield latents


Drawn = tuple[list[bytes], list[Tensor]]  # a job's PNGs, and its latents


def drawn(
    model: StableDiffusion, buckets: Buckets, arrivals: dict[int, list[Spec]]
) -> tuple[dict[int, list[News]], dict[int, list[Tensor]]]:
    """Let jobs arrive at their ticks; return the news and the latents of each."""
    pipeline = make_pipeline(model, buckets)
    with ailments(model) as latents:
        told = drive(pipeline, arrivals)
    pipeline.close()
    return told, latents


def drawn_alone(model: StableDiffusion, buckets: Buckets) -> list[Drawn]:
    """Return what each healthy job gives when nothing else is at work."""
    made = []
    for recipe in HEALTHY:
        told, latents = drawn(model, buckets, {0: [Spec(job=0, epoch=1, recipe=recipe)]})
        made.append((pngs(told[0]), latents[0]))
    return made


@pytest.mark.parametrize("buckets", [ROOMY, STEEP, TIGHT], ids=["roomy", "steep", "tight"])
def test_who_fails_changes_nobody_elses_bytes(model: StableDiffusion, buckets: Buckets) -> None:
    alone = drawn_alone(model, buckets)

    @settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
    @given(
        healthy=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), min_size=1, max_size=4),
        ill=st.lists(
            st.tuples(
                st.sampled_from(sorted(AILMENTS)),
                st.integers(1, 3),
                st.booleans(),
                st.integers(0, 6),
            ),
            min_size=1,
            max_size=4,
        ),
    )
    @example([(0, 0), (0, 1)], [("unet memory", 2, False, 0), ("nan", 1, False, 0)])
    @example([(0, 0), (3, 0)], [("unet broken", 2, False, 1), ("unet memory", 1, True, 0)])
    def storm(healthy: list[tuple[int, int]], ill: list[tuple[str, int, bool, int]]) -> None:
        recipes = [HEALTHY[which] for which, _ in healthy]
        recipes += [ailing(what, count, long) for what, count, long, _ in ill]
        arrivals: dict[int, list[Spec]] = defaultdict(list)
        for number, at in enumerate([*(at for _, at in healthy), *(at for *_, at in ill)]):
            arrivals[at].append(Spec(job=number, epoch=1, recipe=recipes[number]))
        told, latents = drawn(model, buckets, arrivals)
        ends = [told[number].pop() for number in range(len(recipes))]
        errors = [type(end.error) for end in ends if isinstance(end, Ended)]
        assert errors == [type(None)] * len(healthy) + [AILMENTS[what] for what, *_ in ill]
        for number, (which, _) in enumerate(healthy):
            assert pngs(told[number]) == alone[which][0]
            for got, wanted in zip(latents[number], alone[which][1], strict=True):
                assert torch.equal(got, wanted)

    storm()
