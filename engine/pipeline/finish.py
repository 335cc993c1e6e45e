"""The last stage's line: what a pass made waits to be decoded, pixels to become PNGs.

Decoding is the device's work and is done here one picture a call, between two calls of the U-Net.
Large PNGs are a processor's work (0.4 s at 1024²), done in a thread meanwhile, and so is the safety
check. Both lines are short: when they are full, denoising waits.
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
from engine.pipeline.job import Running
from engine.recipe.recipe import Recipe

LINE: Final = 16  # pictures between denoising and the end
MOMENT: Final = 0.02  # seconds
SMALL: Final = 256 * 256  # pixels; such a PNG is written sooner than a thread hands it over

Judge = Callable[[Pixels], Verdict]


def unjudged(pixels: Pixels) -> Verdict:
    """Check nothing, and say so."""
    return Verdict.UNCHECKED


class Reveal:
    """Turn what passes made into pictures, in the order in which they came."""

    def __init__(self, judge: Judge = unjudged) -> None:
        self._judge = judge
        self._made: deque[tuple[Running, int, Tensor | Pixels]] = deque()
        self._pngs: deque[tuple[Running, Future[Picture]]] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="marble-png")

    @property
    def full(self) -> bool:
        """Say whether denoising has to wait."""
        return len(self._made) + len(self._pngs) >= LINE

    @property
    def next(self) -> tuple[Running, Progress] | None:
        """Return whose picture is decoded next, and what is to be told of it."""
        if not self._made:
            return None
        running, number, _ = self._made[0]
        total = len(running.recipe.pictures)
        return running, Progress(stage=running.stage, step=number, total=total)

    def add(self, running: Running) -> None:
        """Take in a job whose pass is over for all of its pictures."""
        self._made += [(running, number, made) for number, made in enumerate(running.made())]

    def drop(self, running: Running) -> None:
        """Forget a job."""
        self._made = deque(entry for entry in self._made if entry[0] is not running)
        self._pngs = deque(entry for entry in self._pngs if entry[0] is not running)

    def decode_next(self) -> None:
        """Decode the next picture, or raise what keeps it from being decoded."""
        running, number, made = self._made[0]
        pixels = running.reveal(number, made)
        self._made.popleft()
        if pixels is None:  # another pass began on it
            return
        index = running.recipe.pictures[number]
        work = partial(_finish, pixels, running.recipe, index, self._judge)
        at_once = self._judge is unjudged and _is_small(pixels)
        self._pngs.append((running, _at_once(work) if at_once else self._thread.submit(work)))

    def collect(self, *, wait: bool) -> Iterator[tuple[Running, Future[Picture]]]:
        """Hand over the PNGs that are done; with `wait`, give one a moment to be.

        Only a moment: a job that comes meanwhile must not wait for another's 16 megapixels.
        """
        if wait and self._pngs:
            wait_for([png for _, png in self._pngs], MOMENT, FIRST_COMPLETED)
        held: set[Running] = set()  # a job's pictures come in order; other jobs' do not wait
        for entry in list(self._pngs):
            running, png = entry
            if not png.done():
                held.add(running)
            elif running not in held and entry in self._pngs:  # not dropped meanwhile
                self._pngs.remove(entry)
                yield entry

    def close(self) -> None:
        """End the thread once it has finished the picture at hand."""
        self._thread.shutdown(cancel_futures=True)


def _is_small(pixels: Pixels) -> bool:
    return bool(pixels.size <= 3 * SMALL)


def _at_once(work: Callable[[], Picture]) -> Future[Picture]:
    future: Future[Picture] = Future()
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
    return future


def _finish(pixels: Pixels, recipe: Recipe, index: int, judge: Judge) -> Picture:
    height, width, _ = pixels.shape
    return Picture(
        index=index,
        width=width,
        height=height,
        png=write_png(pixels, recipe, index),
        verdict=judge(pixels),
    )
