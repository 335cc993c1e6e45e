"""Apple's device, by fakes of what torch says: none of it can be had where tests run."""

import ast
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from engine.check.device import look
from engine.device import backends as devices
from engine.device.backends import (
    CUDA,
    MPS,
    is_out_of_memory,
    layout,
    memory,
    pick_device,
    precision,
    wait,
    widest_float,
)
from engine.device.probe import Measurements, Probe, finished, software
from engine.pipeline.residency import SHARE, budget
from tests.conftest import ROOT

APPLE = torch.device(MPS)
CPU = torch.device("cpu")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let torch see Apple's device alone, and note what it is asked for."""
    asked: list[str] = []

    def fake(name: str, answer: object = None) -> Callable[[], object]:
        def call() -> object:
            asked.append(name)
            return answer

        return call

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "synchronize", fake("synchronize"))
    monkeypatch.setattr(torch.mps, "empty_cache", fake("empty_cache"))
    monkeypatch.setattr(torch.mps, "recommended_max_memory", fake("memory", 12 * 2**30))
    monkeypatch.setattr(platform, "mac_ver", lambda: ("15.5", ("", "", ""), "arm64"))
    return asked


def test_apples_device_is_taken_where_there_is_no_cuda(calls: list[str]) -> None:
    assert pick_device() == APPLE
    assert pick_device("cpu") == CPU


def test_clocks_are_read_after_it_has_done_its_work(calls: list[str]) -> None:
    seconds = iter(range(10**6))

    def work(rows: int) -> None:
        calls.append(f"work on {rows}")

    def clock() -> float:
        calls.append("clock")
        return float(next(seconds))

    finished(Probe(Measurements(None), clock).buckets(APPLE, "x", work))
    assert calls[:5] == ["synchronize", "clock", "work on 1", "synchronize", "clock"]
    wait(CPU)  # which has nothing to wait for
    assert calls.count("synchronize") == calls.count("clock")


def test_copies_are_made_beside_what_cuda_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    class Weight:
        def pin_memory(self) -> "Weight":
            told.append("pinned")
            return self

        def to(self, device: torch.device, *, non_blocking: bool) -> str:
            told.append((device, non_blocking))
            return "copy"

    @contextmanager
    def within(stream: object) -> Iterator[None]:
        told.append(stream)
        yield
        told.append("left")

    device = torch.device(CUDA, 3)
    monkeypatch.setattr(torch.cuda, "Stream", lambda of: f"stream of {of}")
    monkeypatch.setattr(torch.cuda, "stream", within)
    devices._stream_of_copies.cache_clear()
    try:
        for _ in range(2):
            assert devices.copy_beside(Weight(), device) == "copy"  # type: ignore[arg-type]
    finally:
        devices._stream_of_copies.cache_clear()
    assert told == ["stream of cuda:3", "pinned", (device, True), "left"] * 2


def test_its_memory_is_given_back_and_is_what_it_recommends(calls: list[str]) -> None:
    devices.empty_cache()
    assert calls == ["empty_cache"]
    assert memory(APPLE) == 12 * 2**30
    assert budget(APPLE) == int(SHARE * 12 * 2**30)


def test_it_works_in_fp16_unmeasured_and_never_in_fp64(calls: list[str]) -> None:
    assert precision(APPLE) is torch.float16
    assert Probe(Measurements(None)).dtype(APPLE) is torch.float16
    assert Probe(Measurements(None)).dtype(CPU) is torch.float32
    assert widest_float(APPLE) is torch.float32
    assert widest_float(CPU) is torch.float64


def test_weights_lie_there_as_torch_computes_rightly(calls: list[str]) -> None:
    assert layout(APPLE) is torch.contiguous_format
    assert layout(CPU) is layout(torch.device(CUDA)) is torch.channels_last


@pytest.mark.parametrize(
    ("said", "short"),
    [
        ("MPS backend out of memory (MPS allocated: 8.1 GB, max allowed: 9.07 GB).", True),
        ("Invalid buffer size: 24.00 GiB", True),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.", True),
        ("Cannot convert a MPS Tensor to float64 dtype", False),
    ],
)
def test_what_its_allocator_says_means_that_memory_ran_out(said: str, short: bool) -> None:
    assert is_out_of_memory(RuntimeError(said)) is short


def test_what_was_measured_is_kept_for_its_system_not_for_threads(calls: list[str]) -> None:
    assert software(APPLE) == f"Apple Metal, macOS 15.5 | torch {torch.__version__}"
    assert software(CPU).startswith(f"cpu, {torch.get_num_threads()} threads | ")


def test_the_processor_is_described_as_it_was(calls: list[str]) -> None:
    found = look("cpu")
    assert found.kind == "cpu"
    assert found.memory == memory(CPU) > 0


# Where fp64 is made: on the processor, from numbers.
MADE_ON_THE_PROCESSOR = {
    "engine/denoise/flow.py",
    "engine/denoise/schedules.py",
    "engine/finish/safety.py",
    "engine/loading/noise_schedule.py",
    "engine/loading/weights.py",
    "engine/device/backends.py",
}


def test_no_tensor_of_a_device_becomes_fp64() -> None:
    found = set()
    for path in (ROOT / "engine").rglob("*.py"):
        if "starter" in path.parts:  # trained on the processor and CUDA
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("double", "float64"):
                owner = node.value
                if not (isinstance(owner, ast.Name) and owner.id == "np"):
                    found.add(Path(path).relative_to(ROOT).as_posix())
    assert found == MADE_ON_THE_PROCESSOR


def test_only_one_module_asks_torch_about_a_kind_of_device() -> None:
    asking = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "engine").rglob("*.py")
        if "starter" not in path.parts
        and any(mark in path.read_text("utf-8") for mark in ("torch.cuda.", "torch.mps.", '"mps"'))
    }
    assert asking == {"engine/device/backends.py", "engine/check/device.py"}
