"""What is measured, when measuring stops, and that it is remembered."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

from engine.denoise.conditions import Conditions
from engine.denoise.control import ActiveControl
from engine.denoise.control_union import Union
from engine.denoise.denoising import Denoising, PassInputs, call_on_noise
from engine.device.call_costs import Buckets
from engine.device.probe import ROUNDS, Call, Measurements, Measuring, Probe, finished, software
from engine.families.stable_diffusion import StableDiffusion
from engine.loading.lora_layers import Addition
from engine.pipeline.costs import _digest
from engine.recipe.parts import Lora
from engine.text_encode.conditioning import TextEncoder
from tests.engine.denoise.test_control import make_network
from tests.engine.ticks import costing, make_loaded_model, pipeline_on, run
from tests.factories import make_recipe
from tests.loras import random_lora, write_kohya
from tests.single_files import make_true_model

CPU = torch.device("cpu")


class Machine:
    """Answer a probe's calls at a cost by rows, on a clock of its own."""

    def __init__(self, *costs: float) -> None:
        self.costs = dict(zip((1, 2, 4, 8, 16), costs, strict=False))
        self.now = 0.0
        self.calls: list[int] = []

    def __call__(self, rows: int) -> None:
        self.calls.append(rows)
        self.now += self.costs[rows]

    def probe(self, folder: Path | None = None) -> Probe:
        return Probe(Measurements(folder), clock=lambda: self.now)


def test_doubling_goes_on_while_it_gains_something() -> None:
    machine = Machine(0.1, 0.1, 0.12, 0.3)
    seconds = finished(machine.probe().buckets(CPU, "tiny", machine)).seconds
    assert seconds == pytest.approx({1: 0.1, 2: 0.1, 4: 0.12, 8: 0.3})


def test_a_processor_that_is_busy_with_one_row_is_asked_once() -> None:
    machine = Machine(3.0)
    assert finished(machine.probe().buckets(CPU, "large", machine)).seconds == {1: 3.0}
    assert machine.calls == [1]


def test_another_device_that_is_slow_is_asked_twice_for_each_figure() -> None:
    machine = Machine(3.0, 4.0, 8.0)
    measuring = machine.probe().buckets(torch.device("meta"), "large", machine)
    assert finished(measuring).seconds == {1: 3.0, 2: 4.0, 4: 8.0}
    assert machine.calls == [1] * 4 + [2] * 3 + [4] * 3


def test_whether_a_device_is_slow_is_told_by_a_warm_call() -> None:
    machine = Machine(0.1, 0.2)

    def call(rows: int) -> None:
        machine.now += 0 if machine.calls else 3.0  # the first of all makes it ready
        machine(rows)

    measuring = machine.probe().buckets(torch.device("meta"), "large", call)
    assert finished(measuring).seconds == pytest.approx({1: 0.1, 2: 0.2})
    assert machine.calls == [1] * (2 + ROUNDS) + [2] * (1 + ROUNDS)


def test_measuring_pauses_before_each_call(tmp_path: Path) -> None:
    machine, threads = Machine(0.1, 0.2), torch.get_num_threads()
    seen = []
    measuring = machine.probe(tmp_path).buckets(CPU, "tiny", machine)
    for _ in measuring:
        seen.append(len(machine.calls))
        assert torch.get_num_threads() == threads
    assert seen == [*range(1 + 2 * (1 + ROUNDS))]
    assert not list(machine.probe(tmp_path).buckets(CPU, "tiny", machine))  # it is known
    assert len(machine.calls) == seen[-1] + 1


def test_memory_that_ends_ends_the_measuring_not_the_job() -> None:
    machine = Machine(0.1, 0.1, 0.1)

    def call(rows: int) -> None:
        if rows > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        machine(rows)

    assert finished(machine.probe().buckets(CPU, "huge", call)).seconds == pytest.approx(
        {1: 0.1, 2: 0.1}
    )


def test_any_other_fault_of_a_measured_call_is_told() -> None:
    machine = Machine(0.1)
    with pytest.raises(KeyError):
        finished(machine.probe().buckets(CPU, "odd", machine))


def test_of_noisy_figures_the_least_counts() -> None:
    machine = Machine(0.1, 0.4)
    slow = iter([0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9])

    def call(rows: int) -> None:
        machine(rows)
        machine.now += next(slow, 0.0)

    assert finished(machine.probe().buckets(CPU, "tiny", call)).seconds[1] == pytest.approx(0.2)


