"""What calls cost is measured beside other people's ticks, and by nobody who would disturb it."""

from collections import defaultdict
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch

from engine.device.call_costs import Buckets
from engine.device.out_of_memory import Ladder
from engine.device.probe import Call, Measurements, Measuring, Probe
from engine.errors import EngineError
from engine.events import Ended
from engine.families.registry import load
from engine.families.stable_diffusion import StableDiffusion
from engine.loading.model import Model
from engine.models.catalogue import Catalogue, Checkpoint
from engine.models.parts import NETWORK
from engine.pipeline.costs import Measure, coarse
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.placement import VAE, Placement
from engine.pipeline.residency import Residency
from engine.recipe.recipe import Recipe
from engine.spec import Spec
from tests.conftest import PATIENCE
from tests.engine.pipeline.test_residency import failing
from tests.engine.ticks import (
    News,
    check_order,
    drive,
    load_apart,
    make_loaded_model,
    pipeline_on,
    pngs,
    steps,
)
from tests.factories import make_recipe
from tests.flow_models import make_klein, make_z_image

CPU = torch.device("cpu")
CALLS = 4
SHARED = Buckets({1: 1.0, 2: 1.0, 4: 1.0})


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Model:
    home = tmp_path_factory.mktemp("home")
    make_z_image(home / "flow")
    return load(Catalogue(home).get("flow"), CPU)


class Slowly:
    """Measure by some calls of one row, and note at each what it was of."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, device: torch.device, what: str, call: Call, *__: object) -> Measuring:
        for _ in range(CALLS):
            yield
            call(1)
            self.calls.append(what)
        return SHARED


def asking(probe: Probe) -> Measure:
    """Return a probe's measurement by calls, as other devices than processors make it."""
    return lambda device, what, call, before, _: probe.buckets(device, what, call, before)


