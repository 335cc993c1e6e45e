"""What this machine tells of itself: its GPUs, memory, load, and what a process of it uses."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ASKED: Final = "name,utilization.gpu,memory.used,memory.total,temperature.gpu"
PROC: Final = Path("/proc")  # Linux; nowhere else
PATIENCE: Final = 5.0  # seconds for nvidia-smi, which hangs where the driver does
KEPT: Final = 2.0  # seconds for which what it told is told again


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: how busy it is in %, its memory in MiB, its temperature in °C, each as told."""

    name: str
    busy: str
    used: str
    total: str
    heat: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The processors, how many of them were wanted in the last minute, and memory in bytes.

    None where the system does not tell.
    """

    processors: int
    load: float | None
    memory: int | None
    available: int | None


async def read_gpus() -> list[Gpu]:
    """Return what `nvidia-smi` tells of each GPU; nothing where it is not there, fails or hangs."""
    if not (program := shutil.which("nvidia-smi")):
        return []
    process = await asyncio.create_subprocess_exec(
        program,
        f"--query-gpu={ASKED}",
        "--format=csv,noheader,nounits",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            said, _ = await process.communicate()
    except TimeoutError:
        return []
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        return []
    lines = (line.split(", ") for line in said.decode("utf-8", "replace").splitlines())
    return [Gpu(*parts) for parts in lines if len(parts) == len(ASKED.split(","))]


class Gpus:
    """The GPUs as all who look at them see them: read by one at a time, for all of them."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._kept: list[Gpu] = []
        self._until = 0.0  # of the loop's clock

    async def read(self) -> list[Gpu]:
        """Return what `read_gpus` does, or did within the last seconds."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._until:
                self._kept = await read_gpus()
                self._until = loop.time() + KEPT
            return self._kept


def read_machine() -> Machine:
    """Return the state of the machine."""
    load, sizes = None, dict[str, int]()
    with suppress(OSError):
        load = os.getloadavg()[0]
    with suppress(OSError, ValueError):
        for line in (PROC / "meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            sizes[name] = int(rest.split()[0]) * 1024
    return Machine(
        processors=os.cpu_count() or 1,
        load=load,
        memory=sizes.get("MemTotal"),
        available=sizes.get("MemAvailable"),
    )


def memory_of(pid: int | None) -> int | None:
    """Return the bytes of memory that a process of this machine uses; None where it is not told."""
    if pid is not None:
        with suppress(OSError, ValueError, IndexError):
            pages = int((PROC / str(pid) / "statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE")
    return None