def test_figures_are_remembered_over_a_restart_and_by_what_they_are_of(tmp_path: Path) -> None:
    first, second = Machine(0.1, 0.1, 0.3), Machine(0.5, 1.5)
    measured = finished(first.probe(tmp_path).buckets(CPU, "tiny", first))
    assert len(first.calls) == 1 + 3 * (1 + ROUNDS)
    assert finished(second.probe(tmp_path).buckets(CPU, "tiny", second)) == measured
    assert not second.calls
    assert finished(second.probe(tmp_path).buckets(CPU, "other", second)) != measured
    assert [file.name for file in tmp_path.iterdir()] == ["measured.json"]


def test_what_an_earlier_version_measured_stands(tmp_path: Path) -> None:
    first, second, third = Machine(0.1, 0.1, 0.3), Machine(0.5, 1.5), Machine(0.7, 2.1)
    old = finished(first.probe(tmp_path).buckets(CPU, "a folder's", first))
    assert finished(second.probe(tmp_path).buckets(CPU, "anywhere's", second, "a folder's")) == old
    assert not second.calls
    new = finished(third.probe(tmp_path).buckets(CPU, "anywhere's", third, "another folder's"))
    assert new.seconds[1] == pytest.approx(0.7)
    assert (
        finished(second.probe(tmp_path).buckets(CPU, "anywhere's", second, "a third one's")) == new
    )


def test_for_throughput_mode_it_is_measured_at_each_start(tmp_path: Path) -> None:
    for costs in ((0.1, 0.1, 0.3), (0.2, 0.2, 0.5)):
        machine = Machine(*costs)
        buckets = finished(machine.probe(tmp_path).buckets_now(CPU, "tiny", machine))
        assert buckets.seconds[1] == pytest.approx(costs[0])
    assert not list(tmp_path.iterdir())


def test_what_another_process_measured_first_stands(tmp_path: Path) -> None:
    ours, theirs = Measurements(tmp_path), Measurements(tmp_path)

    def measure() -> str:
        theirs.recall("key", lambda: "theirs")
        return "ours"

    assert ours.recall("key", measure) == "theirs"


def test_engines_that_measure_at_the_same_time_use_one_of_their_figures(tmp_path: Path) -> None:
    together = Barrier(8)

    def measure(number: int) -> Any:
        together.wait()
        return number

    def recall(number: int) -> Any:
        return Measurements(tmp_path).recall("call", partial(measure, number))

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(recall, range(8)))
    kept = json.loads((tmp_path / "measured.json").read_text("utf-8"))
    assert found == [kept["call"]] * 8


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_broken_file_is_measured_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "measured.json").write_text(content)
    assert Measurements(tmp_path).recall("key", lambda: 1) == 1
    assert Measurements(tmp_path).recall("key", lambda: 2) == 1


def test_a_folder_that_cannot_be_written_costs_only_the_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    notes = Measurements(tmp_path / "file")
    assert [notes.recall("key", lambda: 1), notes.recall("key", lambda: 2)] == [1, 1]
    assert "cannot be saved" in caplog.text


def test_what_could_not_be_saved_is_saved_when_it_is_asked_for_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.touch()
    notes = Measurements(folder)
    assert notes.recall("key", lambda: 1) == 1
    folder.unlink()
    assert notes.recall("key", lambda: 2) == 1
    assert Measurements(folder).recall("key", lambda: 3) == 1


def test_a_processor_works_in_fp32_and_keeps_its_threads() -> None:
    machine = Machine(0.1, 0.2)
    threads = torch.get_num_threads()
    finished(machine.probe().buckets(CPU, "tiny", machine))
    assert torch.get_num_threads() == threads
    assert machine.probe().dtype(CPU) is torch.float32


class Watched:
    """Measure by a probe, and note what the U-Net is given for each number of rows."""

    def __init__(self, model: StableDiffusion) -> None:
        self.model = model
        self.given: list[tuple[int, torch.Size, torch.Size, bool]] = []

    def measure(self, device: torch.device, what: str, call: Call, *_: object) -> Measuring:
        forward = self.model.unet.forward

        def watched(rows: int) -> None:
            def watch(x: Tensor, t: Tensor, **told: Any) -> Any:
                control_residuals = "down_block_additional_residuals" in told
                context = told["encoder_hidden_states"].shape
                self.given.append((rows, x.shape, context, control_residuals))
                return forward(x, t, **told)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(self.model.unet, "forward", watch)
                call(rows)

        return Probe(Measurements(None)).buckets(device, what, watched)


