"""Measure this device: the costs of the network's calls by rows, and the fastest dtype.

What was measured decides the last bits of pictures: the rows of every call in exact mode follow
from it. So it is measured once for each device, software, kind of model and size, and remembered
in a small file of the data folder. While that file stays, a seed gives the same bytes; when it is
deleted, or the device or torch changes, the next start measures anew.
"""

import json
import logging
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

from engine.device.backends import CUDA, empty_cache, is_out_of_memory, name, precision, wait
from engine.device.call_costs import GAIN, LARGEST, Buckets
from engine.device.figures import NAME
from engine.files.atomic import alone_in, read_object, replace_text
from engine.sentences import fill

log = logging.getLogger(__name__)

ROUNDS: Final = 5  # of each figure the least is taken: others on the machine only ever add
FEW: Final = 2  # rounds where a call is slow: such calls hardly differ
SLOW: Final = 1.0  # seconds; a processor that works so long at one row gains nothing by more
DTYPES: Final = (torch.float16, torch.bfloat16, torch.float32)
PREFERENCE: Final = 1.1  # a later dtype has to be faster than fp16 by this much

# How calls are measured; what was measured otherwise is measured anew. What version 1 measured,
# which bears no number, was taken with the first job's own rows, two where one was meant.
VERSION: Final = 2

T = TypeVar("T")
Clock = Callable[[], float]  # seconds
Call = Callable[[int], object]  # do the work of a call of so many rows
# It pauses before each call, so that what the call needs can be brought to the device unmeasured.
Measuring = Generator[None, None, Buckets]


