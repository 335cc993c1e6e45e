"""The tick: text-encode, denoise and decode for all running jobs.

    pipeline.admit(spec)
    while pipeline.busy:
        for report in pipeline.tick():
            ...

One thread owns a pipeline. It waits for the device only and, when nothing else is left to do, a
few milliseconds for a PNG.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Final, TypeVar

import torch
from torch import Tensor

from engine.denoise.denoising import Denoising
from engine.device.out_of_memory import Ladder
from engine.errors import Cancelled, EngineError, MarbleError, OutOfMemory
from engine.events import About, Ended, Key, Progress, Report, Stage
from engine.files.stored import PictureStore
from engine.models.second_model import check_second
from engine.pipeline.batching import Batch, Batcher, Batching
from engine.pipeline.finishing import Finisher, SafetyCheck
from engine.pipeline.job import RunningJob, Upscale, follow, key_of, start
from engine.pipeline.loaded_model import LoadedModel
from engine.pipeline.previews import Previews
from engine.pipeline.residency import Residency
from engine.pipeline.taps import UNTAPPED, OpenTap
from engine.spec import Spec

log = logging.getLogger(__name__)

PAUSE: Final = 0.001  # seconds

Exc = TypeVar("Exc", bound=BaseException)


class Pipeline:
    """Draw any number of jobs together, one call of the network a tick."""

    def __init__(
        self,
        models: Residency,
        batching: Batching,
        *,
        store: PictureStore,
        upscale: Upscale,
        ladder: Ladder,
        check_safety: SafetyCheck,
        open_tap: OpenTap,
        static: bool = False,
        clock: Callable[[], float] = time.monotonic,
        about: About | None = None,
    ) -> None:
        self.about = about or About()
        self._models = models
        self._store = store
        self._batcher: Batcher[Denoising] = Batcher(batching, static=static)
        self._clock = clock
        self._previews = Previews(clock)
        self._open_tap = open_tap
        self._counts: Counter[str] = Counter()
        self._ladder = ladder
        self._upscale = upscale
        self._finisher = Finisher(check_safety)
        self._waiting: deque[Spec] = deque()
        self._cancels: deque[Key] = deque()
        self._running: dict[Key, RunningJob] = {}
        self._between: list[RunningJob] = []  # of these, those that wait for their second models
        # Jobs and models that they wait for → since when.
        self._loading: dict[tuple[Key, str], float] = {}

    @property
    def busy(self) -> bool:
        """Return whether a tick would do anything."""
        return bool(self._waiting or self._running)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many ticks there were, their rows and padding, and what memory ran out for."""
        return {**self._counts, **{str(rung): n for rung, n in self._ladder.counts.items()}}

    @property
    def held(self) -> list[str]:
        """Return the models that are loaded, the least recently used first."""
        return self._models.held

    def admit(self, spec: Spec) -> None:
        """Start a job at the next tick."""
        self._waiting.append(spec)

    def cancel(self, key: Key) -> None:
        """End a job at the next tick; unknown jobs are ignored."""
        self._cancels.append(key)

    def close(self) -> None:
        """End the threads that write PNGs and load models."""
        self._finisher.close()
        self._models.close()

    @torch.inference_mode()
    def tick(self) -> Iterator[Report]:
        """Start jobs, call the network for one batch, decode one picture; yield what happened.

        The iterator must be exhausted. Each job's reports end with one `Ended`.
        """
        if self._models.at_work:
            time.sleep(PAUSE)  # else the loading thread would hardly ever get the lock
        yield from self._drop_cancelled()
        yield from self._start_waiting()  # stage 1: load models, encode prompts
        yield from self._measure()  # what calls cost, for pictures of new forms
        yield from self._denoise()  # stage 2: one call of the network, for one batch
        yield from self._decode()  # stage 3: one picture
        yield from self._deliver_pictures()

    def _drop_cancelled(self) -> Iterator[Report]:
        while self._cancels:
            key = self._cancels.popleft()
            if key in self._running or any(key_of(spec) == key for spec in self._waiting):
                yield self._end(key, Cancelled())

    def _start_waiting(self) -> Iterator[Report]:
        # In order, first those that wait for their second model: later jobs wait for one whose
        # model has no room yet, so that it gets room. While a model is loaded those start whose
        # models are there.
        waiting: list[RunningJob | Spec] = [*self._between, *self._waiting]
        for job in waiting:
            running = isinstance(job, RunningJob)
            key = job.key if isinstance(job, RunningJob) else key_of(job)
            name = job.recipe.models[running]
            try:
                loaded_model = yield from self._load(key, name)
                if loaded_model is None:
                    if not self._models.loading:
                        break
                elif isinstance(job, RunningJob):
                    yield from self._take_over(job, loaded_model)
                else:
                    yield from self._begin(job, loaded_model)
            except Exception as error:
                yield self._end(key, error)
        if len(self._running) == len(self._between) and (self._waiting or self._between):
            self._models.wait()

    def _load(self, key: Key, name: str) -> Generator[Report, None, LoadedModel | None]:
        if loaded_model := self._models.get(name):
            return loaded_model
        if (key, name) not in self._loading:
            self._loading[key, name] = self._clock()
            yield Report(key, Progress(stage=Stage.LOAD, step=0, total=1))
        return self._models.load(name)

    def _take_over(self, running: RunningJob, loaded_model: LoadedModel) -> Iterator[Report]:
        yield Report(running.key, Progress(stage=Stage.ENCODE, step=0, total=1))
        self._between.remove(running)
        running.tap.spent(Stage.LOAD, self._loaded_in(running.key, running.recipe.models[1]))
        with running.tap.timed(Stage.ENCODE):
            running.take_over(loaded_model)
        yield Report(running.key, running.progress())

    def _begin(self, spec: Spec, loaded_model: LoadedModel) -> Iterator[Report]:
        key = key_of(spec)
        if spec.recipe.refiner and spec.recipe.is_denoised:
            second = self._models.check(spec.recipe.refiner)
            check_second(spec.recipe, loaded_model.model.checkpoint, second)
        yield Report(key, Progress(stage=Stage.ENCODE, step=0, total=1))
        open_account = partial(
            self._batcher.open, others=[other.account for other in self._running.values()]
        )
        tap = self._open_tap() if spec.making_of else UNTAPPED
        tap.spent(Stage.LOAD, self._loaded_in(key, spec.recipe.checkpoint))
        loaded_model.users += 1  # first: its model must not be evicted to make room for its parts
        try:
            with tap.timed(Stage.ENCODE):
                running = start(
                    *(spec, loaded_model, self._store, self._upscale, open_account),
                    *(self._previews.now(), tap),
                )
        except BaseException:
            loaded_model.users -= 1
            raise
        self._waiting.remove(spec)
        self._running[key] = running
        yield Report(key, running.progress())
        if running.at_rest:  # only a start image is upscaled
            self._finisher.add(running)

    def _loaded_in(self, key: Key, name: str) -> float:
        """Return the seconds for which a job waited for a model."""
        since = self._loading.get((key, name))
        return 0.0 if since is None else self._clock() - since

    def _measure(self) -> Iterator[Report]:
        # What is measured is kept: not while it would be disturbed. Of large networks a call a tick
        # is enough, as others wait for theirs.
        calls = not self._models.at_work
        for running in list(self._running.values()):
            try:
                calls &= running.measure(calls=calls)
            except Exception as error:
                yield self._end(running.key, error)

    def _denoise(self) -> Iterator[Report]:
        members = [member for running in self._running.values() for member in running.ready]
        if not members or self._finisher.full:
            return
        batch = self._batcher.choose(members)
        by_account = {running.account: running for running in self._running.values()}
        jobs = [by_account[member.account] for member in batch.members]
        loaded_model = jobs[0].loaded_model
        self._count(batch)
        with jobs[0].tap.timed(Stage.DENOISE):  # one that is looked at has calls of its own
            pictures = [member.picture for member in batch.members]
            answers = loaded_model.evaluate(pictures, batch.rows)
        failed: dict[Key, Exception] = {}
        for member, job, answer in zip(batch.members, jobs, answers, strict=True):
            error = _advance(job, member.picture, answer)
            follow(member, loaded_model)
            if error and failed.setdefault(job.key, error) is not error:
                _without_frames(error)  # only the first error of a job is reported
        for key, error in failed.items():
            yield self._end(key, error)
        self._limit_batches(loaded_model)
        for running in dict.fromkeys(jobs):
            if running.key not in failed:
                yield from self._report(running)

    def _limit_batches(self, loaded_model: LoadedModel) -> None:
        """Limit pictures to calls of their own where memory has no room for larger ones."""
        for running in self._running.values():
            if running.held is loaded_model:
                for member in running.members:
                    if loaded_model.costs.is_limited(member.picture):
                        member.buckets = member.buckets.single(member.rows)

    def _count(self, batch: Batch[Denoising]) -> None:
        used = sum(member.rows for member in batch.members)
        self._counts["ticks"] += 1
        self._counts["rows"] += used
        self._counts["padding"] += batch.rows - used

    def _report(self, running: RunningJob) -> Iterator[Report]:
        if running.step > running.last_reported_step:
            running.last_reported_step = running.step
            yield Report(running.key, running.progress(self._previews.preview(running)))
        if running.is_taken_over:
            running.release()
            self._between.append(running)
        elif running.at_rest:
            self._finisher.add(running)

    def _decode(self) -> Iterator[Report]:
        if (waiting := self._finisher.next) is None:
            return
        running, progress = waiting
        yield Report(running.key, progress)
        try:
            self._finisher.decode_next()
        except Exception as error:
            yield self._end(running.key, error)

    def _deliver_pictures(self) -> Iterator[Report]:
        for running, png in self._finisher.collect(wait=self._idle):
            if error := png.exception():
                yield self._end(running.key, error)
                continue
            yield Report(running.key, png.result())
            running.pictures_left -= 1
            if not running.pictures_left:
                yield self._end(running.key)

    @property
    def _idle(self) -> bool:
        """Return whether only PNGs are still awaited."""
        if self._finisher.next:
            return False
        done = all(running.at_rest for running in self._running.values())
        return done or self._finisher.full

    def _end(self, key: Key, error: BaseException | None = None) -> Report:
        self._forget(key)
        self._counts["out of memory"] += isinstance(error, OutOfMemory)
        if error is None:
            return Report(key, Ended())
        if not isinstance(error, MarbleError):
            log.error("job %d failed", key.job, exc_info=error)
            _without_frames(error)
            error = EngineError(f"{type(error).__name__}: {error}")
        return Report(key, Ended(_without_frames(error)))

    def _forget(self, key: Key) -> None:
        self._waiting = deque(spec for spec in self._waiting if key_of(spec) != key)
        self._loading = {each: at for each, at in self._loading.items() if each[0] != key}
        if running := self._running.pop(key, None):
            running.leave()
            self._between = [each for each in self._between if each is not running]
            self._finisher.drop(running)


def _advance(
    running: RunningJob, picture: Denoising, answer: Tensor | Exception
) -> Exception | None:
    """Send a picture its prediction; return the error that ends it, if any."""
    if isinstance(answer, Exception):
        return answer
    try:
        picture.advance(answer)
        running.tap.stepped(picture)
    except Exception as error:
        return error
    return None


def _without_frames(error: Exc) -> Exc:
    """Remove an error's traceback and causes: their frames would keep a model in memory.

    One of the frames holds the error itself, a circle.
    """
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
