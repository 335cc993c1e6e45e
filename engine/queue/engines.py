"""One engine as the queue sees it: what it tells, what was placed on it, when it will be done."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Final

from engine.queue.meter import Meter

IDLE: Final = float("-inf")  # when an engine without jobs is done

Files = frozenset[str] | None  # what an engine has; None: everything
Entry = tuple[float, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an engine tells about itself (`engine.executors:Health` says what each means).

    starting: it takes no jobs yet, is expected to, and its kind is not known before.
    """

    slots: int
    alive: bool = True
    kind: str = ""
    held: tuple[str, ...] | None = None  # None: it does not tell
    has: Files = None
    starting: bool = False


@dataclass(slots=True, eq=False)
class Engine:
    """An engine: what it told, and what was placed on it."""

    name: str
    facts: Facts
    meter: Meter = field(default_factory=Meter)
    # job → its models, its estimated seconds with loading
    running: dict[int, tuple[tuple[str, ...], float]] = field(default_factory=dict)
    held: dict[str, None] = field(default_factory=dict)  # the least recently used first
    room: int | None = None  # models that it has held at once; None: unknown
    busy_until: float = IDLE  # as estimated
    alone: bool = False  # its job must have it to itself
    removed: bool = False  # it goes when its last job has ended
    number: int = -1  # of its class: alive engines of one kind with the same files

    @property
    def entry(self) -> Entry:
        """Return what orders engines: when it is done, how much it holds, its name."""
        return self.busy_until, len(self.held), self.name

    @property
    def free(self) -> bool:
        """Whether it takes another job."""
        return self.facts.alive and not self.alone and len(self.running) < self.facts.slots

    def backlog(self, now: float) -> float:
        """Return the seconds of what is at work; what is late is expected to be as late again."""
        return abs(self.busy_until - now) if self.running else 0.0

    def copy(self) -> Engine:
        """Return an independent copy."""
        # Plain, since a thousand are copied at once: `replace` and `copy` take five times as long.
        return Engine(
            self.name,
            self.facts,
            meter=self.meter.copy(),
            running=dict(self.running),
            held=dict(self.held),
            room=self.room,
            busy_until=self.busy_until,
            alone=self.alone,
            removed=self.removed,
            number=self.number,
        )

    def hold(self, model: str) -> None:
        """Count a model as used last, and as loaded in place of another where there is no room."""
        self.held.pop(model, None)
        self.held[model] = None
        while self.room is not None and len(self.held) > max(1, self.room):
            del self.held[next(iter(self.held))]

    def drawing(self, models: Collection[str]) -> tuple[tuple[bool, ...], list[str]]:
        """Return for each model, used in this order, whether it is loaded, and which others go."""
        twin = replace(self, held=dict(self.held))
        loads = []
        for model in models:
            loads.append(model not in twin.held)
            twin.hold(model)
        return tuple(loads), [model for model in self.held if model not in twin.held]

    def missing(self, models: Collection[str]) -> list[str]:
        """Return which of a job's models, used in this order, have to be loaded."""
        if len(models) == 1:
            return [model for model in models if model not in self.held]
        loads, _ = self.drawing(models)
        return [model for model, loaded in zip(models, loads, strict=True) if loaded]
