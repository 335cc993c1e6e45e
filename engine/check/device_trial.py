"""Try devices in a process of its own: a driver that hangs or crashes stops nobody who asks.

It also keeps torch out of the process that asks.
"""

from __future__ import annotations

from asyncio.subprocess import DEVNULL
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from engine.errors import DeviceFault
from engine.executors import wire
from engine.executors.config import AUTO, SEPARATOR
from engine.executors.helper import Helper, HelperFailed, HelperSilent
from engine.models.memory_plan import Room

PROGRAM: Final = "engine.check.device"
LIMIT: Final = 120.0  # seconds for an answer; for the first one torch is imported


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that works; torch: its version; memory: bytes; room: what it has for models."""

    name: str
    torch: str
    memory: int
    room: Room


class DeviceSilent(DeviceFault):
    """A device did not answer in time; the text says what helps."""

    def __init__(self, device: str) -> None:
        super().__init__(
            f"The device {device} did not answer within {LIMIT:g} s: leave it out of "
            "MARBLE_DEVICE, or restart the machine; its log (`dmesg`) may say what its driver met."
        )


class NoTorch(DeviceFault):
    """No device can be used, since torch cannot be imported; `why`."""

    def __init__(self, why: str) -> None:
        super().__init__(f"torch cannot be imported ({why}).")


class DeviceTrial:
    """Asks a process about devices; it is ended where it does not answer, and started again.

    warnings: what torch warned of, such as a driver that is too old.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        # A process that cannot be ended must not hold the asking program's error output open.
        self._helper = Helper(PROGRAM, patience=LIMIT, stderr=DEVNULL)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._helper.close()

    async def names_of(self, wanted: str) -> list[str]:
        """Return the devices that `MARBLE_DEVICE` means, of which each has an engine.

        Raises `DeviceSilent` and `NoTorch`.
        """
        if wanted != AUTO:
            return wanted.split(SEPARATOR)
        return [AUTO, *(await self._ask(AUTO, {}))["beside"]]

    async def look(self, name: str) -> Device:
        """Describe a device after a try.

        Raises `DeviceFault` where it is not there or does not work, `DeviceSilent` where it does
        not answer, and `NoTorch`.
        """
        found = await self._ask(name, {"device": name})
        return Device(**{**found, "room": Room(**found["room"])})

    async def _ask(self, device: str, question: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            answer = {**(await self._helper.ask(wire.Frame(question), wait=LIMIT)).header}
        except HelperSilent:
            raise DeviceSilent(device) from None
        except HelperFailed as error:
            raise DeviceFault(f"The device {device} could not be tried: {error}.") from error
        self.warnings += answer.pop("warnings")
        if "no_torch" in answer:
            raise NoTorch(answer["no_torch"])
        if "fault" in answer:
            raise DeviceFault(answer["fault"])
        return answer
