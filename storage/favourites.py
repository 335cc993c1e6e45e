"""Favourites: pictures that people keep, and that pruning leaves alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, delete, exists, select, tuple_

from storage.clock import Clock
from storage.database import Database
from storage.errors import UnknownPicture
from storage.people import add_if_new, greet
from storage.records import Favourite
from storage.rows import jobs_by_id
from storage.tables import favourites, people, pictures

PAGE: Final = 20


@dataclass(frozen=True, slots=True)
class Favourites:
    """Add, remove and list favourites."""

    database: Database
    now: Clock

    async def add(self, person: str, job: int, picture: int) -> bool:
        """Keep picture `picture` (from 0) of a job; False if it was kept already.

        Raises `UnknownPicture`.
        """

        def unit(connection: Connection) -> bool:
            known = and_(pictures.c.job == job, pictures.c.index == picture)
            if not connection.scalar(select(exists().where(known))):
                raise UnknownPicture(f"{job}.{picture + 1}")
            greet(connection, people, person, self.now())
            values = {"person": person, "job": job, "picture": picture, "created_at": self.now()}
            return add_if_new(connection, favourites, values)

        return await self.database.write(unit)

    async def remove(self, person: str, job: int, picture: int) -> bool:
        """Keep a picture no longer; False if it was not kept."""
        query = delete(favourites).where(
            favourites.c.person == person, favourites.c.job == job, favourites.c.picture == picture
        )
        return await self.database.write(lambda c: c.execute(query).rowcount > 0)

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
            owners = jobs_by_id(connection, [row.job for row in rows])
            return tuple(
                Favourite(job=owners[row.job], picture=picture, kept_at=row.created_at)
                for row in rows
                if row.job in owners
                for picture in owners[row.job].pictures
                if picture.index == row.picture
            )

        return await self.database.read(unit)
