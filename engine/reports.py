"""What a pipeline reports of the jobs at work: their events, and how each ended.

Standard library only: reports travel between threads and processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from engine.errors import MarbleError
from engine.events import Event


class Key(NamedTuple):
    """Name one claim of a job."""

    job: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Say that a job is over: well, or with an error. Nothing follows it."""

    error: MarbleError | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Say what happened to which job."""

    key: Key
    news: Event | Ended
