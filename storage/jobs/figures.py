"""Figures of the last day: pictures an hour, waits, errors, and who spent how much.

They stay fast over any number of jobs. Numbers of jobs rise with the time, so that the first one of
a day is found by its number, and nothing before it is read. No more than the latest `MOST` are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, cast, extract, func, select

from engine.sentences import Sentence
from storage.clock import Clock
from storage.database.database import Database
from storage.database.tables import jobs, pictures
from storage.jobs.quota import SPARED
from storage.records import Day, Hour, Spender
from storage.states import Status

HOURS: Final = 24
DAY: Final = timedelta(hours=HOURS)
LONGEST: Final = 2 * DAY  # from asking until the end: what took longer is not counted
MOST: Final = 50_000  # jobs that are looked at
ERRORS: Final = 8
SPENDERS: Final = 10
HOUR: Final = 3600
DRAWN: Final = (Status.RENDERED.value, Status.DELIVERED.value)


@dataclass(frozen=True, slots=True)
class Figures:
    """Count what was drawn lately."""

    database: Database
    now: Clock

    async def day(self) -> Day:
        """Return the figures of the last 24 hours, by the hour in which each job ended."""
        now = self.now()
        return await self.database.read(lambda c: _day(c, now))


def _day(connection: Connection, now: datetime) -> Day:
    newest = connection.scalar(select(func.max(jobs.c.id))) or 0
    first = _first_since(connection, now - LONGEST, newest)
    lately = jobs.c.id >= max(first, newest - MOST + 1)
    last = now.replace(minute=0, second=0, microsecond=0)
    hours = [last - timedelta(hours=back) for back in reversed(range(HOURS))]
    ended = and_(lately, jobs.c.finished_at >= hours[0])
    counts = _counts(connection, ended)
    drawn = _pictures(connection, ended)
    waits = _waits(connection, ended)
    return Day(
        hours=tuple(
            Hour(
                at=at,
                pictures=drawn.get(at, 0),
                jobs=sum(counts.get((at, status), 0) for status in DRAWN),
                failed=counts.get((at, Status.FAILED.value), 0),
                cancelled=counts.get((at, Status.CANCELLED.value), 0),
                half_within=waits.get(at, (None, None))[0],
                most_within=waits.get(at, (None, None))[1],
            )
            for at in hours
        ),
        errors=_errors(connection, ended),
        spenders=_spenders(connection, lately, now - DAY, hours),
        cut=newest - first + 1 > MOST,
    )


def _first_since(connection: Connection, since: datetime, newest: int) -> int:
    """Return the number of the first job asked for since a time; one above the newest for none."""
    low, high = 1, newest + 1
    while low < high:
        middle = (low + high) // 2
        # Numbers of deleted jobs are missing: the next one there is decides.
        next_one = select(jobs.c.created_at).where(jobs.c.id >= middle).order_by(jobs.c.id).limit(1)
        created = connection.scalar(next_one)
        if created is None or created >= since:
            high = middle
        else:
            low = middle + 1
    return low


def _seconds(column: ColumnElement[Any]) -> ColumnElement[int]:
    return cast(extract("epoch", column), BigInteger)


_ENDED: Final = _seconds(jobs.c.finished_at)
_HOUR: Final = (_ENDED - _ENDED % HOUR).label("hour")
_ASKED: Final = _seconds(jobs.c.created_at)
_HOUR_ASKED: Final = (_ASKED - _ASKED % HOUR).label("hour")
_WAIT: Final = (_ENDED - _seconds(jobs.c.created_at)).label("wait")


def _at(hour: int) -> datetime:
    return datetime.fromtimestamp(hour, UTC)


def _counts(connection: Connection, ended: ColumnElement[bool]) -> dict[tuple[datetime, str], int]:
    query = select(_HOUR, jobs.c.status, func.count()).where(ended)
    rows = connection.execute(query.group_by(_HOUR, jobs.c.status))
    return {(_at(hour), status): count for hour, status, count in rows}


def _pictures(connection: Connection, ended: ColumnElement[bool]) -> dict[datetime, int]:
    joined = select(_HOUR, func.count()).join(pictures, pictures.c.job == jobs.c.id)
    rows = connection.execute(joined.where(ended).group_by(_HOUR))
    return {_at(hour): count for hour, count in rows}


def _waits(
    connection: Connection, ended: ColumnElement[bool]
) -> dict[datetime, tuple[float, float]]:
    """Return in how many seconds half of each hour's jobs were drawn, and 19 of 20."""
    drawn = select(_HOUR, _WAIT).where(ended, jobs.c.status.in_(DRAWN)).subquery()
    by_hour: Any = {"partition_by": drawn.c.hour}
    ranked = select(
        drawn.c.hour,
        drawn.c.wait,
        func.row_number().over(**by_hour, order_by=drawn.c.wait).label("rank"),
        func.count().over(**by_hour).label("count"),
    ).subquery()
    half, most = (ranked.c.count + 1) / 2, (ranked.c.count * 19 + 19) / 20
    query = select(
        ranked.c.hour,
        func.max(ranked.c.wait).filter(ranked.c.rank <= half),
        func.max(ranked.c.wait).filter(ranked.c.rank <= most),
    ).group_by(ranked.c.hour)
    return {_at(hour): (first, second) for hour, first, second in connection.execute(query)}


def _errors(connection: Connection, ended: ColumnElement[bool]) -> tuple[tuple[str, int], ...]:
    """Return the most frequent errors and how often each occurred."""
    count = func.count()
    query = select(func.max(jobs.c.id), count).where(ended, jobs.c.status == Status.FAILED.value)
    rows = connection.execute(
        query.group_by(jobs.c.error).order_by(count.desc(), func.max(jobs.c.id).desc())
    ).fetchmany(ERRORS)
    numbers = [number for number, _ in rows]
    said = select(jobs.c.id, jobs.c.error, jobs.c.told).where(jobs.c.id.in_(numbers))
    texts = {row.id: _error(row.error, row.told) for row in connection.execute(said)}
    return tuple((texts[number], count) for number, count in rows)


def _error(text: str | None, told: Mapping[str, Any] | None) -> str:
    return Sentence.read(text or "", told) if told else text or ""


def _spenders(
    connection: Connection,
    lately: ColumnElement[bool],
    since: datetime,
    hours: Sequence[datetime],
) -> tuple[Spender, ...]:
    """Return who spent most since a time, as `storage.jobs.quota` counts it."""
    spent = func.sum(jobs.c.cost)
    counted = and_(
        lately,
        jobs.c.created_at > since,
        jobs.c.status.not_in(SPARED),
        jobs.c.cost.is_not(None),
    )
    query = select(jobs.c.person, func.count(), spent).where(counted).group_by(jobs.c.person)
    most = query.order_by(spent.desc(), jobs.c.person).limit(SPENDERS)
    rows = connection.execute(most).all()
    theirs = counted, jobs.c.person.in_([person for person, _, _ in rows])
    by_hour = select(jobs.c.person, _HOUR_ASKED, spent).where(*theirs)
    found = defaultdict[str, Counter[datetime]](Counter)
    for person, hour, part in connection.execute(by_hour.group_by(jobs.c.person, _HOUR_ASKED)):
        # The day began within the hour before the first one.
        found[person][max(_at(hour), hours[0])] += int(part)
    return tuple(
        Spender(
            person=person,
            jobs=count,
            spent=int(total),
            hours=tuple(accumulate(found[person][hour] for hour in hours)),
        )
        for person, count, total in rows
    )
