"""The log of what moderators and operators did: each entry is written with what it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from storage.database.tables import audit


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Hold one entry of the log: who did what, to whom or what, where, and its particulars."""

    by: str
    act: str
    target: str | None = None
    place: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def note(connection: Connection, entry: Entry, at: datetime) -> None:
    """Write an entry in the transaction of what it tells of: both are kept, or neither."""
    values = {
        "at": at,
        "by": entry.by,
        "act": entry.act,
        "target": entry.target,
        "place": entry.place,
        "detail": dict(entry.detail),
    }
    connection.execute(insert(audit), values)


def on_job(act: str, *, by: str, job: int, person: str, place: str) -> Entry:
    """Return the entry for what somebody did to another's job."""
    return Entry(by=by, act=act, target=person, place=place, detail={"job": job})