@pytest.mark.parametrize(
    "changes",
    [{}, {"guidance_scale": 1.0}, {"prompt": "marble " * 60}, {"loras": (Lora(name="ink"),)}],
    ids=["guided", "unguided", "long", "LoRA"],
)
def test_a_probe_measures_a_row_of_its_own_whatever_the_first_job_is(
    model: StableDiffusion, tmp_path: Path, changes: dict[str, Any]
) -> None:
    pairs = random_lora({"unet": model.unet})
    write_kohya(tmp_path / "loras" / "ink.safetensors", pairs, model.unet)
    watched, adapters = Watched(model), []
    pipeline = pipeline_on(model, measure=watched.measure, models_dir=tmp_path)
    added = Addition.__call__

    def watch(addition: Addition, layer: Any, x: Tensor) -> Tensor:
        adapters.append(len(watched.given))
        return added(addition, layer, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Addition, "__call__", watch)
        run(pipeline, make_recipe(steps=1, **changes))
    assert {rows for rows, *_ in watched.given} >= {1, 2}
    for rows, x, context, _ in watched.given:
        assert (x, context) == ((rows, 4, 8, 8), (rows, 77, 32))
    assert set(adapters) <= {len(watched.given)}  # all of them after the measuring


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("form", [{}, {"in_channels": 9}, {"time_cond_proj_dim": 16}], ids=str)
@torch.inference_mode()
def test_every_form_of_model_can_be_measured(
    tmp_path: Path, family: str, form: dict[str, int]
) -> None:
    model = make_true_model(tmp_path, family, **form)
    for rows in (1, 3):
        call_on_noise(model, (4, 8, 8), (), rows)


@torch.inference_mode()
def test_a_control_that_speaks_later_is_measured_at_work(model: StableDiffusion) -> None:
    network = make_network(model.unet, 1)
    hint = torch.zeros(1, 3, 64, 64)
    control = ActiveControl(
        network=network, image=hint, strength=1.0, start=0.5, end=1.0, key="late"
    )
    calls: list[int] = []
    forward = network.forward

    def watch(x: Tensor, *args: Any, **told: Any) -> Any:
        calls.append(len(x))
        return forward(x, *args, **told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "forward", watch)
        call_on_noise(model, (4, 8, 8), (control,), 2)
    assert calls == [2]


def test_controls_of_another_form_are_measured_anew(model: StableDiffusion) -> None:
    whats: list[str] = []

    def measure(device: torch.device, what: str, *rest: Any) -> Measuring:
        whats.append(what)
        return costing(Buckets({1: 1.0}))(device, what, *rest)

    plain = make_network(model.unet, 1)
    wider = ControlNetModel.from_unet(
        model.unet, load_weights_from_unet=False, conditioning_channels=6
    )
    costs = make_loaded_model(model, measure=measure).costs
    for network in (plain, wider, make_network(model.unet, 2), Union(wider, 0)):
        control = ActiveControl(
            network=network, image=torch.zeros(1, 3, 64, 64), strength=1, start=0, end=1, key=""
        )
        inputs = PassInputs(width=64, height=64, steps=1, controls=(control,))
        with torch.inference_mode():
            both = Conditions.of(*[TextEncoder(model).encode("")] * 2)
            costs.measure(Denoising(model, make_recipe(steps=1), 0, both, inputs))
    assert len(set(whats)) == len(whats) == 2


def test_notes_of_calls_that_were_measured_otherwise_are_not_trusted(tmp_path: Path) -> None:
    old = f"calls | {software(CPU)} | tiny"
    dtype = f"dtype | {software(CPU)}"
    notes = {old: {"1": 9.0}, dtype: "torch.float32"}
    (tmp_path / "measured.json").write_text(json.dumps(notes), encoding="utf-8")
    machine = Machine(0.1, 0.1, 0.3)
    assert finished(machine.probe(tmp_path).buckets(CPU, "tiny", machine)).seconds[
        1
    ] == pytest.approx(0.1)
    assert Measurements(tmp_path).recall(dtype, lambda: "else") == "torch.float32"  # that one holds


def test_notes_of_calls_are_found_again_by_every_process() -> None:
    """The order of diffusers' list of default values comes from a set, and so from the process."""
    config = {"in_channels": 4, "_use_default_values": ["a", "b"]}
    assert _digest(config) == _digest({**config, "_use_default_values": ["b", "a"]})
    assert _digest(config) != _digest({**config, "in_channels": 9})
