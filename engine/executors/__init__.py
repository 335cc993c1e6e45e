"""Where a pipeline runs: in a process of its own (`child`) or a thread (`inprocess`).

What happens when the engine's process dies is in `engine.executors.restarting`.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from engine.events import Event
from engine.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of an engine: whether it takes jobs, how often it was restarted.

    failing: its starts failed so often in a row that waiting jobs end with an error.
    pid: of its own process, if it has one. counts: since its last start (`Pipeline.counts`).
    """

    alive: bool
    restarts: int = 0
    failing: bool = False
    pid: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


class Executor(Protocol):
    """Draws up to `slots` jobs at once."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """End the engine and its processes; running jobs end as `Lost`."""

    @property
    def slots(self) -> int:
        """Return how many jobs may run at once."""

    def run(self, spec: Spec) -> AsyncGenerator[Event]:
        """Yield a job's events as they happen, one `Picture` for each of its pictures.

        Raises `Cancelled` within one step of `cancel`, `UserError` where the recipe cannot be
        drawn, `Lost` where the engine's process died (the job may be tried again), `EngineError`
        after an unexpected error. Closing the generator early cancels the job.
        """

    def cancel(self, job: int, epoch: int) -> None:
        """Cancel a job before its next call of the network; unknown jobs are ignored."""

    async def ready(self) -> None:
        """Wait until the engine takes jobs, or cannot be started; `run` then raises the error.

        Jobs are claimed only then, so that none counts an attempt for an engine that dies while it
        starts.
        """

    def health(self) -> Health:
        """Return the engine's state."""
