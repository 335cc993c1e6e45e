"""The last stage's line: finished latents wait to be decoded, pixels to become PNGs.

Decoding is the device's work and is done here one picture a call, between two calls of the U-Net.
Large PNGs are a processor's work (0.4 s at 1024²), done in a thread meanwhile. Both lines are
short: when they are full, denoising waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from functools import partial
from typing import Final

from engine.decode import Pixels
from engine.denoise import Denoising
from engine.events import Picture
from engine.metadata import encode_png
from engine.recipe import Recipe
from engine.running import Running

LINE: Final = 16  # pictures between denoising and the end
MOMENT: Final = 0.02  # seconds
SMALL: Final = 256 * 256  # pixels; such a PNG is written sooner than a thread hands it over


class Reveal:
    """Turn finished latents into pictures, in the order in which they came."""

    def __init__(self) -> None:
        self._latents: deque[tuple[Running, Denoising]] = deque()
        self._pngs: deque[tuple[Running, Future[Picture]]] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="marble-png")

    @property
    def full(self) -> bool:
        """Say whether denoising has to wait."""
        return len(self._latents) + len(self._pngs) >= LINE

    @property
    def next(self) -> tuple[Running, int] | None:
        """Return whose picture is decoded next, and which."""
        return (self._latents[0][0], self._latents[0][1].picture) if self._latents else None

    def add(self, running: Running) -> None:
        """Take in a job whose pictures are all denoised."""
        self._latents += [(running, turn.picture) for turn in running.turns]

    def drop(self, running: Running) -> None:
        """Forget a job."""
        self._latents = deque(entry for entry in self._latents if entry[0] is not running)
        self._pngs = deque(entry for entry in self._pngs if entry[0] is not running)

    def decode_next(self) -> None:
        """Decode the next picture, or raise what keeps it from being decoded."""
        running, picture = self._latents[0]
        pixels = running.resident.decode(picture.latents)
        self._latents.popleft()
        work = partial(_finish, pixels, running.recipe, picture.picture)
        self._pngs.append(
            (running, _at_once(work) if _is_small(pixels) else self._thread.submit(work))
        )

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


def _finish(pixels: Pixels, recipe: Recipe, index: int) -> Picture:
    height, width, _ = pixels.shape
    return Picture(index=index, width=width, height=height, png=encode_png(pixels, recipe, index))
