"""After denoising: latents wait to be decoded, pixels to be checked and written as PNGs.

Pictures are decoded one a call, between two calls of the network. Large PNGs (0.2 s at 1024²) and
the safety check run in threads meanwhile. Both queues are short: while they are full, denoising
waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from functools import partial
from typing import Final

from torch import Tensor

from engine.decode.vae import Pixels
from engine.events import Picture, Progress, Verdict
from engine.formats.metadata import write_png
from engine.models.catalogue import Checkpoint
from engine.pipeline.job import RunningJob
from engine.pipeline.taps import Tap
from engine.recipe.recipe import Recipe

WRITERS: Final = 4  # threads: a grid's pictures are there once the slowest is
CAPACITY: Final = 16  # pictures between denoising and delivery
MOMENT: Final = 0.02  # seconds
SMALL: Final = 256 * 256  # pixels; such a PNG is written sooner than a thread hands it over

SafetyCheck = Callable[[Pixels], Verdict]


def unchecked(pixels: Pixels) -> Verdict:
    """Return `UNCHECKED`: there is no safety check."""
    return Verdict.UNCHECKED


class Finisher:
    """Turn the results of passes into pictures, first come first served."""

    def __init__(self, check_safety: SafetyCheck) -> None:
        self._check_safety = check_safety
        self._made: deque[tuple[RunningJob, int, Tensor | Pixels]] = deque()
        self._pngs: deque[tuple[RunningJob, Future[Picture]]] = deque()
        self._threads = ThreadPoolExecutor(WRITERS, thread_name_prefix="marble-png")

    @property
    def full(self) -> bool:
        """Return whether denoising has to wait."""
        return len(self._made) + len(self._pngs) >= CAPACITY

    @property
    def next(self) -> tuple[RunningJob, Progress] | None:
        """Return the job whose picture is decoded next, and its progress."""
        if not self._made:
            return None
        running, number, _ = self._made[0]
        total = len(running.recipe.pictures)
        return running, Progress(stage=running.stage, step=number, total=total)

    def add(self, running: RunningJob) -> None:
        """Add a job all of whose pictures have finished a pass."""
        self._made += [(running, number, made) for number, made in enumerate(running.results())]

    def drop(self, running: RunningJob) -> None:
        """Remove a job's pictures."""
        self._made = deque(entry for entry in self._made if entry[0] is not running)
        self._pngs = deque(entry for entry in self._pngs if entry[0] is not running)

    def decode_next(self) -> None:
        """Decode the next picture; raises `OutOfMemory`, `NotFinite` or what the job ended with."""
        running, number, made = self._made[0]
        pixels = running.finish_picture(number, made)
        self._made.popleft()
        if pixels is None:  # another pass began on it
            return
        index = running.recipe.pictures[number]
        facts = running.recipe, index, running.checkpoints
        work = partial(_finish, pixels, *facts, self._check_safety, running.tap)
        at_once = self._check_safety is unchecked and _is_small(pixels)
        self._pngs.append((running, _at_once(work) if at_once else self._threads.submit(work)))

    def collect(self, *, wait: bool) -> Iterator[tuple[RunningJob, Future[Picture]]]:
        """Yield the PNGs that are done; wait: for one of them, up to `MOMENT`.

        No longer: a new job must not wait for another's 16 megapixels.
        """
        if wait and self._pngs:
            wait_for([png for _, png in self._pngs], MOMENT, FIRST_COMPLETED)
        held: set[RunningJob] = set()  # a job's pictures come in order; other jobs' do not wait
        for entry in list(self._pngs):
            running, png = entry
            if not png.done():
                held.add(running)
            elif running not in held and entry in self._pngs:  # the caller may have dropped it
                self._pngs.remove(entry)
                yield entry

    def close(self) -> None:
        """End the threads after their current pictures."""
        self._threads.shutdown(cancel_futures=True)


def _is_small(pixels: Pixels) -> bool:
    return bool(pixels.size <= 3 * SMALL)


def _at_once(work: Callable[[], Picture]) -> Future[Picture]:
    future: Future[Picture] = Future()
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
    return future


def _finish(
    pixels: Pixels,
    recipe: Recipe,
    index: int,
    checkpoints: tuple[Checkpoint, ...],
    check_safety: SafetyCheck,
    tap: Tap,
) -> Picture:
    height, width, _ = pixels.shape
    picture = Picture(
        index=index,
        width=width,
        height=height,
        png=write_png(pixels, recipe, index, *checkpoints),
        verdict=check_safety(pixels),
    )
    return tap.finished(picture)
