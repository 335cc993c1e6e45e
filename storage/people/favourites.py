"""Favourites: pictures that people marked; pruning keeps them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, delete, exists, func, select, tuple_

from storage.clock import Clock
from storage.database.database import Database
from storage.database.tables import favourites, people, pictures, seen_events
from storage.errors import UnknownPicture
from storage.jobs.rows import add_if_new, jobs_by_id
from storage.records import Favourite

PAGE: Final = 20


@dataclass(frozen=True, slots=True)
class Favourites:
    """Add, remove and list favourites."""

    database: Database
    now: Clock

    async def add(self, person: str, job: int, *meant: int) -> bool:
        """Keep pictures (numbered from 0) of a job; False if all of them were kept already.

        Raises `UnknownPicture`; none is then kept.
        """
        return await self.database.write(lambda c: self._add(c, person, job, meant))

    async def remove(self, person: str, job: int, *meant: int) -> bool:
        """Keep pictures of a job (none named: all) no longer; False if none of them was kept."""
        return await self.database.write(lambda c: _remove(c, person, job, meant))

    async def toggle(self, person: str, job: int, *meant: int, event: str | None = None) -> bool:
        """Keep pictures, or none of them any longer where all are; return whether they are now.

        event: what asked for it, for which it is done once. Raises `UnknownPicture`; nothing is
        then changed.
        """

        def unit(connection: Connection) -> bool:
            seen = {"id": event, "person": person, "created_at": self.now()}
            if event is not None and not add_if_new(connection, seen_events, seen):
                return _are_kept(connection, person, job, meant)
            added = self._add(connection, person, job, meant)
            return added or not _remove(connection, person, job, meant)

        return await self.database.write(unit)

    def _add(self, connection: Connection, person: str, job: int, meant: Iterable[int]) -> bool:
        add_if_new(connection, people, {"id": person, "created_at": self.now()})
        added = False
        for picture in meant:
            known = and_(pictures.c.job == job, pictures.c.index == picture)
            if not connection.scalar(select(exists().where(known))):
                raise UnknownPicture(f"{job}.{picture + 1}")
            values = {"person": person, "job": job, "picture": picture, "created_at": self.now()}
            added |= add_if_new(connection, favourites, values)
        return added

    async def among(self, person: str, jobs: Collection[int]) -> frozenset[tuple[int, int]]:
        """Return which pictures of some jobs are somebody's favourites: job and index of each."""
        query = select(favourites.c.job, favourites.c.picture).where(
            favourites.c.person == person, favourites.c.job.in_(jobs)
        )
        found = await self.database.read(lambda c: c.execute(query).all())
        return frozenset((row.job, row.picture) for row in found)

    async def page(
        self, person: str, *, before: tuple[int, int] | None = None, limit: int = PAGE
    ) -> tuple[Favourite, ...]:
        """Return somebody's favourites, the newest picture first.

        Go on with `before`, the job and index of the last one's picture.
        """
        key = (favourites.c.job, favourites.c.picture)
        query = select(favourites).where(favourites.c.person == person)
        query = query.order_by(*(column.desc() for column in key)).limit(limit)
        if before is not None:
            query = query.where(tuple_(*key) < tuple_(*before))

        def unit(connection: Connection) -> tuple[Favourite, ...]:
            rows = connection.execute(query).all()
            found = jobs_by_id(connection, [row.job for row in rows])
            return tuple(
                Favourite(job=found[row.job], picture=picture)
                for row in rows
                if row.job in found
                for picture in found[row.job].pictures
                if picture.index == row.picture
            )

        return await self.database.read(unit)


def _are_kept(connection: Connection, person: str, job: int, meant: Sequence[int]) -> bool:
    query = select(func.count()).where(
        favourites.c.person == person,
        favourites.c.job == job,
        favourites.c.picture.in_(meant),
    )
    return connection.scalar(query) == len(set(meant))


def _remove(connection: Connection, person: str, job: int, meant: Iterable[int]) -> bool:
    query = delete(favourites).where(favourites.c.person == person, favourites.c.job == job)
    if chosen := tuple(meant):
        query = query.where(favourites.c.picture.in_(chosen))
    return connection.execute(query).rowcount > 0
