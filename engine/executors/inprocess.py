"""Run recipes in a thread of this process: simple, and what the terminal uses.

torch is imported in that thread on the first recipe, so that nothing else waits for it.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Final

from engine.checkpoints import Catalogue
from engine.events import Event, Progress, Stage
from engine.executors import Spec
from engine.recipe import Recipe

if TYPE_CHECKING:
    from engine.pipeline import Pipeline

_END: Final = object()


class InProcessExecutor:
    """Own one thread and the model that was used last; run one recipe at a time.

    Leave it with `async with`: the thread ends once the recipe that it works on has stopped.
    """

    def __init__(self, catalogue: Catalogue, device: str = "auto") -> None:
        self._catalogue = catalogue
        self._device = device
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="marble-engine")
        self._pipeline: Pipeline | None = None
        self._stops: dict[tuple[int, int], threading.Event] = {}

    @property
    def slots(self) -> int:
        """Return how many jobs may run at once: the thread knows one."""
        return 1

    async def __aenter__(self) -> "InProcessExecutor":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        """Yield a job's events as they happen, as `Executor.run` promises."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | object] = asyncio.Queue()
        stop = self._stops[spec.job, spec.epoch] = threading.Event()

        def work() -> None:
            try:
                for event in self._events(spec.recipe, stop):
                    loop.call_soon_threadsafe(events.put_nowait, event)
            finally:
                loop.call_soon_threadsafe(events.put_nowait, _END)

        working = loop.run_in_executor(self._thread, work)
        try:
            while (event := await events.get()) is not _END:
                assert isinstance(event, Event)
                yield event
            await working
        finally:
            stop.set()
            del self._stops[spec.job, spec.epoch]
            # Left early, the thread ends with `Cancelled`, which by then is news to nobody.
            working.add_done_callback(lambda done: done.cancelled() or done.exception())

    def cancel(self, job: int, epoch: int) -> None:
        """Ask for a running job to stop before its next call of the U-Net."""
        if stop := self._stops.get((job, epoch)):
            stop.set()

    def _events(self, recipe: Recipe, stop: threading.Event) -> Iterator[Event]:
        if self._pipeline is None or self._pipeline.model.checkpoint.name != recipe.checkpoint:
            yield Progress(stage=Stage.LOAD, step=0, total=1)
            self._pipeline = None  # the old model's memory goes before the new one's is taken
            self._pipeline = self._load(recipe.checkpoint)
        yield from self._pipeline.run(recipe, stopped=stop.is_set)

    def _load(self, name: str) -> "Pipeline":
        checkpoint = self._catalogue.get(name)
        from engine.loading import load, pick_device
        from engine.pipeline import Pipeline

        return Pipeline(load(checkpoint, pick_device(self._device)))
