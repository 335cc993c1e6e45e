"""The engine's loop: one thread that owns a pipeline, takes commands and calls its tick.

torch is imported in that thread, so that no other thread waits for the import.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pkgutil import resolve_name
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from engine.errors import EngineError, MarbleError, UserError, first_line
from engine.events import About, Ended, Key, Report
from engine.executors.config import AUTO, EngineConfig
from engine.spec import Spec

if TYPE_CHECKING:
    from engine.pipeline.pipeline import Pipeline

log = logging.getLogger(__name__)

CUDA_ERROR: Final = "CUDA error"  # after one every later call fails in this process, too


class Loop:
    """Takes commands from any thread; `run` reports in its own.

    opened: called when the pipeline takes jobs, or none can be made; device_lost: called when the
    device no longer works in this process; beside: called with the machine's further devices, where
    `auto` is wanted, before any is used: the first one may be broken.
    """

    def __init__(
        self,
        config: EngineConfig,
        report: Callable[[Report], None],
        opened: Callable[[], None],
        device_lost: Callable[[], None] = lambda: None,
        beside: Callable[[Sequence[str]], None] = lambda names: None,
    ) -> None:
        self._config = config
        self._report = report
        self._opened = opened
        self._device_lost = device_lost
        self._beside = beside
        self._commands: SimpleQueue[Spec | Key | None] = SimpleQueue()
        self._inbox: list[Spec | Key] = []
        self._running: set[Key] = set()  # admitted, and not yet ended
        self._pipeline: Pipeline | None = None
        self.counts: Mapping[str, int] = {}  # `Pipeline.counts` at the end of the latest job
        self.held: Sequence[str] = ()  # `Pipeline.held` then
        self.about: About | None = None  # None until a pipeline could be made
        self.fault = ""  # why none can be made

    def admit(self, spec: Spec) -> None:
        """Start a job at the next tick."""
        self._commands.put(spec)

    def cancel(self, key: Key) -> None:
        """Cancel a job before the next tick."""
        self._commands.put(key)

    def close(self) -> None:
        """End `run` before the next tick."""
        self._commands.put(None)

    def run(self) -> None:
        """Tick until closed. An error of the engine ends its jobs, not the loop."""
        try:
            self._pipeline = self._open()
        except Exception as error:
            # The next job tries again. A setting that is wrong is no fault of the code's.
            trace = None if isinstance(error, UserError) else error
            log.error("the engine could not be started: %s", first_line(error), exc_info=trace)
            self.fault = first_line(error)
            self._check_device(error)
        self._opened()
        while self._take_commands():
            try:
                self._tick()
            except Exception as error:
                self._end_all(error)
        self._close_pipeline()

    def _take_commands(self) -> bool:
        """Collect the commands, waiting for one if no job runs; return False when closed."""
        try:
            while (command := self._commands.get(block=not self._running)) is not None:
                if isinstance(command, Spec):
                    self._running.add(Key(command.job, command.epoch))
                self._inbox.append(command)
        except Empty:
            return True
        return False

    def _tick(self) -> None:
        pipeline = self._pipeline = self._pipeline or self._open()
        for command in self._inbox:
            if isinstance(command, Spec):
                pipeline.admit(command)
            else:
                pipeline.cancel(command)
        self._inbox.clear()
        for report in pipeline.tick():
            if isinstance(report.news, Ended):
                self._running.discard(report.key)
                self.counts, self.held = pipeline.counts, pipeline.held
                self._check_device(report.news.error)
            self._report(report)

    def _open(self) -> Pipeline:
        if self._config.device == AUTO:
            self._beside(resolve_name(self._config.devices)())
        pipeline: Pipeline = resolve_name(self._config.factory)(self._config)
        self.about, self.fault = pipeline.about, ""
        return pipeline

    def _end_all(self, error: Exception) -> None:
        """End all jobs with an error; the next job gets a new pipeline."""
        if not isinstance(error, MarbleError):
            log.error("the engine failed", exc_info=error)
            self._check_device(error)
            error = EngineError(error)
        self._close_pipeline()
        for key in sorted(self._running):
            self._report(Report(key, Ended(error)))
        self._running.clear()

    def _check_device(self, error: Exception | None) -> None:
        if CUDA_ERROR in str(error):
            self._device_lost()

    def _close_pipeline(self) -> None:
        self._inbox.clear()
        if self._pipeline:
            self._pipeline.close()
        self._pipeline = None
