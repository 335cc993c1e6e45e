"""The audit log: each entry is written in the transaction of the change it records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from storage.database.tables import audit


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry of the audit log: who did what, to whom or what, where, and details."""

    by: str
    act: str
    target: str | None = None
    place: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def note(connection: Connection, entry: AuditEntry, at: datetime) -> None:
    """Write an entry in the transaction of its change: both are kept, or neither."""
    connection.execute(insert(audit), {"at": at, **asdict(entry)})


def on_job(act: str, *, by: str, job: int, person: str, place: str) -> AuditEntry:
    """Return the entry for an act on somebody else's job."""
    return AuditEntry(by=by, act=act, target=person, place=place, detail={"job": job})
