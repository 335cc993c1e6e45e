"""The states of a job as one table: which step leads from which status to which.

    queued ──claim──▶ running ──rendered──▶ rendered ──delivered──▶ delivered
      ▲ ◀──release──────┤ │
      └────requeue──────┘ └──failed──▶ failed
    queued, running ──cancel──▶ cancelled

Failed and cancelled jobs are answered too: their reply is delivered, their status stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from storage.errors import IllegalStep, TooLate

MAX_ATTEMPTS: Final = 3  # a job that took its worker with it so often, alone, is quarantined


class Status(StrEnum):
    """The status of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    RENDERED = "rendered"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Step(StrEnum):
    """The steps from one status to another."""

    CLAIM = "claim"  # a worker takes it
    RELEASE = "release"  # the worker gives it back in good order
    REQUEUE = "requeue"  # the worker died
    RENDERED = "rendered"  # its pictures are on disk
    FAILED = "failed"  # it cannot be drawn
    CANCEL = "cancel"  # somebody asked for it to stop
    DELIVERED = "delivered"  # its reply arrived


_Q, _R = Status.QUEUED, Status.RUNNING
TRANSITIONS: Final[Mapping[Step, Mapping[Status, Status]]] = MappingProxyType(
    {
        Step.CLAIM: {_Q: _R},
        Step.RELEASE: {_R: _Q},
        Step.REQUEUE: {_R: _Q},
        Step.RENDERED: {_R: Status.RENDERED},
        Step.FAILED: {_Q: Status.FAILED, _R: Status.FAILED},
        Step.CANCEL: {_Q: Status.CANCELLED, _R: Status.CANCELLED},
        Step.DELIVERED: {
            Status.RENDERED: Status.DELIVERED,
            Status.FAILED: Status.FAILED,
            Status.CANCELLED: Status.CANCELLED,
        },
    }
)
OVER: Final = frozenset({Status.RENDERED, Status.DELIVERED, Status.FAILED, Status.CANCELLED})


def after(job: int, status: Status, step: Step) -> Status:
    """Return the status that a step leads to.

    Raises `TooLate` for a cancel that comes after the end, else `IllegalStep`.
    """
    try:
        return TRANSITIONS[step][status]
    except KeyError:
        if step is Step.CANCEL and status in OVER:
            raise TooLate(job) from None
        raise IllegalStep(job, status, step) from None
