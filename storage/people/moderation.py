"""Moderation: who may not ask for anything, whether the queue rests, what moderators did, and
which events were seen.

The queue's pause is no state of its own: the latest act about the queue says whether it rests, so
that every process sees the same, restarts change nothing, and the log cannot disagree.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, or_, select

from storage.clock import Clock
from storage.database.audit import AuditEntry, note, on_job
from storage.database.database import Database
from storage.database.tables import audit, bans, seen_events
from storage.jobs.place_tree import line_of
from storage.jobs.rows import add_if_new
from storage.records import EVERYWHERE, Act, Ban, Job, Line, Pause

QUEUE: Final = "queue"  # the target of the acts below
PAUSE: Final = "pause"
RESUME: Final = "resume"
PAGE: Final = 50
_COLUMNS: Final = (bans.c.person, bans.c.place, bans.c.reason, bans.c.by, bans.c.until)


def _holds() -> ColumnElement[bool]:
    return or_(bans.c.until.is_(None), bans.c.until > bindparam("now"))


_BAN: Final = (  # built once, as in `storage.jobs.rows`
    select(*_COLUMNS)
    .where(
        bans.c.person == bindparam("person"),
        bans.c.place.in_(bindparam("places", expanding=True)),
        _holds(),
    )
    .order_by(bans.c.created_at.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Moderation:
    """Ban, lift bans, and keep a record of who did so."""

    database: Database
    now: Clock

    async def ban(
        self,
        person: str,
        *,
        by: str,
        reason: str,
        place: str = EVERYWHERE,
        until: datetime | None = None,
    ) -> Ban:
        """Ban somebody from a place and all that lies in it; a newer ban replaces an older."""
        ban = Ban(person=person, place=place, reason=reason, by=by, until=until)

        def unit(connection: Connection) -> Ban:
            connection.execute(_ban_of(person, place))
            connection.execute(insert(bans), {**asdict(ban), "created_at": self.now()})
            detail = {"reason": reason, "until": until and until.isoformat()}
            act = AuditEntry(by=by, act="ban", target=person, place=place, detail=detail)
            note(connection, act, self.now())
            return ban

        return await self.database.write(unit)

    async def lift_ban(self, person: str, *, by: str, place: str = EVERYWHERE) -> bool:
        """Lift a ban; False if there was none."""

        def unit(connection: Connection) -> bool:
            found = connection.execute(_ban_of(person, place)).rowcount > 0
            if found:
                act = AuditEntry(by=by, act="lift ban", target=person, place=place)
                note(connection, act, self.now())
            return found

        return await self.database.write(unit)

    async def bans(self, limit: int = PAGE) -> tuple[Ban, ...]:
        """Return the bans that hold now, the newest first."""
        query = select(*_COLUMNS).where(_holds()).order_by(bans.c.created_at.desc()).limit(limit)
        found = await self.database.read(lambda c: c.execute(query, {"now": self.now()}).all())
        return tuple(Ban(**row._mapping) for row in found)

    async def pause(self, reason: str, *, by: str) -> None:
        """Pause the queue in every process; a newer reason replaces an older."""
        act = AuditEntry(by=by, act=PAUSE, target=QUEUE, detail={"reason": reason})
        await self.database.write(lambda c: note(c, act, self.now()))

    async def resume(self, *, by: str) -> bool:
        """Resume the queue; False if it was not paused."""

        def unit(connection: Connection) -> bool:
            found = _pause(connection) is not None
            if found:
                note(connection, AuditEntry(by=by, act=RESUME, target=QUEUE), self.now())
            return found

        return await self.database.write(unit)

    async def paused(self) -> Pause | None:
        """Return the pause of the queue, or None."""
        return await self.database.read(_pause)

    async def record_removal(self, job: Job, *, by: str) -> None:
        """Record that a message that shows a job was deleted by somebody else than its author."""
        if by != job.person:
            where = {"person": job.person, "place": job.place}
            entry = on_job("delete", by=by, job=job.id, **where)
            await self.database.write(lambda c: note(c, entry, self.now()))

    async def record_missing(self, event: str, permission: str, *, by: str, place: str) -> None:
        """Record that a permission is missing in a place, once for each event."""
        values = {"id": event, "person": by, "created_at": self.now()}
        detail = {"permission": permission}
        entry = AuditEntry(by=by, act="missing", target=place, place=place, detail=detail)

        def unit(connection: Connection) -> None:
            if add_if_new(connection, seen_events, values):
                note(connection, entry, self.now())

        await self.database.write(unit)

    async def events_of(self, person: str, prefix: str) -> list[str]:
        """Return the events of a person that begin so, as recorded and not forgotten."""
        begins = seen_events.c.id.startswith(prefix, autoescape=True)
        query = select(seen_events.c.id).where(seen_events.c.person == person, begins)
        return list(await self.database.read(lambda c: c.scalars(query).all()))

    async def forget_events(self, events: Collection[str]) -> None:
        """Forget that events were seen, so that they count anew; writes nothing for none."""
        if events:
            query = delete(seen_events).where(seen_events.c.id.in_(events))
            await self.database.write(lambda c: c.execute(query))

    async def acts(
        self,
        *,
        within: str | None = None,
        person: str | None = None,
        before: int | None = None,
        limit: int = PAGE,
    ) -> tuple[Act, ...]:
        """Return what was done, newest first; go on with `before` the last one's id.

        within: a place; what was done there, and in what lies in it by its name. person: who did
        it, or to whom it was done.
        """
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if within is not None:
            below = audit.c.place.startswith(f"{within}/", autoescape=True)
            query = query.where(or_(audit.c.place == within, below))
        if person is not None:
            query = query.where(or_(audit.c.by == person, audit.c.target == person))
        if before is not None:
            query = query.where(audit.c.id < before)
        rows = await self.database.read(lambda c: c.execute(query).all())
        return tuple(Act(**row._mapping) for row in rows)

    async def was_seen(self, event: str) -> bool:
        """Return whether an event made a job, or was recorded by `first_sight`."""
        query = select(seen_events.c.id).where(seen_events.c.id == event)
        return await self.database.read(lambda c: c.scalar(query) is not None)

    async def first_sight(self, event: str, person: str) -> bool:
        """Record an event that makes no job; False if it is known."""
        values = {"id": event, "person": person, "created_at": self.now()}
        return await self.database.write(lambda c: add_if_new(c, seen_events, values))


def _pause(connection: Connection) -> Pause | None:
    about = audit.c.target == QUEUE, audit.c.act.in_([PAUSE, RESUME])
    row = connection.execute(
        select(audit).where(*about).order_by(audit.c.id.desc()).limit(1)
    ).one_or_none()
    if row is None or row.act == RESUME:
        return None
    return Pause(reason=row.detail["reason"], by=row.by, at=row.at)


def admission(
    connection: Connection, person: str, place: str, now: datetime
) -> tuple[Ban | None, Line]:
    """Return what decides whether somebody may ask for something in a place: the ban that keeps
    them from it, or None, and the settings that apply there (`line_of`).
    """
    line = line_of(connection, place)
    which = {"person": person, "places": [level.place for level in line], "now": now}
    row = connection.execute(_BAN, which).one_or_none()
    return Ban(**row._mapping) if row else None, line


def _ban_of(person: str, place: str) -> Any:
    return delete(bans).where(bans.c.person == person, bans.c.place == place)
