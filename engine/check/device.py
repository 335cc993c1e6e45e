"""Check the device that the engine would use: its memory, and whether it computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engine.device.backends import devices_beside, find_device, memory, name, try_device
from engine.executors.config import AUTO, SEPARATOR
from engine.models.memory_plan import Room
from engine.pipeline.residency import budget, room


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that works; torch: its version; memory: bytes; budget: bytes for models."""

    name: str
    kind: str
    torch: str
    memory: int
    budget: int


def look(wanted: str) -> Device:
    """Describe the device of that name (`MARBLE_DEVICE`) after a try; raises `DeviceFault`."""
    device = try_device(wanted)
    return Device(
        name=name(device),
        kind=device.type,
        torch=torch.__version__,
        memory=memory(device),
        budget=budget(device),
    )


def names_of(wanted: str) -> list[str]:
    """Return the devices that `MARBLE_DEVICE` means, of which each has an engine."""
    if wanted != AUTO:
        return wanted.split(SEPARATOR)
    try:
        return [AUTO, *devices_beside()]
    except RuntimeError:  # `look` says why
        return [AUTO]


def room_for_models(wanted: str) -> Room:
    """Return what the first device has for models; raises `DeviceFault`."""
    return room(find_device(names_of(wanted)[0]))
