"""Tasks, limits and forecasts: what the queue takes and returns. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from engine.queue.estimates import Work

Cap = tuple[str, int]  # a group that a job counts in, and how many of it may run
Caps = tuple[Cap, ...]


class Priority(IntEnum):
    """Which jobs go first: those that an owner put ahead, then moderators'."""

    AHEAD = 0
    MODERATOR = 1
    PERSON = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A job as the queue sees it; of two, the one with the lower number was requested first.

    caps: for a person in a place, and for a place; alone: nothing may run beside it on its engine;
    needs: files that its engine must have; kind: of device, which it gets as long as one is there.
    """

    job: int
    person: str
    work: Work
    priority: Priority = Priority.PERSON
    caps: Caps = ()
    alone: bool = False
    needs: frozenset[str] = frozenset()
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many jobs a person may have running and waiting, and how many may wait in total."""

    running: int = 4
    waiting: int = 20
    length: int = 1000


@dataclass(frozen=True, slots=True)
class Forecast:
    """A job's queue position, from 1 (0: it runs), and when its pictures are expected.

    ends_at: seconds; None where a job before it is of a model that was never measured.
    """

    job: int
    position: int
    ends_at: float | None
