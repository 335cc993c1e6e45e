"""The one place where a job's status changes: units of work that hold the write lock.

Every unit reads, decides by `storage.states` and writes, in one transaction that no other writer
can enter. Each is right when repeated: a step already taken is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, update

from engine.sentences import Sentence
from storage.database.tables import jobs, messages, outbox
from storage.errors import StaleEpoch, UnknownJob
from storage.jobs.rows import JOB, seek
from storage.records import platform
from storage.states import Status, Step, after

# A step that finds one of these has been taken before.
DONE: Final[Mapping[Step, frozenset[Status]]] = {
    Step.RELEASE: frozenset({Status.QUEUED}),
    Step.RENDERED: frozenset({Status.RENDERED, Status.DELIVERED}),
    Step.FAILED: frozenset({Status.FAILED}),
    Step.CANCEL: frozenset({Status.CANCELLED}),
    Step.DELIVERED: frozenset({Status.DELIVERED}),
}
ANSWERED: Final = frozenset({Step.RENDERED, Step.FAILED, Step.CANCEL})
GIVEN_BACK: Final[Mapping[str, Any]] = {"worker": None, "started_at": None}
# By how much a step raises what is counted of a job.
COUNTED: Final[Mapping[Step, Mapping[str, int]]] = {
    Step.CLAIM: {"epoch": 1, "attempts": 1},
    Step.RELEASE: {"attempts": -1},
}
# Built once, as in `storage.jobs.rows`.
_CHANGE: Final = update(jobs).where(jobs.c.id == bindparam("number")).returning(*JOB)
_ANSWER: Final = insert(outbox)
_CLOSE: Final = update(outbox).where(outbox.c.job == bindparam("number"))
_HIDE: Final = delete(messages).where(messages.c.id == bindparam("number"))
_SHOW: Final = insert(messages)


def take(
    connection: Connection,
    job: int,
    step: Step,
    now: datetime,
    *,
    epoch: int | None = None,
    values: Mapping[str, Any] | None = None,
) -> tuple[Row[Any], bool]:
    """Take a step; return the job's row as it is now, and whether anything changed.

    An outcome puts the job's reply into the outbox. Raises `UnknownJob`, `StaleEpoch` when
    `epoch` is no longer the job's or the job is gone, `IllegalStep` or `TooLate`.
    """
    row = seek(connection, job)
    if epoch is not None and (row is None or row.epoch != epoch):
        raise StaleEpoch(job, epoch, None if row is None else row.epoch)
    if row is None:
        raise UnknownJob(job)
    status = Status(row.status)
    if status in DONE.get(step, ()):
        return row, False
    target = after(job, status, step)
    changed = {"status": target.value, **(values or {})}
    if step in ANSWERED:
        changed |= {"finished_at": now, "worker": None}
        _reply(connection, row, target, now)
    changed |= {name: getattr(row, name) + by for name, by in COUNTED.get(step, {}).items()}
    return connection.execute(_CHANGE, {"number": job, **changed}).one(), True


def why(sentence: str) -> dict[str, Any]:
    """Return the values of a job that say why it failed."""
    told = sentence.to_dict() if isinstance(sentence, Sentence) else None
    return {"error": str(sentence), **({"told": told} if told else {})}


def show(connection: Connection, job: int, shown: Mapping[str, int | None], now: datetime) -> None:
    """Remember the messages that show a job, and which picture if only one."""
    for message, picture in shown.items():
        connection.execute(_HIDE, {"number": message})
        values = {"id": message, "job": job, "picture": picture, "created_at": now}
        connection.execute(_SHOW, values)


def close_reply(connection: Connection, job: int, now: datetime) -> None:
    """Record that a job's reply arrived."""
    closed = {"closed_at": now, "delivered": True, "sending": False, "sender": None}
    connection.execute(_CLOSE, {"number": job, **closed})


def _reply(connection: Connection, job: Row[Any], outcome: Status, now: datetime) -> None:
    values = {
        "job": job.id,
        "adapter": platform(job.place),
        "outcome": outcome.value,
        "way": 0,
        "tries": 0,
        "sending": False,
        "due_at": now,
        "created_at": now,
        "delivered": False,
    }
    connection.execute(_ANSWER, values)
