"""Memory runs out at every stage in turn; models make room for each other."""

import hashlib
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from threading import Event, current_thread
from typing import Any
from unittest.mock import patch
from weakref import ref

import pytest
import torch
from diffusers.configuration_utils import FrozenDict
from safetensors.torch import load_file, save_file

from engine.decode.external_vae import ExternalVaes
from engine.denoise.samplers import SAMPLERS, Request, Sampling
from engine.device.call_costs import Buckets
from engine.device.out_of_memory import FIRST, LONGEST, Ladder, Rung, Shortages
from engine.device.probe import Call, Measurements, Measuring, Probe
from engine.device.stored_weights import StoredWeight
from engine.errors import (
    BrokenModel,
    EngineError,
    MissingVae,
    OutOfMemory,
    UnknownModel,
    UserError,
)
from engine.events import Ended, Key
from engine.families import stable_diffusion
from engine.families.stable_diffusion import StableDiffusion, load
from engine.loading.lora import Loras
from engine.models.catalogue import Catalogue, Checkpoint
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pipeline.costs import PATH
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.residency import Residency, budget
from engine.recipe.parts import Lora
from engine.spec import Spec
from tests.conftest import PATIENCE
from tests.engine.ticks import (
    ROOMY,
    News,
    check_order,
    costing,
    draw,
    drive,
    load_apart,
    make_loaded_model,
    make_pipeline,
    pipeline_on,
    pngs,
    run,
    unmeasured,
)
from tests.factories import make_recipe
from tests.loras import random_lora, write_kohya
from tests.tiny_vaes import makers_decoder, write_makers

CPU = torch.device("cpu")


class Failing:
    """Stand before a function and raise the first few times."""

    def __init__(self, function: Callable[..., Any], times: int, error: Exception) -> None:
        self.function, self.times, self.error = function, times, error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.times:
            self.times -= 1
            raise self.error
        return self.function(*args, **kwargs)


OOM = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@contextmanager
def failing(target: Any, name: str, times: int, error: Exception = OOM) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, Failing(getattr(target, name), times, error))
        yield


def outcome(pipeline: Pipeline) -> Ended:
    news = drive(pipeline, {0: [Spec(job=1, epoch=1, recipe=make_recipe(steps=3))]})[1]
    pipeline.close()
    check_order(news)
    assert isinstance(news[-1], Ended)
    assert bool(pngs(news)) == (news[-1].error is None)
    return news[-1]


STAGES = {
    "encode": ("text_encoder", "forward", [Rung.EMPTY_CACHE, Rung.OFFLOAD]),
    "denoise": ("unet", "forward", [Rung.EMPTY_CACHE, Rung.BATCH_OF_ONE, Rung.OFFLOAD]),
    "decode": (
        "vae.post_quant_conv",
        "forward",
        [Rung.EMPTY_CACHE, Rung.TILED_DECODE, Rung.OFFLOAD],
    ),
}


