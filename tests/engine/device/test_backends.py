"""Apple's device, by fakes of what torch says: none of it can be had where tests run."""

import ast
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.check.device import look
from engine.device import backends as devices
from engine.device.backends import (
    CUDA,
    MPS,
    devices_beside,
    find_device,
    is_out_of_memory,
    layout,
    memory,
    pick_device,
    precision,
    wait,
    widest_float,
)
from engine.device.probe import Measurements, Probe, finished, software
from engine.errors import DeviceFault
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


def test_devices_are_counted_without_the_use_of_any(three_gpus: None) -> None:
    assert devices_beside() == ("cuda:1", "cuda:2")


def test_a_device_beyond_those_that_are_there_is_none(
    three_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert find_device("cpu:3") == CPU
    assert find_device("cuda:2") == torch.device("cuda:2")
    for name, said in (
        ("cuda:3", "There is no cuda:3; devices are counted from cuda:0."),
        (
            "cpu:99999",
            "There is no cpu:99999: this machine has 4 processors, of which the last is cpu:3.",
        ),
    ):
        with pytest.raises(DeviceFault, match=f"^{re.escape(said)}$"):
            find_device(name)


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


class Pinned:
    """Be what pins memory, with two pieces that must not be filled before they were copied."""

    def __init__(self, patch: pytest.MonkeyPatch, size: int) -> None:
        self.pieces: list[torch.Tensor] = []
        self.streams: list[object] = []
        self.told: list[str] = []
        patch.setattr(devices, "PIECE", size)
        patch.setattr(devices, "_pinned", self.pin)
        patch.setattr(torch.cuda, "Stream", lambda of: f"stream of {of}")
        patch.setattr(torch.cuda, "stream", self.within)
        patch.setattr(torch.cuda, "Event", self.event)

    def pin(self, size: int) -> torch.Tensor:
        self.pieces.append(torch.zeros(size, dtype=torch.uint8))
        return self.pieces[-1]

    @contextmanager
    def within(self, stream: object) -> Iterator[None]:
        self.streams.append(stream)
        yield

    def event(self) -> object:
        number = len([each for each in self.told if each.startswith("event")])
        self.told.append(f"event {number}")

        class Event:
            def synchronize(_) -> None:
                self.told.append(f"wait {number}")

            def record(_, stream: object) -> None:
                self.told.append(f"copied {number}")

        return Event()


def channels_last(*shape: int) -> torch.Tensor:
    return torch.randn(shape).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(7, 5),
        torch.randn(7, 5).to(torch.bfloat16)[2:],
        torch.randn(6, 8).to(torch.float8_e4m3fn),
        channels_last(3, 5, 2, 4),
        channels_last(3, 5, 1, 1),
        torch.randn(4, 6).T,
        torch.randn(4, 1).expand(4, 6),
        torch.tensor(3.5),
        torch.zeros(0, 4),
        torch.tensor([True, False, True]),
        torch.arange(40),
        torch.randn(9, dtype=torch.complex64),
    ],
    ids=lambda each: f"{each.dtype} {[*each.shape]} {each.stride()}",
)
def test_copies_go_by_two_pieces_of_pinned_memory(
    tensor: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = Pinned(monkeypatch, 16)
    buffer = devices._StagingBuffer(CPU)
    for _ in range(2):
        copy = buffer.copy(tensor)
        assert torch.equal(copy.float() if copy.dtype.itemsize == 1 else copy, as_known(tensor))
        assert copy.dtype is tensor.dtype
        dense = tensor.numel() == 0 or 0 not in tensor.stride()
        assert copy.stride() == (tensor if dense else tensor.contiguous()).stride()
    assert [len(piece) for piece in pinned.pieces] == [16, 16]
    assert pinned.streams == ["stream of cpu"] * 2
    times = 2 * -(-tensor.nbytes // 16) if tensor.numel() else 2
    turns = [f"{what} {number % 2}" for number in range(times) for what in ("wait", "copied")]
    assert pinned.told == ["event 0", "event 1", *turns]


def as_known(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype.itemsize == 1 else tensor


def test_a_cuda_device_has_one_staging_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    Pinned(monkeypatch, 16)
    device, asked = torch.device(CUDA, 3), []

    class Weight:
        pass

    def copy(buffer: devices._StagingBuffer, tensor: object) -> object:
        asked.append(buffer)
        return tensor

    monkeypatch.setattr(devices._StagingBuffer, "copy", copy)
    devices._staging_buffer.cache_clear()
    try:
        weight: Any = Weight()
        assert [devices.copy_beside(weight, device) for _ in range(2)] == [weight] * 2
    finally:
        devices._staging_buffer.cache_clear()
    assert len({*asked}) == 1
    assert devices.copy_beside(torch.ones(2), CPU).tolist() == [1, 1]


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


def test_what_was_measured_is_kept_for_its_system_and_its_threads(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert software(APPLE) == f"Apple Metal, macOS 15.5 | torch {torch.__version__}"
    for threads, kind in ((4, "cpu, 4 threads"), (1, "cpu, 1 thread")):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert software(CPU) == f"{kind} | torch {torch.__version__}"


def test_the_processor_is_described_as_it_was(calls: list[str]) -> None:
    found = look("cpu")
    assert found.name.startswith("cpu, ")
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
    assert asking == {"engine/device/backends.py"}
