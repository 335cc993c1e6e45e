"""The engine's loop: one thread that owns a pipeline, obeys commands and ticks.

torch is imported in that thread, so that nothing else waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from engine.errors import EngineError, MarbleError
from engine.events import Ended, Key, Report
from engine.executors.config import EngineConfig
from engine.spec import Spec

if TYPE_CHECKING:
    from engine.pipeline.pipeline import Pipeline

log = logging.getLogger(__name__)

# After such an error every later call fails, too; only a new process helps.
WRECKED: Final = "CUDA error"


class Loop:
    """Take commands from any thread, and give reports from the one that calls `run`."""

    def __init__(
        self,
        config: EngineConfig,
        report: Callable[[Report], None],
        count: Callable[[dict[str, int]], None],
        opened: Callable[[], None],
        wrecked: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._report = report
        self._count = count
        self._opened = opened  # called when there is a pipeline to take jobs, or none can be made
        self._wrecked = wrecked  # called when the device takes no more work from this process
        self._commands: SimpleQueue[Spec | Key | None] = SimpleQueue()
        self._inbox: list[Spec | Key] = []
        self._at_work: set[Key] = set()  # admitted, and not yet ended
        self._pipeline: Pipeline | None = None

    def admit(self, spec: Spec) -> None:
        """Let a job join at the next tick."""
        self._commands.put(spec)

    def cancel(self, key: Key) -> None:
        """Take a job out before the next tick."""
        self._commands.put(key)

    def close(self) -> None:
        """End `run` before the next tick, whatever is at work."""
        self._commands.put(None)

    def run(self) -> None:
        """Work until closed. An error of the engine ends the jobs at work, never the loop."""
        try:
            self._pipeline = self._open()
        except Exception as error:
            log.exception("the engine cannot be made")  # the next job tries again, and is told
            self._look_for_wreckage(error)  # only another process can try again
        self._opened()
        while self._take_commands():
            try:
                self._tick()
            except Exception as error:
                self._end_all(error)
        self._let_go()

    def _take_commands(self) -> bool:
        """Take the commands that are there, or wait for one if idle; return False at the end."""
        try:
            while (command := self._commands.get(block=not self._at_work)) is not None:
                if isinstance(command, Spec):
                    self._at_work.add(Key(command.job, command.epoch))
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
                self._at_work.discard(report.key)
                self._count(pipeline.counts)
                self._look_for_wreckage(report.news.error)
            self._report(report)

    def _open(self) -> Pipeline:
        module, _, name = self._config.factory.partition(":")
        pipeline: Pipeline = getattr(import_module(module), name)(self._config)
        return pipeline

    def _end_all(self, error: Exception) -> None:
        """Say to all jobs at work what ended them, and begin anew with the next."""
        if not isinstance(error, MarbleError):
            log.error("the engine failed", exc_info=error)
            self._look_for_wreckage(error)
            error = EngineError(error)
        self._let_go()
        for key in sorted(self._at_work):
            self._report(Report(key, Ended(error)))
        self._at_work.clear()

    def _look_for_wreckage(self, error: Exception | None) -> None:
        if WRECKED in str(error):
            self._wrecked()

    def _let_go(self) -> None:
        self._inbox.clear()
        if self._pipeline:
            self._pipeline.close()
        self._pipeline = None