@pytest.mark.parametrize(
    ("stage", "times"), [(s, n) for s, (*_, rungs) in STAGES.items() for n in range(len(rungs) + 1)]
)
def test_each_stage_climbs_the_ladder_to_a_picture(
    model: StableDiffusion, stage: str, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    part, function, rungs = STAGES[stage]
    ladder = Ladder()
    pipeline = pipeline_on(model, ladder=ladder)
    with failing(attrgetter(part)(model), function, times):
        assert outcome(pipeline).error is None
    assert list(ladder.counts) == rungs[:times]
    assert caplog.text.count(f"out of memory ({stage})") == times
    assert all(pipeline.counts[str(rung)] == 1 for rung in rungs[:times])


@pytest.mark.parametrize("stage", STAGES)
def test_at_the_ladders_end_there_is_a_clear_sentence(model: StableDiffusion, stage: str) -> None:
    part, function, _ = STAGES[stage]
    with failing(attrgetter(part)(model), function, 1000):
        error = outcome(make_pipeline(model)).error
    assert isinstance(error, OutOfMemory)
    assert "a smaller size may fit" in str(error)


@pytest.mark.parametrize(
    ("times", "ticks"),
    [
        (2, 4),  # each alone with as many rows, and then together again
        (2 + 1, 4 + 3),  # one had room in a call of its own alone, and goes on so
        (2 + 3, 1 + 3 * 3),  # none of them had more: three jobs of three more steps each
    ],
)
def test_memory_that_ran_out_for_a_batch_leaves_a_picture_a_call(
    model: StableDiffusion, times: int, ticks: int
) -> None:
    specs = [Spec(job=n, epoch=1, recipe=make_recipe(steps=4, seed=n)) for n in range(3)]
    pipeline = make_pipeline(model, ROOMY)
    with failing(model.unet, "forward", times):
        told = drive(pipeline, {0: specs})
    pipeline.close()
    assert all(len(pngs(told[n])) == 1 for n in range(3))
    assert pipeline.counts["ticks"] == ticks


@pytest.mark.parametrize("times", range(1, 6))
def test_memory_that_runs_out_while_calls_are_measured_costs_no_picture(
    model: StableDiffusion, times: int
) -> None:
    """The probe is the first to call the U-Net at a new size, and with the most rows."""
    pipeline = pipeline_on(model, measure=Probe(Measurements(None)).buckets)
    with failing(model.unet, "forward", times):
        assert outcome(pipeline).error is None


def test_costs_are_kept_by_how_weights_are_stored(model: StableDiffusion) -> None:
    seen: list[str] = []

    def measure(_: torch.device, what: str, *__: object) -> Measuring:
        seen.append(what)
        return unmeasured(CPU, what, int, "", None)

    def ask() -> None:
        loaded_model = make_loaded_model(model, measure=measure)
        [picture] = loaded_model.begin(make_recipe())
        loaded_model.costs.measure(picture)

    ask()
    layer = next(each for each in model.unet.modules() if isinstance(each, torch.nn.Linear))
    plain = layer.weight
    stored = StoredWeight(plain.detach().to(torch.float8_e4m3fn))
    try:
        layer.weight = torch.nn.Parameter(stored, requires_grad=False)
        ask()
    finally:
        layer.weight = plain
    assert re.fullmatch(r"[0-9a-f]{16} \| torch\.float32 \| \d+×\d+×\d+", seen[0])
    assert seen[1] == f"{seen[0]} | stored float8_e4m3fn"


def test_a_folder_that_was_moved_is_not_measured_anew(model: StableDiffusion) -> None:
    seen: list[tuple[str, str]] = []

    def measure(_: torch.device, what: str, call: Call, before: str, *__: object) -> Measuring:
        seen.append((what, before))
        return unmeasured(CPU, what, call, before, None)

    config = model.unet.config
    for folder in ("here", "there"):
        with patch.object(model.unet, "_internal_dict", FrozenDict({**config, PATH: folder})):
            loaded_model = make_loaded_model(model, measure=measure)
            [picture] = loaded_model.begin(make_recipe())
            loaded_model.costs.measure(picture)
    (here, before_here), (there, before_there) = seen
    assert here == there
    digest = before_here.partition(" | ")[0]
    text = json.dumps({**config, PATH: "here"}, sort_keys=True, default=str)
    assert digest == hashlib.sha256(text.encode()).hexdigest()[:16]  # as it has always been
    assert len({here, before_here, before_there}) == 3


def test_a_model_that_ran_out_of_memory_keeps_the_scale_of_its_cost(model: StableDiffusion) -> None:
    """Whose turn it is between two models is decided by seconds: they must not become units."""
    dear = Buckets({1: 0.01, 2: 0.02, 4: 0.03})
    loaded_model = make_loaded_model(model, measure=costing(dear))
    recipe, larger = make_recipe(), make_recipe(width=128, height=128)
    [sample], [large] = loaded_model.begin(recipe), loaded_model.begin(larger)
    loaded_model.costs.measure(sample)
    assert loaded_model.costs.of(sample) is dear
    loaded_model.costs.limit(sample)
    loaded_model.costs.limit(large)
    assert loaded_model.costs.of(sample).cost(2) == pytest.approx(0.02)
    assert loaded_model.costs.of(sample).canonical(2) == 2
    assert loaded_model.costs.of(large).cost(2) == pytest.approx(0.08)


def test_jobs_at_work_keep_the_scale_of_their_cost_when_memory_runs_out(
    model: StableDiffusion,
) -> None:
    recipe = make_recipe(steps=6)
    dear = Buckets({1: 0.01, 2: 0.01, 4: 0.01})
    pipeline = make_pipeline(model, dear)
    pipeline.admit(Spec(job=1, epoch=1, recipe=recipe))
    with failing(model.unet, "forward", 2):
        list(pipeline.tick())
    [running] = pipeline._running.values()
    list(pipeline.tick())
    assert running.loaded_model.costs.is_limited(running.members[0].picture)
    assert running.account.used == pytest.approx(0.02)
    drive(pipeline, {})
    pipeline.close()


class Hand:
    """Be a clock that goes when it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def at_work(model: StableDiffusion, ladder: Ladder) -> Pipeline:
    return make_pipeline(model, ladder=ladder)


def test_a_large_request_leaves_calls_of_another_form_as_they_were(model: StableDiffusion) -> None:
    ladder = Ladder()
    pipeline, small = at_work(model, ladder), make_recipe(steps=1)
    wide, long = make_recipe(width=128, height=128), make_recipe(prompt="a marble " * 40)
    for large in (wide, long):
        with failing(model.unet, "forward", 2):
            assert run(pipeline, large)
    costs = pipeline._models.get("starter").costs  # type: ignore[union-attr]
    with torch.inference_mode():
        starter = pipeline._models.get("starter")
        assert starter
        samples = [starter.begin(recipe)[0] for recipe in (wide, long, small)]
        assert all(map(costs.measure, samples))
    assert [costs.is_limited(sample) for sample in samples] == [True, True, False]
    assert [costs.of(sample).canonical(2) for sample in samples] == [2, 2, 8]


def test_what_had_no_room_is_tried_again_later_and_later_still_each_time(
    model: StableDiffusion,
) -> None:
    hand = Hand()
    pipeline = at_work(model, Ladder(clock=hand))

    def rows() -> int:
        before = pipeline.counts.get("rows", 0) + pipeline.counts.get("padding", 0)
        run(pipeline, make_recipe(steps=1))
        return pipeline.counts["rows"] + pipeline.counts["padding"] - before

    seen = []
    for wait in (FIRST, 2 * FIRST):
        with failing(model.unet, "forward", 2):
            rows()
        hand.now += wait - 1
        seen.append(rows())  # not yet
        hand.now += 2
        seen.append(rows())
    assert seen == [2, 8, 2, 8]


def test_what_had_no_room_is_known_no_more_once_it_went_well_for_long() -> None:
    hand = Hand()
    short = Shortages(hand)
    for wait in (FIRST, 2 * FIRST, FIRST):
        short.add("this")
        short.add("this")  # is the same shortage
        hand.now += wait - 1
        assert "this" in short
        hand.now += 1
        assert "this" not in short
        if wait > FIRST:
            hand.now += LONGEST
            short.add("that")
            assert list(short._known) == ["that"]


def test_an_offloaded_model_is_whole_again_after_a_while_or_stays_if_it_still_does_not_fit(
    model: StableDiffusion,
) -> None:
    hand = Hand()
    pipeline = at_work(model, Ladder(clock=hand))
    with failing(model.unet, "forward", 3):
        run(pipeline, make_recipe(steps=1))
    parts = pipeline._models.get("starter")._parts  # type: ignore[union-attr]
    assert parts.offloaded
    run(pipeline, make_recipe(steps=1))
    assert parts.offloaded  # it is too early
    hand.now += FIRST
    with failing(model.vae, "to", 1):
        run(pipeline, make_recipe(steps=1))
    assert parts.offloaded  # and each part was brought when it was needed
    hand.now += 2 * FIRST - 1
    run(pipeline, make_recipe(steps=1))
    assert parts.offloaded
    hand.now += 1
    run(pipeline, make_recipe(steps=1))
    assert not parts.offloaded


def test_a_model_that_was_loaded_offloaded_is_whole_again_after_a_while(
    model: StableDiffusion,
) -> None:
    hand = Hand()
    loaded_model = make_loaded_model(model, ladder=Ladder(clock=hand), offloaded=True)
    with torch.inference_mode():
        loaded_model.begin(make_recipe())
        assert loaded_model._parts.offloaded
        hand.now += FIRST
        loaded_model.begin(make_recipe())
    assert not loaded_model._parts.offloaded


def test_one_pictures_fault_is_not_its_neighbours(model: StableDiffusion) -> None:
    forward = model.unet.forward

    def poisoned(x: torch.Tensor, timestep: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if x.isnan().any():
            raise ValueError("poison")
        return forward(x, timestep, *args, **kwargs)

    pipeline = make_pipeline(model, ROOMY)
    specs = [Spec(job=n, epoch=1, recipe=make_recipe(steps=3, seed=n)) for n in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.unet, "forward", poisoned)
        for spec in specs:
            pipeline.admit(spec)
        list(pipeline.tick())
        request = next(iter(pipeline._running.values())).members[0].picture.request
        assert request is not None
        with torch.inference_mode():
            request.x.fill_(torch.nan)
        told = drive(pipeline, {})
    pipeline.close()
    ends = [told[n][-1] for n in range(3)]
    assert [type(end.error) for end in ends if isinstance(end, Ended)] == [
        EngineError,
        type(None),
        type(None),
    ]


def test_two_failing_pictures_of_one_job_in_one_call_end_that_job_alone(
    model: StableDiffusion,
) -> None:
    forward, large = model.unet.forward, 16

    def short(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if x.shape[-1] == large:
            raise OOM
        return forward(x, *args, **kwargs)

    side = large * model.latent_scale
    recipes = [make_recipe(steps=8), make_recipe(steps=2, width=side, height=side, count=2)]
    pipeline = make_pipeline(model, ROOMY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.unet, "forward", short)
        told = draw(pipeline, recipes, [0, 0])
    assert isinstance(told[0][-1], Ended)
    assert told[0][-1].error is None
    assert isinstance(told[1][-1], Ended)
    assert isinstance(told[1][-1].error, OutOfMemory)


def test_a_sampler_that_fails_ends_its_job_alone(model: StableDiffusion) -> None:
    euler = SAMPLERS["euler"]

    def broken(x: torch.Tensor, *args: Any) -> Sampling:
        yield Request(x, 1.0, 0)
        raise ValueError("broken")

    recipes = [make_recipe(steps=4), make_recipe(steps=4, sampler="heun", count=2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SAMPLERS, "heun", replace(euler, run=broken))
        told = draw(make_pipeline(model, ROOMY), recipes, [0, 0])
    ends = [news[-1] for news in told]
    assert [type(end.error) for end in ends if isinstance(end, Ended)] == [type(None), EngineError]
    assert len(pngs(told[0])) == 1


def test_a_broken_preview_or_decode_ends_its_job_alone(model: StableDiffusion) -> None:
    with failing(model.vae, "_decode", 1, ValueError("broken")):
        assert isinstance(outcome(make_pipeline(model)).error, EngineError)
    assert outcome(make_pipeline(model)).error is None


@pytest.fixture
def catalogue(tiny_folder: Path, tmp_path: Path) -> Catalogue:
    """Return a catalogue of three models of one size: starter, b and c."""
    for name in "bc":
        shutil.copytree(tiny_folder, tmp_path / name)
    return Catalogue(tmp_path, starter=tiny_folder)


def load_cpu(checkpoint: Checkpoint, offloaded: bool) -> StableDiffusion:
    return load(checkpoint, CPU)


def room_for(catalogue: Catalogue, models: float) -> int:
    return int(catalogue.get("b").size * models)


def residency(catalogue: Catalogue, models: float, load: Any = load_cpu) -> Residency:
    return Residency(catalogue, load, unmeasured, Ladder(), room_for(catalogue, models))


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model count as one that is loaded in a thread."""
    load_apart(monkeypatch)


def test_a_model_whose_files_were_replaced_is_loaded_anew_once_no_job_uses_it(
    catalogue: Catalogue, tiny_folder: Path
) -> None:
    counted = Counted()
    models = residency(catalogue, 3, counted)
    pipeline = pipeline_on(models)

    def drawn(job: int) -> list[bytes]:
        recipe = make_recipe(checkpoint="b", steps=2, seed=1)
        return pngs(drive(pipeline, {0: [Spec(job=job, epoch=1, recipe=recipe)]})[job])

    before = drawn(1)
    assert drawn(2) == before
    assert counted.names == ["b"]
    [file] = (catalogue.get("b").folder / "unet").glob("*.safetensors")
    loaded = models.get("b")
    assert loaded is not None
    loaded.users += 1  # a job is at work
    tensors = {name: tensor * 1.5 for name, tensor in load_file(file).items()}
    save_file(tensors, file.with_suffix(".new"))
    file.with_suffix(".new").replace(file)
    assert models.get("b") is loaded
    loaded.users -= 1
    after = drawn(3)
    assert after != before
    assert drawn(4) == after
    assert counted.names == ["b", "b"]
    own = catalogue.get("b").folder / "marble.json"
    own.write_text(json.dumps({"prediction": "v_prediction"}), encoding="utf-8")
    assert drawn(5) != after
    own.write_text("{", encoding="utf-8")
    with pytest.raises(BrokenModel, match="valid JSON"):
        models.get("b")


def test_a_lora_that_was_replaced_is_read_anew(
    catalogue: Catalogue, model: StableDiffusion, tmp_path: Path
) -> None:
    pipeline = pipeline_on(residency(catalogue, 3))
    file = tmp_path / "loras" / "it.safetensors"
    file.parent.mkdir()

    def drawn(job: int) -> list[bytes]:
        recipe = make_recipe(checkpoint="b", steps=2, seed=1, loras=(Lora(name="it"),))
        return pngs(drive(pipeline, {0: [Spec(job=job, epoch=1, recipe=recipe)]})[job])

    write_kohya(file, random_lora({"unet": model.unet}, seed=1), model.unet)
    first = drawn(1)
    write_kohya(file, random_lora({"unet": model.unet}, seed=2), model.unet)
    second = drawn(2)
    assert first != second
    write_kohya(file, random_lora({"unet": model.unet}, seed=1), model.unet)
    assert drawn(3) == first


class Counted:
    """Load models, and note which."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, checkpoint: Checkpoint, offloaded: bool) -> StableDiffusion:
        self.names.append(checkpoint.name)
        return load_cpu(checkpoint, offloaded)


class Slowly:
    """Load models once they may: all but the first wait."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may = Event()
        self.calls: list[str] = []
        self._error = error

    def __call__(self, checkpoint: Checkpoint, offloaded: bool) -> StableDiffusion:
        self.calls.append(checkpoint.name)
        if len(self.calls) == 2:
            assert self.may.wait(PATIENCE)
            if self._error:
                raise self._error
        return load_cpu(checkpoint, offloaded)


def specs_of(*names: str) -> list[Spec]:
    return [
        Spec(job=n, epoch=1, recipe=make_recipe(checkpoint=name, steps=3))
        for n, name in enumerate(names)
    ]


@pytest.mark.usefixtures("all_large")
def test_jobs_go_on_while_a_large_model_is_loaded(catalogue: Catalogue) -> None:
    slowly = Slowly()
    pipeline = pipeline_on(residency(catalogue, 3, slowly))
    told: dict[int, list[News]] = defaultdict(list)

    def tick() -> None:
        for report in pipeline.tick():
            told[report.key.job].append(report.news)

    first, other, second = specs_of("b", "c", "b")
    pipeline.admit(first)
    while not pngs(told[0]):
        tick()
    pipeline.admit(other)
    tick()
    pipeline.admit(second)  # of a model that is there
    while not pngs(told[2]):
        tick()
    assert not pngs(told[1])
    slowly.may.set()
    while pipeline.busy:
        tick()
    pipeline.close()
    assert pngs(told[1])
    assert slowly.calls == ["b", "c"]
    for news in told.values():
        check_order(news)


@pytest.mark.usefixtures("all_large")
def test_a_half_loaded_u_net_changes_nothing_for_those_who_draw(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    making, may, held = torch.nn.GroupNorm.__init__, Event(), Event()

    def load_one(checkpoint: Checkpoint, offloaded: bool) -> StableDiffusion:
        if checkpoint.name == "b":
            return load_cpu(checkpoint, offloaded)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.nn.GroupNorm, "__init__", hold)
            return load(checkpoint, CPU, torch.bfloat16)

    def hold(*arguments: Any, **options: Any) -> None:
        held.set()
        assert may.wait(PATIENCE)
        making(*arguments, **options)

    pipeline = pipeline_on(residency(catalogue, 3, load_one))
    first, other, second = specs_of("b", "c", "b")
    told: dict[int, list[News]] = defaultdict(list)

    def tick() -> None:
        for report in pipeline.tick():
            told[report.key.job].append(report.news)

    pipeline.admit(first)
    while not pngs(told[0]):
        tick()
    pipeline.admit(other)
    tick()
    assert held.wait(PATIENCE)  # in the middle of its U-Net
    pipeline.admit(second)
    while not pngs(told[2]):
        tick()
    assert not pngs(told[1])
    assert pngs(told[2]) == pngs(told[0])
    may.set()
    while pipeline.busy:
        tick()
    pipeline.close()
    assert pngs(told[1])


@pytest.mark.usefixtures("all_large")
def test_a_large_model_whose_job_was_cancelled_stands_in_nobodys_way(catalogue: Catalogue) -> None:
    slowly = Slowly(RuntimeError("broken"))
    pipeline = pipeline_on(residency(catalogue, 3, slowly))
    first, other = specs_of("b", "c")
    assert pngs(drive(pipeline, {0: [first]})[0])
    pipeline.admit(other)
    assert list(pipeline.tick())
    pipeline.cancel(Key(1, 1))
    assert [type(report.news) for report in pipeline.tick()] == [Ended]
    slowly.may.set()
    (third,) = (replace(spec, job=3) for spec in specs_of("starter"))
    assert pngs(drive(pipeline, {0: [third]})[3])
    assert slowly.calls == ["b", "c", "starter"]


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_memory_that_runs_out_in_the_thread_climbs_the_ladder(
    catalogue: Catalogue, times: int
) -> None:
    failing_load, threads = Failing(load_cpu, times, OOM), set[str]()

    def note(*arguments: Any) -> Any:
        threads.add(current_thread().name.partition("_")[0])
        return failing_load(*arguments)

    models = residency(catalogue, 3, note)
    pipeline = pipeline_on(models)
    last = drive(pipeline, {0: specs_of("b")})[0][-1]
    assert isinstance(last, Ended)
    assert isinstance(last.error, OutOfMemory) == (times > 2)
    assert threads == {"marble-load"}  # never the one of the ticks
    assert [*models._ladder.counts] == [Rung.EMPTY_CACHE, Rung.OFFLOAD][:times]


@pytest.mark.parametrize("large", [True, False])
def test_a_broken_model_is_read_once_for_all_that_wait_for_it(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        load_apart(monkeypatch)
    read: list[str] = []

    def broken(checkpoint: Checkpoint, offloaded: bool) -> StableDiffusion:
        read.append(checkpoint.name)
        if checkpoint.name == "b":
            raise BrokenModel("b", "its tensor 'x' contains NaN.")
        return load_cpu(checkpoint, offloaded)

    models, hand = residency(catalogue, 3, broken), Hand()
    models._ladder.short = Shortages(hand)
    pipeline = pipeline_on(models)
    told = drive(pipeline, {0: specs_of("b", "c", "b", "b")})
    assert sorted(read) == ["b", "c"]
    assert len(pngs(told[1])) == 1
    for job in (0, 2, 3):
        last = told[job][-1]
        assert isinstance(last, Ended)
        assert "contains NaN" in str(last.error)
    for job, times in ((4, 1), (5, 2)):
        drive(pipeline, {0: [replace(spec, job=job) for spec in specs_of("b")]})
        assert read.count("b") == times
        hand.now += FIRST  # by then its disk may be mended
    pipeline.close()


def test_a_broken_model_whose_files_changed_is_read_anew(catalogue: Catalogue) -> None:
    failing_load = Failing(load_cpu, 1, BrokenModel("b", "it is empty."))
    models = residency(catalogue, 3, failing_load)
    for _ in range(2):
        with pytest.raises(BrokenModel):
            models.load("b")
    file = catalogue.get("b").folder / "unet" / "config.json"
    file.write_bytes(file.read_bytes() + b"\n")
    assert models.load("b")


class Held:
    """Stand for what a load that fails has loaded so far."""


def waited(models: Residency) -> None:
    """Wait until the thread has loaded, or failed, without asking for its model."""
    loading = models._loading
    assert loading
    loading.future.exception(PATIENCE)


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("error", [BrokenModel("b", "its tensor 'x' contains NaN."), OOM])
def test_what_a_failed_load_held_is_freed_though_nobody_asks_again(
    catalogue: Catalogue, error: Exception
) -> None:
    held: list[ref[Held]] = []

    def broken(checkpoint: Checkpoint, offloaded: bool) -> StableDiffusion:
        half = Held()
        held.append(ref(half))
        raise error

    models = residency(catalogue, 3, broken)
    assert models.load("b") is None
    waited(models)
    models.make_room(0)
    assert held[0]() is None
    models.close()


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("between", ["make_room", "evict_idle", "load"])
def test_an_unexpected_error_of_the_thread_is_logged_and_kept_for_who_asks(
    catalogue: Catalogue, between: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing_load = Failing(load_cpu, 1, KeyError("lost"))
    models, hand = residency(catalogue, 3, failing_load), Hand()
    models._ladder.short = Shortages(hand)
    assert models.load("b") is None
    waited(models)
    if between == "make_room":
        models.make_room(0)
    elif between == "evict_idle":
        models.evict_idle()
    for _ in range(2):
        with pytest.raises(EngineError, match="KeyError: 'lost'"):
            models.load("b")
    assert not models.loading
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.getMessage() == "the model 'b' could not be loaded"
    assert record.exc_info
    assert record.exc_info[2] is not None
    hand.now += FIRST
    assert models.load("b") is None
    waited(models)
    assert models.load("b")
    models.close()


@pytest.mark.usefixtures("all_large")
def test_any_sentence_that_refuses_a_model_is_kept_for_who_asks(catalogue: Catalogue) -> None:
    models = residency(catalogue, 3, Failing(load_cpu, 1, MissingVae("b")))
    assert models.load("b") is None
    waited(models)
    models.make_room(0)
    with pytest.raises(UserError) as caught:
        models.load("b")
    assert caught.value.said == MissingVae("b").said
    models.close()


@pytest.mark.usefixtures("all_large")
def test_a_load_goes_on_with_the_ways_that_are_left_whoever_came_between(
    catalogue: Catalogue,
) -> None:
    tried: list[bool] = []

    def short(checkpoint: Checkpoint, offloaded: bool) -> StableDiffusion:
        tried.append(offloaded)
        if len(tried) < 3:
            raise OOM
        return load_cpu(checkpoint, offloaded)

    models = residency(catalogue, 3, short)
    for _ in range(3):
        assert models.load("b") is None
        waited(models)
        models.make_room(0)  # for a LoRA of another model, say
    assert models.get("b")
    assert tried == [False, False, True]
    models.close()


@pytest.mark.parametrize("large", [True, False])
def test_a_model_that_fits_in_no_way_is_tried_once_for_all_that_wait_for_it(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        load_apart(monkeypatch)
    read: list[str] = []

    def short(checkpoint: Checkpoint, offloaded: bool) -> StableDiffusion:
        read.append(checkpoint.name)
        raise OOM

    models, hand = residency(catalogue, 3, short), Hand()
    models._ladder.short = Shortages(hand)
    pipeline = pipeline_on(models)
    for told in (
        drive(pipeline, {0: specs_of("b", "b", "b")}),
        drive(pipeline, {0: specs_of("b")}),
    ):
        for news in told.values():
            last = news[-1]
            assert isinstance(last, Ended)
            assert isinstance(last.error, OutOfMemory)
    assert read == ["b"] * 3  # in each way
    hand.now += FIRST
    drive(pipeline, {0: specs_of("b")})
    assert read == ["b"] * 6
    pipeline.close()


def test_a_model_that_fitted_beside_no_other_is_tried_again_once_that_is_done(
    catalogue: Catalogue,
) -> None:
    models = residency(catalogue, 3)
    other = models.load("c")
    assert other
    other.users = 1
    models._load = Failing(load_cpu, 3, OOM)
    for _ in range(2):
        with pytest.raises(OutOfMemory):
            models.load("b")
    other.users = 0
    assert models.load("b")


def test_a_model_that_waits_for_room_is_described_anew_for_new_files_or_room_alone(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = residency(catalogue, 1.5)
    first = models.load("b")
    assert first
    first.users = 1
    described: list[str] = []
    get = Catalogue.get

    def noted(self: Catalogue, name: str) -> Checkpoint:
        described.append(name)
        return get(self, name)

    monkeypatch.setattr(Catalogue, "get", noted)
    for _ in range(5):
        assert models.load("c") is None
    assert described == ["c"]
    own = catalogue._paths["c"] / "marble.json"
    own.write_text(json.dumps({"prediction": "v_prediction"}), encoding="utf-8")
    for _ in range(5):
        assert models.load("c") is None
    assert described == ["c"] * 2
    first.users = 0
    found = models.load("c")
    assert found
    assert found.model.checkpoint.prediction == "v_prediction"


def test_room_is_made_for_the_files_that_a_model_has_now(catalogue: Catalogue) -> None:
    models = residency(catalogue, 3.5)
    assert models.load("b")
    models._drop("b")
    [file] = (catalogue.get("b").folder / "unet").glob("*.safetensors")
    more = room_for(catalogue, 2) // 4
    save_file({**load_file(file), "more": torch.zeros(more)}, file)
    room = catalogue.get("b").size
    assert models._wanted("b").size == room > 2 * catalogue.get("c").size


@pytest.mark.usefixtures("all_large")
def test_ticks_pause_for_the_thread_while_it_is_at_work_alone(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("engine.pipeline.pipeline.time.sleep", pauses.append)
    slowly = Slowly()
    models = residency(catalogue, 3, slowly)
    pipeline = pipeline_on(models)
    first, other = specs_of("b", "c")
    drive(pipeline, {0: [first]})
    pipeline.admit(other)
    list(pipeline.tick())
    pauses.clear()
    list(pipeline.tick())
    assert len(pauses) == 1
    pipeline.cancel(Key(1, 1))
    slowly.may.set()
    waited(models)
    pauses.clear()
    list(pipeline.tick())
    list(pipeline.tick())
    assert pauses == []
    pipeline.close()


def test_the_model_that_was_used_longest_ago_makes_room(catalogue: Catalogue) -> None:
    models = residency(catalogue, 2.5)
    for name in ("starter", "b"):
        models.load(name)
    models.get("starter")
    models.load("c")
    assert [name for name in ("starter", "b", "c") if models.get(name)] == ["starter", "c"]


@pytest.mark.parametrize(("room", "loads"), [(2.5, ["b", "c"]), (1.5, ["b", "c", "b", "c"])])
def test_models_that_fit_together_are_loaded_once_and_others_take_turns(
    catalogue: Catalogue, room: float, loads: list[str]
) -> None:
    loaded: list[str] = []

    def note(checkpoint: Checkpoint, offloaded: bool) -> StableDiffusion:
        loaded.append(checkpoint.name)
        return load_cpu(checkpoint, offloaded)

    models = residency(catalogue, room, note)
    pipeline = pipeline_on(models)
    for number, name in enumerate("bcbc"):
        recipe = make_recipe(steps=1, checkpoint=name, seed=1)
        news = drive(pipeline, {0: [Spec(job=number, epoch=1, recipe=recipe)]})[number]
        assert len(pngs(news)) == 1
    pipeline.close()
    assert loaded == loads
    assert models._used() <= models._budget


def test_a_model_in_use_stays_and_the_other_waits(catalogue: Catalogue) -> None:
    models = residency(catalogue, 1.5)
    first = models.load("b")
    assert first
    first.users = 1
    assert models.load("c") is None
    first.users = 0
    assert models.load("c")
    assert models.get("b") is None


def test_a_model_larger_than_the_budget_is_loaded_alone(catalogue: Catalogue) -> None:
    assert residency(catalogue, 0.5).load("b")


def test_jobs_of_models_that_do_not_fit_together_end_one_after_the_other(
    catalogue: Catalogue,
) -> None:
    pipeline = pipeline_on(residency(catalogue, 1.5))
    names = ["b", "c", "b", "starter"]
    specs = [
        Spec(job=n, epoch=1, recipe=make_recipe(steps=2, checkpoint=name))
        for n, name in enumerate(names)
    ]
    told = drive(pipeline, {0: specs})
    pipeline.close()
    assert all(len(pngs(told[n])) == 1 for n in range(4))
    for news in told.values():
        check_order(news)


@pytest.mark.parametrize(("times", "rungs"), [(1, 1), (2, 2)])
def test_loading_climbs_the_ladder_too(catalogue: Catalogue, times: int, rungs: int) -> None:
    loading = Failing(load_cpu, times, OOM)
    models = residency(catalogue, 3, loading)
    assert models.load("b")
    assert len(models._ladder.counts) == rungs
    with pytest.raises(OutOfMemory):
        residency(catalogue, 3, Failing(load_cpu, 9, OOM)).load("b")


def test_running_out_while_loading_drops_what_nobody_uses(catalogue: Catalogue) -> None:
    models = residency(catalogue, 3)
    models.load("b")
    models._load = Failing(load_cpu, 1, OOM)
    models.load("c")
    assert models.get("b") is None


def test_a_models_control_makes_other_models_go_but_not_its_own(catalogue: Catalogue) -> None:
    models = residency(catalogue, 2.5)
    models.load("c")
    own = models.load("b")
    assert own
    models.make_room(own.size // 4, "b")
    assert models.get("b")
    assert models.get("c")
    models.make_room(own.size, "b")
    assert models.get("b")
    assert models.get("c") is None
    models.make_room(10 * own.size, "b")
    assert models.get("b")


class Beside:
    """Take room beside models until it is dropped."""

    def __init__(self, size: int) -> None:
        self.size = size

    def drop(self) -> None:
        self.size = 0


def test_what_is_loaded_beside_models_takes_their_room_and_goes_after_idle_ones(
    catalogue: Catalogue,
) -> None:
    upscaler = Beside(room_for(catalogue, 1))
    room = room_for(catalogue, 2.5)
    models = Residency(catalogue, load_cpu, unmeasured, Ladder(), room, [upscaler])
    models.load("b")
    models.load("c")  # for three there is no room
    assert (models.get("b"), upscaler.size) == (None, room_for(catalogue, 1))
    models.make_room(2 * room_for(catalogue, 1))
    assert (models.get("c"), upscaler.size) == (None, 0)
    upscaler.size = 10 * room
    models.evict_idle()
    assert upscaler.size == 0


def test_a_model_that_is_larger_than_its_file_makes_others_go_once_that_is_known(
    catalogue: Catalogue,
) -> None:
    models = residency(catalogue, 3.5)
    for name in ("b", "c"):
        models.load(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loras, "size", room_for(catalogue, 1))  # each takes twice its file's bytes
        models.load("starter")
        assert [name for name in ("starter", "b", "c") if models.get(name)] == ["starter"]


def test_loras_and_vaes_make_room_before_they_are_loaded(
    model: StableDiffusion, tmp_path: Path
) -> None:
    write_kohya(
        tmp_path / "loras" / "ink.safetensors", random_lora({"unet": model.unet}), model.unet
    )
    model.vae.save_pretrained(tmp_path / "vae" / "other")
    asked: list[int] = []
    loaded_model = make_loaded_model(model, tmp_path, make_room=asked.append)
    before = loaded_model.size
    recipe = make_recipe(loras=(Lora(name="ink"),), vae="other")
    with torch.inference_mode():
        loaded_model.begin(recipe)
        assert len(asked) == 2
        assert loaded_model.size - before == pytest.approx(sum(asked), rel=0.1)
        loaded_model.begin(recipe)
    assert len(asked) == 2  # they were there


@pytest.mark.parametrize("times", [1, 2])
def test_memory_that_runs_out_while_a_vae_is_loaded_climbs_the_ladder(
    model: StableDiffusion, tmp_path: Path, times: int
) -> None:
    model.vae.save_pretrained(tmp_path / "vae" / "other")
    pipeline = pipeline_on(model, models_dir=tmp_path)
    with failing(stable_diffusion, "read_vae", times):
        (*_, last) = drive(pipeline, {0: [Spec(job=1, epoch=1, recipe=make_recipe(vae="other"))]})[
            1
        ]
    pipeline.close()
    assert isinstance(last, Ended)
    assert isinstance(last.error, OutOfMemory) == (times == 2)
    assert (last.error is None) == (times == 1)


def test_the_tiny_vae_for_previews_is_counted(model: StableDiffusion, tmp_path: Path) -> None:
    external = ExternalVaes(model, ModelFiles(tmp_path, ModelKind.VAE))
    write_makers(tmp_path / "vae_approx", makers_decoder(), "small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.checkpoint.family), "tiny_vae", "small", raising=False)
        tiny = external.load_tiny()
    assert tiny
    assert external.size == sum(weight.nbytes for weight in tiny.parameters()) > 0


def test_an_unknown_model_is_no_matter_of_memory(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownModel):
        residency(catalogue, 3).load("nothing")


def test_there_is_a_budget() -> None:
    assert budget(CPU) > 2**28


def test_a_model_whose_first_job_runs_out_of_memory_at_its_start_is_loaded_once(
    catalogue: Catalogue,
) -> None:
    loaded: list[StableDiffusion] = []

    def load_failing(checkpoint: Checkpoint, offloaded: bool) -> StableDiffusion:
        model = load_cpu(checkpoint, offloaded)
        encoder = model.text_encoder
        encoder.forward = Failing(encoder.forward, 1, OOM)
        loaded.append(model)
        return model

    pipeline = pipeline_on(residency(catalogue, 3, load_failing))
    specs = [Spec(job=n, epoch=1, recipe=make_recipe(steps=2)) for n in range(2)]
    told = drive(pipeline, {0: specs})
    pipeline.close()
    assert [len(pngs(told[n])) for n in range(2)] == [1, 1]
    assert len(loaded) == 1


def test_a_job_that_fails_at_its_start_uses_its_model_no_more(catalogue: Catalogue) -> None:
    models = residency(catalogue, 3)
    pipeline = pipeline_on(models)
    broken = Spec(job=1, epoch=1, recipe=make_recipe(prompt="(a cat:1e99)"))
    assert isinstance(drive(pipeline, {0: [broken]})[1][-1], Ended)
    pipeline.close()
    models.evict_idle()
    assert models.get("starter") is None
