"""What differs between devices: CUDA (and ROCm), Apple's Metal (MPS), and the processor.

MPS (https://docs.pytorch.org/docs/stable/mps.html) knows no fp64. Like CUDA it works while the
program goes on: to measure time, wait for it first. Its memory is the machine's, of which it
recommends a share to each program.
"""

import os
import platform
import sys
from collections.abc import Iterator
from functools import cache
from itertools import cycle
from typing import Any, Final

import torch

from engine.errors import DeviceFault, first_line
from engine.sentences import Sentence, fill

CUDA: Final = "cuda"
MPS: Final = "mps"
PIECE: Final = 2**25  # bytes of pinned memory that are copied at a time
UNKNOWN: Final = 8 * 2**30  # bytes of memory where the system does not say
# bf16 and fp16 are unusable on most CPUs; fp16 halves what Apple's share of the memory holds.
PRECISIONS: Final = {"cpu": torch.float32, CUDA: torch.float16, MPS: torch.float16}
# Messages of allocators without an error class of their own: the processor's, and Metal's two.
OUT_OF_MEMORY: Final = ("can't allocate memory", "MPS backend out of memory", "Invalid buffer size")


def pick_device(wanted: str = "auto") -> torch.device:
    """Return the device by name; `auto` takes CUDA (or ROCm), then Apple's, then the CPU.

    `cpu:0`, `cpu:1` and so on are the one CPU, for several engines that divide its threads.
    """
    if wanted.startswith("cpu"):
        return torch.device("cpu")
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device(next((kind for kind, there in available_kinds().items() if there), "cpu"))


def find_device(wanted: str = "auto") -> torch.device:
    """Return the device by name, as `pick_device` does; raises `DeviceFault` if it is not there."""
    device = pick_device(wanted)
    cores = os.cpu_count() or 1
    if device.type == "cpu" and int(wanted.partition(":")[2] or 0) >= cores:
        raise DeviceFault(Sentence("no_such_processor", device=wanted, n=cores, last=cores - 1))
    if not available_kinds().get(device.type, True):
        said = Sentence("no_device_of_kind", version=torch.__version__, kind=device.type)
        raise DeviceFault(said)
    if device.type == CUDA and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceFault(Sentence("no_such_device", device=str(device)))
    return device


def try_device(wanted: str) -> torch.device:
    """Return the device by name after a calculation on it; raises `DeviceFault`."""
    device = find_device(wanted)
    try:
        square = torch.ones((64, 64), device=device)
        worked = float((square @ square)[0, 0]) == 64
    except (RuntimeError, AssertionError) as error:
        raise DeviceFault(f"{device} does not work: {first_line(error)}.") from error
    if not worked:
        raise DeviceFault(f"{device} computes wrongly: 64 ones do not make 64.")
    return device


def devices_beside() -> tuple[str, ...]:
    """Return the names of the devices beside the one that `auto` takes; none of them is used."""
    if pick_device().type != CUDA:
        return ()
    return tuple(f"{CUDA}:{index}" for index in range(1, torch.cuda.device_count()))


def available_kinds() -> dict[str, bool]:
    """Return which kinds of devices beside the processor are there, the best first."""
    return {CUDA: torch.cuda.is_available(), MPS: torch.backends.mps.is_available()}


def precision(device: torch.device) -> torch.dtype:
    """Return the dtype in which networks and text encoders work there if none is measured."""
    return PRECISIONS.get(device.type, torch.float32)


def widest_float(device: torch.device) -> torch.dtype:
    """Return the widest floating-point dtype that a device supports."""
    return torch.float32 if device.type == MPS else torch.float64


def holds_fp8(device: torch.device) -> bool:
    """Return whether a device can hold fp8 and cast it; none needs to compute in it."""
    return device.type != MPS


def layout(device: torch.device) -> torch.memory_format:
    """Return how weights of convolutions lie there.

    With channels last a U-Net's call takes half as long on a processor. On MPS several versions of
    torch compute wrongly with it.
    """
    return torch.contiguous_format if device.type == MPS else torch.channels_last


def wait(device: torch.device) -> None:
    """Wait until a device has done all work that was queued."""
    if device.type == CUDA:
        torch.cuda.synchronize(device)
    elif device.type == MPS:
        torch.mps.synchronize()


def copy_beside(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor of main memory to a device beside what it computes; `wait` before use.

    What was freed there must have been waited for, too.
    """
    return _staging_buffer(device).copy(tensor) if device.type == CUDA else tensor.to(device)


class _StagingBuffer:
    """Copy tensors to a device by two pieces of pinned memory, which are used again and again.

    Only pinned memory is copied while the program goes on, and what torch pins for a tensor it
    never gives back.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.inference_mode(False):
            pieces = [_pinned(PIECE) for _ in range(2)]
        # Each with what tells that it has been copied to the device.
        self._pieces: Iterator[tuple[torch.Tensor, Any]] = cycle(
            [(piece, torch.cuda.Event()) for piece in pieces]  # type: ignore[no-untyped-call]
        )

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy that lies as the tensor does; all but its last pieces are there."""
        order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
        source = tensor.permute(order)
        values = source.reshape(-1)
        with torch.cuda.stream(self._stream):
            made = torch.empty(values.shape, dtype=tensor.dtype, device=self._device)
            each = PIECE // tensor.element_size()
            for part, into in zip(torch.split(values, each), torch.split(made, each), strict=True):
                piece, copied = next(self._pieces)
                copied.synchronize()
                staged = piece.view(tensor.dtype)[: len(part)].copy_(part)
                into.copy_(staged, non_blocking=True)
                copied.record(self._stream)
        back = sorted(range(tensor.ndim), key=order.__getitem__)
        return made.view(source.shape).permute(back)


_staging_buffer = cache(_StagingBuffer)


def _pinned(size: int) -> torch.Tensor:
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


def empty_cache() -> None:
    """Return unused memory to the devices."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def memory(device: torch.device) -> int:
    """Return how many bytes of memory a program has there; 8 GiB where the system does not say."""
    if device.type == CUDA:
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == MPS:
        return int(torch.mps.recommended_max_memory())
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return UNKNOWN


def most_memory(device: torch.device) -> int:
    """Return the most bytes that were in use until now; 0 where the system does not say."""
    if device.type == CUDA:
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    import resource  # of Unix alone

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def name(device: torch.device) -> str:
    """Return a device's name for people."""
    if device.type == CUDA:
        return torch.cuda.get_device_name(device)
    if device.type == MPS:
        return f"Apple Metal, macOS {platform.mac_ver()[0]}"
    cores = fill("{n} {n:core|cores}", n=os.cpu_count())
    return f"{device.type}, {cores}" if device.type == "cpu" else device.type


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that memory ran out."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(text in str(error) for text in OUT_OF_MEMORY)
