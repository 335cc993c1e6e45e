"""Encode → denoise → decode for all jobs at work: the tick.

    pipeline.admit(spec)
    while pipeline.busy:
        for report in pipeline.tick():
            ...

One thread owns a pipeline; nothing in it waits but for the device and, when all else is done, a
moment for a PNG.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from engine.denoise.denoising import Denoising
from engine.device.out_of_memory import Ladder
from engine.errors import Cancelled, EngineError, MarbleError, OutOfMemory
from engine.events import Ended, Event, Key, Progress, Report, Stage
from engine.files.stored import PictureFolder, PictureStore
from engine.finish.enlarge import Enlarger
from engine.loading.model import Model
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pictures.control_images import read_control_images
from engine.pictures.start_image import read_start_image
from engine.pipeline.batching import Batch, Batching, Wheel
from engine.pipeline.finish import Judge, Reveal, unjudged
from engine.pipeline.job import Enlarge, Running, key_of, start
from engine.pipeline.previews import Pace
from engine.pipeline.residency import Models, One
from engine.pipeline.resident import Resident
from engine.recipe.recipe import Recipe
from engine.spec import Spec

log = logging.getLogger(__name__)

Exc = TypeVar("Exc", bound=BaseException)


class Pipeline:
    """Bring any number of jobs on together, one call of the U-Net a tick."""

    def __init__(
        self,
        models: Models | Model,
        batching: Batching = Batching.EXACT,
        *,
        blobs: PictureStore | None = None,
        enlarger: Enlarge | None = None,
        ladder: Ladder | None = None,
        static: bool = False,
        judge: Judge = unjudged,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = One(models) if isinstance(models, Model) else models
        self._blobs = blobs or PictureFolder(None)
        self._wheel: Wheel[Denoising] = Wheel(batching, static=static)
        self._pace = Pace(clock)
        self._counts: Counter[str] = Counter()
        self._ladder = ladder or Ladder()
        self._enlarge = enlarger or Enlarger(
            ModelFiles(None, ModelKind.UPSCALER), torch.device("cpu"), self._ladder
        )
        self._reveal = Reveal(judge)
        self._waiting: deque[Spec] = deque()
        self._cancels: deque[Key] = deque()
        self._running: dict[Key, Running] = {}
        self._loading: Key | None = None  # who waits for its model
        self._runs = 0  # of `run`, which tell its jobs apart

    @property
    def busy(self) -> bool:
        """Say whether a tick would do anything."""
        return bool(self._waiting or self._running)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many ticks there were, their rows and padding, and what memory ran out for."""
        return {**self._counts, **{str(rung): n for rung, n in self._ladder.counts.items()}}

    def admit(self, spec: Spec) -> None:
        """Let a job join at the next tick."""
        self._waiting.append(spec)

    def cancel(self, key: Key) -> None:
        """Take a job out at the next tick; one that is not here is none of its business."""
        self._cancels.append(key)

    def close(self) -> None:
        """Let go of the thread that writes PNGs."""
        self._reveal.close()

    @torch.inference_mode()
    def tick(self) -> Iterator[Report]:
        """Take jobs in, bring one batch a call further, decode one picture; tell what happens.

        It must be exhausted. Each job's reports end with one `Ended`.
        """
        yield from self._drop_cancelled()
        yield from self._take_in()
        yield from self._denoise()
        yield from self._decode()
        yield from self._hand_over()

    def run(
        self, recipe: Recipe, *, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Event]:
        """Yield one job's events, with nothing else at work; raise what it ended with.

        It is cancelled once `stopped()`, asked before every tick, says so.
        """
        self._runs += 1
        spec = Spec(job=0, epoch=self._runs, recipe=recipe)
        self.admit(spec)
        try:
            while self.busy:
                if stopped():
                    self.cancel(key_of(spec))
                for report in self.tick():
                    if not isinstance(report.news, Ended):
                        yield report.news
                    elif report.news.error:
                        raise report.news.error
        finally:
            self._forget(key_of(spec))

    def _drop_cancelled(self) -> Iterator[Report]:
        while self._cancels:
            key = self._cancels.popleft()
            known = key in self._running or any(key_of(spec) == key for spec in self._waiting)
            if known:
                yield self._end(key, Cancelled())

    def _take_in(self) -> Iterator[Report]:
        # In order: a job whose model finds no room holds the later ones, and so gets it in time.
        while self._waiting:
            spec = self._waiting[0]
            try:
                resident = yield from self._load(spec)
                if resident is None:
                    return
                yield from self._begin(spec, resident)
            except Exception as error:
                yield self._end(key_of(spec), error)

    def _load(self, spec: Spec) -> Generator[Report, None, Resident | None]:
        name = spec.recipe.checkpoint
        if resident := self._models.get(name):
            return resident
        if self._loading != key_of(spec):
            self._loading = key_of(spec)
            yield Report(key_of(spec), Progress(stage=Stage.LOAD, step=0, total=1))
        return self._models.load(name)

    def _begin(self, spec: Spec, resident: Resident) -> Iterator[Report]:
        key = key_of(spec)
        yield Report(key, Progress(stage=Stage.ENCODE, step=0, total=1))
        resident.users += 1  # before it starts: room that is made for it is not made of its model
        try:
            running = self._start(spec, resident)
        except BaseException:
            resident.users -= 1
            raise
        self._waiting.popleft()
        self._running[key] = running
        yield Report(key, running.progress())
        if running.at_rest:  # nothing is denoised: a start image is enlarged
            self._reveal.add(running)

    def _start(self, spec: Spec, resident: Resident) -> Running:
        others = [other.account for other in self._running.values()]
        canvas, hints = (
            read_start_image(spec.recipe, self._blobs),
            read_control_images(spec.recipe, self._blobs),
        )
        open_account = partial(self._wheel.open, others=others)
        return start(spec, resident, canvas, hints, self._enlarge, open_account, self._pace.now())

    def _denoise(self) -> Iterator[Report]:
        everyone = [turn for running in self._running.values() for turn in running.turns]
        turns = [turn for turn in everyone if turn.picture.request]
        if not turns or self._reveal.full:
            return
        batch = self._wheel.choose(turns)
        by_account = {running.account: running for running in self._running.values()}
        owners = [by_account[turn.account] for turn in batch.turns]
        resident = owners[0].resident
        self._count(batch)
        answers = resident.evaluate([turn.picture for turn in batch.turns], batch.rows)
        failed: dict[Key, Exception] = {}
        for turn, owner, answer in zip(batch.turns, owners, answers, strict=True):
            error = _advance(turn.picture, answer)
            if error and failed.setdefault(owner.key, error) is not error:
                _bare(error)  # its sibling's is told
        for key, error in failed.items():
            yield self._end(key, error)
        self._narrow(resident)
        for running in dict.fromkeys(owners):
            if running.key not in failed:
                yield from self._tell(running)

    def _narrow(self, resident: Resident) -> None:
        """Give calls of their own to pictures of a form that has no room for more."""
        for running in self._running.values():
            if running.resident is resident:
                for turn in running.turns:
                    if resident.costs.is_cramped(turn.picture):
                        turn.buckets = turn.buckets.single(turn.rows)

    def _count(self, batch: Batch[Denoising]) -> None:
        used = sum(turn.rows for turn in batch.turns)
        self._counts["ticks"] += 1
        self._counts["rows"] += used
        self._counts["padding"] += batch.rows - used

    def _tell(self, running: Running) -> Iterator[Report]:
        if running.step > running.told:
            running.told = running.step
            yield Report(running.key, running.progress(self._pace.preview(running)))
        if running.at_rest:
            self._reveal.add(running)

    def _decode(self) -> Iterator[Report]:
        if (waiting := self._reveal.next) is None:
            return
        running, progress = waiting
        yield Report(running.key, progress)
        try:
            self._reveal.decode_next()
        except Exception as error:
            yield self._end(running.key, error)

    def _hand_over(self) -> Iterator[Report]:
        for running, png in self._reveal.collect(wait=self._idle):
            if error := png.exception():
                yield self._end(running.key, error)
                continue
            yield Report(running.key, png.result())
            running.missing -= 1
            if not running.missing:
                yield self._end(running.key)

    @property
    def _idle(self) -> bool:
        """Say whether the device has nothing to do but wait for PNGs."""
        if self._reveal.next:
            return False
        done = all(running.at_rest for running in self._running.values())
        return done or self._reveal.full

    def _end(self, key: Key, error: BaseException | None = None) -> Report:
        self._forget(key)
        self._counts["out of memory"] += isinstance(error, OutOfMemory)
        if error is None:
            return Report(key, Ended())
        if not isinstance(error, MarbleError):
            log.error("job %d failed", key.job, exc_info=error)
            _bare(error)
            error = EngineError(f"{type(error).__name__}: {error}")
        return Report(key, Ended(_bare(error)))

    def _forget(self, key: Key) -> None:
        self._waiting = deque(spec for spec in self._waiting if key_of(spec) != key)
        if running := self._running.pop(key, None):
            running.resident.users -= 1
            self._reveal.drop(running)


def _advance(picture: Denoising, answer: Tensor | Exception) -> Exception | None:
    """Give a picture what it asked for; return what keeps it from going on."""
    if isinstance(answer, Exception):
        return answer
    try:
        picture.advance(answer)
    except Exception as error:
        return error
    return None


def _bare(error: Exc) -> Exc:
    """Take from an error the frames that it came through: whoever keeps it would keep a model.

    So would the frames themselves, of which one holds the error.
    """
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
