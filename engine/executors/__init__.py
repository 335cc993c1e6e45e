"""Where a pipeline runs: in a process of its own (`child`), a thread (`inprocess`), or on machines
of a Ray cluster (`ray`); `engine.executors.pool` makes one of several engines.

What happens when an engine dies is in `engine.executors.restarting`.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from engine.events import Event
from engine.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What an engine tells about itself: whether it takes jobs, where it is, and what it holds.

    Where there are several, jobs are placed by it; every field but `alive` may be left out by an
    engine that is alone. `Executor.slots` says how many jobs it takes.

    failing: its starts failed so often in a row that waiting jobs end with an error.
    pid: of its own process, if it has one. counts: since its last start (`Pipeline.counts`).
    device: which one it uses, unique among the engines of a pool ("cuda:0", "NODE/cuda:0").
    kind: of device ("NVIDIA H200"; empty until it has started): engines of one kind are expected
    to be equally fast and to draw the same bytes. room: as of `engine.events.About`. held: the
    models that are loaded, the least recently used first. has: what it can use, as
    `engine.models.needs:needs_of` names it; None where that is what the folder of this process
    holds. fault: why its pipeline cannot be made.
    waits: why it is not there yet, for a cause outside of it, which may pass.
    beside: further devices of its machine that could have an engine each, if it was told `auto`.
    slots: of an engine in a pool. engines: the health of each engine of a pool, by the name that
    `Spec.engine` takes.
    """

    alive: bool
    restarts: int = 0
    failing: bool = False
    pid: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    device: str = ""
    kind: str = ""
    room: Mapping[str, Any] | None = None
    held: tuple[str, ...] = ()
    has: frozenset[str] | None = None
    fault: str = ""
    waits: str = ""
    beside: tuple[str, ...] = ()
    slots: int = 0
    engines: Mapping[str, "Health"] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """Return whether it takes jobs that it can draw."""
        return self.alive and not self.fault


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
