"""Devices are tried in a process of its own, which may hang or crash as their drivers do."""

import asyncio
import warnings
from pathlib import Path

import pytest
import torch

from engine.check import device_trial
from engine.check.device import answer
from engine.check.device_trial import DeviceSilent, DeviceTrial, NoTorch
from engine.errors import DeviceFault
from engine.executors import helper, wire
from tests.conftest import PATIENCE
from tests.fakes.broken_torch import FAILS, HANGS, put_torch
from tests.fakes.devices import GOOD


async def test_devices_are_described_and_told_apart_from_those_that_are_not_there() -> None:
    async with DeviceTrial() as trial:
        assert await trial.names_of("cpu:0,cpu:99999") == ["cpu:0", "cpu:99999"]
        first, *_ = await trial.names_of("auto")
        assert first == "auto"
        found = await trial.look("cpu:0")
        assert found.name.startswith("cpu, ")
        assert found.room.budget < found.memory
        with pytest.raises(DeviceFault, match=r"^There is no cpu:99999: this machine has "):
            await trial.look("cpu:99999")


async def test_a_device_that_hangs_or_crashes_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_trial, "PROGRAM", "tests.fakes.devices")
    async with DeviceTrial() as trial:
        assert await trial.look("works") == GOOD
        hung = trial._helper._process
        assert hung
        monkeypatch.setattr(trial._helper, "_patience", 0.1)
        with pytest.raises(DeviceSilent) as silent:
            await trial.look("hangs")
        assert str(silent.value) == (
            "The device hangs did not answer within 120 s: leave it out of MARBLE_DEVICE, or "
            "restart the machine; its log (`dmesg`) may say what its driver met."
        )
        assert await hung.wait() < 0
        monkeypatch.undo()
        monkeypatch.setattr(trial._helper, "_patience", PATIENCE)
        with pytest.raises(DeviceFault) as crashed:
            await trial.look("crashes")
        assert str(crashed.value) == ("The device crashes could not be tried: its process ended.")
        assert await trial.look("works") == GOOD


async def test_a_torch_that_hangs_is_given_up_whatever_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_torch(HANGS, tmp_path, monkeypatch)
    monkeypatch.setattr(device_trial, "LIMIT", 0.5)
    async with DeviceTrial() as trial:
        with pytest.raises(DeviceSilent, match="The device auto did not answer within"):
            await trial.names_of("auto")
        with pytest.raises(DeviceSilent, match="The device cuda:0 did not"):
            await trial.look("cuda:0")


async def test_a_torch_that_cannot_be_imported_is_no_fault_of_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_torch(FAILS, tmp_path, monkeypatch)  # what it prints is no answer
    async with DeviceTrial() as trial:
        for asked in (trial.names_of("auto"), trial.look("cuda:0")):
            with pytest.raises(NoTorch) as error:
                await asked
            assert str(error.value) == (
                "torch cannot be imported (libcudart.so.12: cannot open it)."
            )


async def test_a_process_that_its_driver_keeps_from_ending_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(helper, "ENDING", 0.0)
    monkeypatch.setattr(device_trial, "PROGRAM", "tests.fakes.devices")
    trial = DeviceTrial()
    await trial.look("works")
    process = trial._helper._last
    assert process
    never = asyncio.Event()
    with monkeypatch.context() as driver:
        driver.setattr(process, "wait", never.wait)
        async with asyncio.timeout(PATIENCE):
            await trial.__aexit__()
    assert await process.wait() < 0


def test_each_device_that_cannot_be_used_is_a_fault(three_gpus: None) -> None:
    def fault(name: str) -> str:
        text: str = answer(wire.Frame({"device": name})).header["fault"]
        return text

    assert answer(wire.Frame({})).header == {"beside": ["cuda:1", "cuda:2"], "warnings": []}
    assert fault("cuda:1") == (
        "cuda:1 does not work: CUDA error: uncorrectable ECC error encountered."
    )
    assert fault("cuda:7") == "There is no cuda:7; devices are counted from cuda:0."


@pytest.mark.filterwarnings("always::DeprecationWarning")
def test_what_torch_warns_of_is_told_whatever_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> bool:
        warnings.warn("CUDA initialization: The NVIDIA driver is too old.\nMore.", stacklevel=2)
        warnings.warn("something ends", DeprecationWarning, stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", warn)
    for question in ({}, {"device": "cuda:0"}, {"device": "auto"}):
        found = answer(wire.Frame(question)).header
        assert set(found["warnings"]) == {"CUDA initialization: The NVIDIA driver is too old"}
    assert found["name"].startswith("cpu, ")