class Ticks:
    """Run a pipeline tick by tick, and keep what is told by job."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.told: dict[int, list[News]] = defaultdict(list)

    def admit(self, job: int, recipe: Recipe) -> None:
        self.pipeline.admit(Spec(job=job, epoch=1, recipe=recipe))

    def tick(self) -> None:
        for report in self.pipeline.tick():
            self.told[report.key.job].append(report.news)

    def finish(self) -> None:
        while self.pipeline.busy:
            self.tick()
        self.pipeline.close()
        for news in self.told.values():
            check_order(news)


def recipe(side: int, **changes: Any) -> Recipe:
    settings = {"sampler": "euler", "schedule": "simple", "width": side, "height": side}
    return make_recipe(checkpoint="flow", **{**settings, **changes})


def alone(model: Model, *recipes: Recipe) -> list[bytes]:
    found = []
    for job, each in enumerate(recipes):
        pipeline = pipeline_on(model, measure=Slowly())
        found += pngs(drive(pipeline, {0: [Spec(job=job, epoch=1, recipe=each)]})[job])
        pipeline.close()
    return found


def test_a_large_network_is_measured_by_a_call_a_tick(flow: Model) -> None:
    known, new = recipe(64, steps=12), recipe(96, steps=2)
    slowly = Slowly()
    ticks = Ticks(pipeline_on(flow, measure=slowly))
    ticks.admit(0, known)
    for number in range(1, CALLS + 1):
        ticks.tick()
        assert len(slowly.calls) == number
        # With the last of them it is known, and the job's first call is made.
        assert steps(ticks.told[0]) == ([0, 1] if number == CALLS else [0])
    ticks.admit(1, new)
    ticks.admit(2, new)
    for number in range(1, CALLS):
        ticks.tick()
        assert len(slowly.calls) == CALLS + number
        assert steps(ticks.told[0])[-1] == 1 + number
        assert steps(ticks.told[1]) == [0]
    ticks.finish()
    assert len(slowly.calls) == 2 * CALLS  # the second of that size finds it
    found = [*pngs(ticks.told[0]), *pngs(ticks.told[1])]
    assert found == alone(flow, known, new)


def test_a_large_u_net_is_measured_by_a_call_a_tick_as_it_was_at_once(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, rows = [0.0], list[int]()
    forward = model.network.forward

    def call(x: Any, *arguments: Any, **options: Any) -> Any:
        rows.append(len(x))
        now[0] += (8 + len(x)) / 256
        return forward(x, *arguments, **options)

    monkeypatch.setattr(model.network, "forward", call)
    found, made = [], []
    for large in (2**29, 0):
        monkeypatch.setattr("engine.pipeline.costs.LARGE", large)
        measure = Probe(Measurements(None), clock=lambda: now[0]).buckets
        loaded_model = make_loaded_model(model, measure=measure)
        with torch.inference_mode():
            (picture,) = loaded_model.begin(make_recipe())
            known, each = False, []
            while not known:
                rows.clear()
                known = loaded_model.costs.measure(picture)
                each.append([*rows])
        found.append(loaded_model.costs.of(picture))
        made.append(each)
    assert found[0] == found[1]
    at_once, by_calls = made
    assert len(at_once) == 1
    assert at_once == [[row for call in by_calls for row in call]]
    assert {len(call) for call in by_calls} == {1}


def test_a_small_u_net_is_measured_at_once(model: StableDiffusion) -> None:
    slowly = Slowly()
    ticks = Ticks(pipeline_on(model, measure=slowly))
    for job, side in enumerate((64, 72)):
        ticks.admit(job, make_recipe(steps=2, width=side, height=side))
    ticks.tick()
    assert len(slowly.calls) == 2 * CALLS
    assert steps(ticks.told[0])[-1] + steps(ticks.told[1])[-1] == 1
    ticks.finish()


@pytest.mark.parametrize("times", range(1, 6))
def test_memory_that_runs_out_while_a_large_network_is_measured_costs_no_picture(
    flow: Model, times: int
) -> None:
    pipeline = pipeline_on(flow, measure=asking(Probe(Measurements(None))))
    with failing(flow.network, "forward", times):
        news = drive(pipeline, {0: [Spec(job=0, epoch=1, recipe=recipe(64, steps=2))]})[0]
    pipeline.close()
    assert pngs(news)


def test_moving_the_network_to_the_device_is_not_measured(flow: Model) -> None:
    now = [0.0]
    forward, move = flow.network.forward, Placement.move_to_device

    def call(*arguments: Any, **options: Any) -> Any:
        now[0] += 0.25
        return forward(*arguments, **options)

    def moving(parts: Placement, part: str) -> None:
        now[0] += 8.0 * (parts.present != part)
        move(parts, part)

    measure = asking(Probe(Measurements(None), clock=lambda: now[0]))
    loaded_model = make_loaded_model(flow, measure=measure, offloaded=True)
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(flow.network, "forward", call)
        patch.setattr(Placement, "move_to_device", moving)
        (picture,) = loaded_model.begin(recipe(64))
        while not loaded_model.costs.measure(picture):
            loaded_model._parts.move_to_device(VAE)  # another job of the model decodes
    assert {*loaded_model.costs.of(picture).seconds.values()} == {0.25}


@pytest.mark.parametrize("mode", ["buckets", "buckets_now"])
def test_a_processor_makes_no_call_to_measure_a_large_network(
    flow: Model, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow.network, "forward", None)
    loaded_model = make_loaded_model(flow, measure=getattr(Probe(Measurements(None)), mode))
    with torch.inference_mode():
        (picture,) = loaded_model.begin(recipe(128))
        assert loaded_model.costs.measure(picture)
    costs = loaded_model.costs.of(picture)
    weights = sum(each.numel() for each in flow.network.parameters())
    tokens = (128 // 16) ** 2
    # Two operations for each weight and token, of which a thread does about 50 billion a second.
    assert costs.seconds == {1: pytest.approx(2 * weights * tokens / 5e10)}
    assert costs.canonical(picture.rows) == picture.rows


def test_what_a_processor_has_measured_of_a_large_network_stands(
    flow: Model, tmp_path: Path
) -> None:
    notes = Measurements(tmp_path)
    first, again = (
        make_loaded_model(flow, measure=measure)
        for measure in (asking(Probe(notes)), Probe(notes).buckets)
    )
    with torch.inference_mode():
        (picture,) = first.begin(recipe(64))
        while not first.costs.measure(picture):
            pass
        assert again.costs.measure(picture)
    assert again.costs.of(picture) == first.costs.of(picture)


@pytest.mark.parametrize("side", [384, 768])
def test_sizes_of_flow_models_are_measured_by_few_squares(side: int) -> None:
    assert coarse([(16, 128, 128)]) == (16, 128, 128)
    assert coarse([(16, 104, 160)]) == coarse([(16, 128, 128), (16, 2, 128)]) == (16, 144, 144)
    found = set()
    for down in range(16, side + 1, 7):
        for across in range(16, side + 1, 7):
            its, references = (16, down, across), [(16, across, 24)] * 2
            channels, height, width = coarse([its, *references])
            latents = down * across + 2 * across * 24
            assert channels == 16
            assert height == width
            assert not height % 2
            assert latents <= height * width <= 1.27 * latents
            found.add(height)
            assert coarse([its])[1] <= side  # as far as Stable Diffusion 3 sees at once
    assert len(found) < 50


def test_pictures_edited_by_words_are_measured_once_for_photos_of_many_shapes(
    tmp_path: Path,
) -> None:
    make_klein(tmp_path / "flow")
    klein, slowly = load(Catalogue(tmp_path).get("flow"), CPU), Slowly()
    edits = make_loaded_model(klein, measure=slowly)
    sides = ((96, 64), (112, 64), (64, 112), (160, 48))
    with torch.inference_mode():
        for height, width in sides:
            photo = np.zeros((height, width, 3), np.uint8)
            (picture,) = edits.begin(recipe(64), references=[photo])
            while not edits.costs.measure(picture):
                pass
            assert edits.costs.of(picture) is SHARED
    assert len(slowly.calls) == CALLS
    assert slowly.calls[0].endswith("| torch.float32 | 128×8×8")


def test_calls_that_move_blocks_are_measured_apart(flow: Model) -> None:
    names: list[tuple[str, str]] = []

    def measure(
        device: torch.device, what: str, call: Call, before: str, _: float | None
    ) -> Measuring:
        names.append((what, before))
        yield
        return SHARED

    for by_groups in ((), (NETWORK,)):
        loaded_model = make_loaded_model(flow, measure=measure, by_groups=by_groups)
        with torch.inference_mode():
            (picture,) = loaded_model.begin(recipe(64))
            loaded_model.costs.measure(picture)
    whole, grouped = names
    assert grouped == (f"{whole[0]} | by groups", f"{whole[1]} | by groups")


def test_a_fault_in_a_measurement_ends_its_job_alone(flow: Model) -> None:
    def broken(device: torch.device, what: str, *_: object) -> Measuring:
        if "×12×12" in what:
            raise ValueError("broken")
        yield
        return SHARED

    ticks = Ticks(pipeline_on(flow, measure=broken))
    ticks.admit(0, recipe(64, steps=3))
    ticks.admit(1, recipe(96, steps=3))
    ticks.finish()
    assert pngs(ticks.told[0])
    last = ticks.told[1][-1]
    assert isinstance(last, Ended)
    assert isinstance(last.error, EngineError)


@pytest.fixture
def catalogue(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """Return a catalogue in which every model is loaded in the thread."""
    load_apart(monkeypatch)
    return Catalogue(tiny_folder.parent, starter=tiny_folder)


def test_nothing_is_measured_while_another_model_is_loaded(catalogue: Catalogue) -> None:
    may, slowly, measured = Event(), Slowly(), list[bool]()
    other = next(name for name in catalogue.names() if name != "starter")

    def load_one(checkpoint: Checkpoint, offloaded: bool) -> Model:
        if checkpoint.name == other:
            assert may.wait(PATIENCE)
        return load(checkpoint, CPU)

    def measure(*arguments: Any) -> Measuring:
        measured.append(models.at_work)
        return slowly(*arguments)

    models = Residency(catalogue, load_one, measure, Ladder(), 2**40)
    ticks = Ticks(pipeline_on(models))
    first = make_recipe(checkpoint="starter", steps=2)
    ticks.admit(0, first)
    while not pngs(ticks.told[0]):
        ticks.tick()
    ticks.admit(1, make_recipe(checkpoint=other, steps=2))
    ticks.tick()
    ticks.admit(2, first)  # of a size that is known
    ticks.admit(3, make_recipe(checkpoint="starter", steps=2, width=72, height=72))
    while not pngs(ticks.told[2]):
        ticks.tick()
    assert steps(ticks.told[3]) == [0]
    assert len(slowly.calls) == CALLS
    may.set()
    ticks.finish()
    assert all(pngs(ticks.told[job]) for job in range(4))
    assert measured == [False] * 3