class Measurements:
    """Measurements, kept in a file or, without a folder, in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / NAME if folder else None
        self._notes: dict[str, Any] = {}
        self._saved = True

    def recall(self, key: str, measure: Callable[[], Any]) -> Any:
        """Return the measurement stored under a key, or measure and store it."""
        if self.find(key) is None:
            self._notes[key] = measure()
            self._saved = False
        if not self._saved:
            self._save()
        return self._notes[key]

    def find(self, key: str) -> Any:
        """Return the measurement stored under a key, None where there is none."""
        if key not in self._notes:
            self._notes = self._read()
        return self._notes.get(key)

    def _save(self) -> None:
        """Write all measurements to the file; a disk without room is tried again at each recall."""
        if self._file:
            try:
                with alone_in(self._file.parent):
                    # What another process wrote meanwhile stands: the engines of all devices of a
                    # kind use the same figures, so that each draws the same bytes.
                    self._notes = self._read()
                    replace_text(self._file, json.dumps(self._notes, indent=1, sort_keys=True))
            except OSError as error:
                log.warning("measurements cannot be saved (%s)", error.strerror)
                return
        self._saved = True

    def _read(self) -> dict[str, Any]:
        return {**self._notes, **(read_object(self._file) if self._file else {})}


class Probe:
    """Measure calls, once for each device, software, form of model and size.

    `kind` names what else changes what a call costs.
    """

    def __init__(self, notes: Measurements, clock: Clock | None = None, kind: str = "") -> None:
        self._notes = notes
        self._kind = kind
        self._clock = clock

    def buckets(
        self,
        device: torch.device,
        what: str,
        call: Call,
        before: str = "",
        estimate: float | None = None,
    ) -> Measuring:
        """Return calls' stored costs; `what` names the model's form, dtype and size.

        before: what earlier versions called it, if otherwise: what they stored stands; estimate: of
        a large network, the seconds of a row in one thread. A processor, which would take minutes
        for a call and gain nothing by more rows, makes none then, and nothing is stored.

        A processor works in one thread for this, and is asked for that thread's own seconds: they
        hardly depend on what else runs on the machine, and the figures decide bits for good.
        """
        start = [f"calls {VERSION}", software(device), self._kind]
        key, earlier = (" | ".join(filter(None, [*start, each])) for each in (what, before))
        seconds = before and self._notes.find(earlier)
        if not seconds:
            measured: dict[str, float] = {}
            if self._notes.find(key) is None:
                if estimate and device.type == "cpu":
                    return Buckets({1: estimate})
                clock = time.thread_time if device.type == "cpu" else time.perf_counter
                found = yield from self._measure(device, _in_one_thread(device, call), clock)
                measured = {str(rows): cost for rows, cost in found.items()}
            seconds = self._notes.recall(key, lambda: measured)
        return Buckets({int(rows): cost for rows, cost in seconds.items()})

    def buckets_now(
        self,
        device: torch.device,
        what: str,
        call: Call,
        before: str = "",
        estimate: float | None = None,
    ) -> Measuring:
        """Return what calls cost as the device is used now, for throughput mode: no bit hangs on
        it, and it is not remembered.
        """
        if estimate and device.type == "cpu":
            return Buckets({1: estimate})
        return Buckets((yield from self._measure(device, call, time.perf_counter)))

    def dtype(self, device: torch.device) -> torch.dtype:
        """Return the dtype that CUDA multiplies fastest in; any other device's usual one."""
        if device.type != CUDA:
            return precision(device)
        best = self._notes.recall(f"dtype | {software(device)}", lambda: self._fastest(device))
        return {str(dtype): dtype for dtype in DTYPES}[best]

    def _measure(
        self, device: torch.device, call: Call, clock: Clock
    ) -> Generator[None, None, dict[int, float]]:
        """Double the rows for as long as it gains something, and memory lasts."""
        clock = self._clock or clock
        one = partial(call, 1)
        yield
        first = _time(device, clock, one)
        if first > SLOW and device.type == "cpu":
            return {1: first}
        yield
        warm = _time(device, clock, one)
        rounds = FEW if min(first, warm) > SLOW else ROUNDS
        seconds = {1: (yield from _least(device, clock, one, rounds))}
        rows = 2
        while rows <= LARGEST:
            cost = yield from _if_it_fits(device, clock, partial(call, rows), rounds)
            if not cost:
                break
            seconds[rows] = cost
            if cost >= GAIN * seconds[rows // 2]:
                break
            rows *= 2
        return seconds

    def _fastest(self, device: torch.device) -> str:
        seconds = {}
        for dtype in DTYPES:
            square = torch.ones((2048, 2048), device=device, dtype=dtype)
            work = partial(torch.matmul, square, square)
            clock = self._clock or time.perf_counter
            seconds[dtype] = finished(_least_warm(device, clock, work, ROUNDS))
        best = min(seconds, key=lambda d: seconds[d] * (1 if d is torch.float16 else PREFERENCE))
        return str(best)


def software(device: torch.device) -> str:
    """Name a device and the software that runs on it."""
    return f"{kind_of(device)} | torch {torch.__version__}"


def kind_of(device: torch.device) -> str:
    """Name the kind of a device: those of one kind are equally fast."""
    if device.type == "cpu":
        return fill("cpu, {n} {n:thread|threads}", n=torch.get_num_threads())
    return name(device)


def finished(measuring: Generator[None, None, T]) -> T:
    """Return what is measured, without a pause."""
    while True:
        try:
            next(measuring)
        except StopIteration as end:
            found: T = end.value
            return found


def _if_it_fits(
    device: torch.device, clock: Clock, work: Callable[[], object], rounds: int
) -> Generator[None, None, float | None]:
    try:
        return (yield from _least_warm(device, clock, work, rounds))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    empty_cache()
    return None


def _least_warm(
    device: torch.device, clock: Clock, work: Callable[[], object], rounds: int
) -> Generator[None, None, float]:
    yield
    _time(device, clock, work)  # the first call of a size chooses kernels
    return (yield from _least(device, clock, work, rounds))


def _least(
    device: torch.device, clock: Clock, work: Callable[[], object], rounds: int
) -> Generator[None, None, float]:
    seconds = []
    for _ in range(rounds):
        yield
        seconds.append(_time(device, clock, work))
    return min(seconds)


def _time(device: torch.device, clock: Clock, work: Callable[[], object]) -> float:
    wait(device)
    begun = clock()
    work()
    wait(device)
    return clock() - begun


def _in_one_thread(device: torch.device, call: Call) -> Call:
    """Return a call that runs on one thread of a processor, whose time is told from others'."""

    def alone(rows: int) -> None:
        threads = torch.get_num_threads()
        if device.type == "cpu":
            torch.set_num_threads(1)
        try:
            call(rows)
        finally:
            torch.set_num_threads(threads)

    return alone
