"""Where a pipeline runs, behind one interface."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from engine.events import Event
from engine.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Say how an engine is: whether it can work, how many jobs it has, how often it died.

    failing: it ended so often before it could take a job that jobs are told that it does not start.
    counts: what it has done since its last start: ticks, their rows and padding, and each rung that
    was climbed when memory ran out (see `Pipeline.counts`).
    """

    alive: bool
    running: int
    restarts: int = 0
    failing: bool = False
    pid: int | None = None  # of a process of its own
    counts: Mapping[str, int] = field(default_factory=dict)


class Executor(Protocol):
    """Draw recipes, as many at once as there are slots, wherever that may be."""

    @property
    def slots(self) -> int:
        """Return how many jobs may run at once."""
        ...

    def run(self, spec: Spec) -> AsyncGenerator[Event]:
        """Yield a job's events as they happen, one `Picture` for each of its pictures.

        Raise `Cancelled` within one step of `cancel`, `UserError` where the recipe cannot be drawn
        and people may know why, `Lost` where the process that drew it died (the job may be tried
        again) and `EngineError` for what was not expected. Closing the generator early stops the
        work, too.
        """
        ...

    def cancel(self, job: int, epoch: int) -> None:
        """Ask for a running job to stop; one that is not running is none of its business."""
        ...


class ManagedExecutor(Executor, Protocol):
    """Add what who owns an executor does with it: begin it, watch it, end it."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def start(self) -> None:
        """Get ready before the first job; without it the first job waits."""
        ...

    async def ready(self) -> None:
        """Wait until the engine takes jobs, or is known not to, which `run` then says.

        A job is claimed only then: what ends an engine that is still being made is no job's fault.
        """
        ...

    async def drain(self, seconds: float) -> bool:
        """Wait for the jobs at work to end; return whether they did in that time."""
        ...

    async def close(self) -> None:
        """End the engine and everything that belongs to it; jobs at work end as `Lost`."""
        ...

    def health(self) -> Health:
        """Return how the engine is."""
        ...
