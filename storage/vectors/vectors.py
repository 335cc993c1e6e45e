"""Vectors of pictures: which are there, and which are nearest to another one.

The database holds them in fp16 and decides. A search over everybody's scans a file of small rows in
the data folder first (`scan.py`), which is made from the database and follows it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, and_, func, select, tuple_

from engine.files import private
from storage.database.database import OUTCOME, Database
from storage.database.faults import explain
from storage.database.tables import jobs, pictures, vectors
from storage.jobs.rows import add_if_new, jobs_by_id, to_picture
from storage.liveness.locks import FileLock
from storage.records import Alike, Picture, Tower
from storage.vectors.scan import ScanFile, unfinished

Floats = NDArray[np.float32]

STORED: Final = "<f2"  # of a vector's numbers in the database
PAGE: Final = 4_096  # vectors that are read at once
JOBS: Final = 1_000  # of a person, whose vectors are read at once
IDS: Final = 100_000  # numbers that are read at once
CANDIDATES: Final = 400  # rows of a scan that are scored anew by their vectors
MOST: Final = 6_400  # … where more are needed to be sure that none is missed
NARROW: Final = 128  # numbers in a vector up to which that is done
SLACK: Final = 2e-3  # more than the length of a vector in fp16 differs from 1
OVERLAP: Final = 100  # numbers before the last one that a file may lack
RETRY: Final = 0.05  # seconds between tries to lock the file


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVector:
    """A picture's vector, and its cosine with the picture's prompt where that is known."""

    job: int
    picture: int
    vector: Floats = field(repr=False)
    match: float | None = None


@dataclass(frozen=True, slots=True)
class Vectors:
    """Keep and search the vectors of pictures; those of different models never meet."""

    database: Database
    folder: Path  # of the files that are scanned
    _files: dict[Tower, ScanFile] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # of what uses the files

    async def lacking(
        self,
        tower: Tower,
        *,
        before: tuple[int, int] | None = None,
        latest: int | None = None,
        limit: int = PAGE,
    ) -> tuple[Picture, ...]:
        """Return pictures without a vector, the newest first.

        before: a job and an index; go on with the last one's. latest: look only at so many.
        """
        key = (pictures.c.job, pictures.c.index)
        newest = select(pictures).order_by(pictures.c.job.desc(), pictures.c.index.desc())
        if before:
            newest = newest.where(tuple_(*key) < before)
        some = newest.limit(latest).subquery() if latest else pictures
        own = and_(vectors.c.job == some.c.job, vectors.c.picture == some.c.index, _of(tower))
        query = (
            (select(some) if latest else newest)
            .select_from(some.outerjoin(vectors, own))
            .where(vectors.c.id.is_(None))
            .order_by(None)
            .order_by(some.c.job.desc(), some.c.index.desc())
            .limit(limit)
        )
        return await self.database.read(lambda c: tuple(map(to_picture, c.execute(query))))

    async def count(self, tower: Tower) -> tuple[int, int]:
        """Return how many pictures have a vector, and how many there are."""
        have = select(func.count()).where(_of(tower))
        drawn = select(func.count()).select_from(pictures)
        return await self.database.read(lambda c: (c.scalar(have) or 0, c.scalar(drawn) or 0))

    async def add(self, tower: Tower, new: Sequence[NewVector]) -> int:
        """Store vectors of pictures that are still there; return how many were new."""

        def unit(connection: Connection) -> int:
            keys = [(each.job, each.picture) for each in new]
            wanted = select(pictures.c.job, pictures.c.index).where(
                tuple_(pictures.c.job, pictures.c.index).in_(keys)
            )
            # On a server others may delete them meanwhile; SQLite has one writer.
            held = wanted.with_for_update(read=True)
            there = {(job, index) for job, index in connection.execute(held)}
            return sum(
                add_if_new(connection, vectors, _row(tower, each))
                for each in new
                if (each.job, each.picture) in there
            )

        return await self.database.write(unit, OUTCOME)

    async def of(self, tower: Tower, job: int, index: int) -> Floats | None:
        """Return a picture's vector, None where there is none by this model."""
        query = select(vectors.c.vector).where(
            vectors.c.job == job, vectors.c.picture == index, _of(tower)
        )
        found = await self.database.read(lambda c: c.scalar(query))
        return None if found is None else _floats(found)

    async def matches(self, job: int) -> dict[int, float]:
        """Return how well a job's pictures match their prompt, by index, where it is known.

        A picture's latest vector counts; where there is none, what decided the job's order.
        """
        ordered = select(pictures.c.index, pictures.c.match).where(
            pictures.c.job == job, pictures.c.match.is_not(None)
        )
        latest = select(vectors.c.picture, vectors.c.match).where(
            vectors.c.job == job, vectors.c.match.is_not(None)
        )

        def unit(connection: Connection) -> dict[int, float]:
            rows = connection.execute(latest.order_by(vectors.c.id)).all()
            return {index: match for index, match in (*connection.execute(ordered), *rows)}

        return await self.database.read(unit)

    async def nearest_of(
        self, tower: Tower, person: str, question: Floats, limit: int
    ) -> tuple[Alike, ...]:
        """Return the pictures that a person asked for and that are nearest, best first; exact.

        Those of making-ofs are copies and left out.
        """
        own = select(jobs.c.id).where(jobs.c.person == person, ~jobs.c.making_of)
        asked = own.order_by(jobs.c.id).limit(JOBS)
        query = select(vectors.c.job, vectors.c.picture, vectors.c.vector).where(
            # An expression, or SQLite would rather walk through all vectors of the model.
            vectors.c.model + "" == tower.name,
            vectors.c.width + 0 == tower.width,
        )

        def unit(connection: Connection) -> tuple[Alike, ...]:
            best: list[tuple[float, int, int]] = []
            numbers = connection.scalars(asked).all()
            while numbers:
                rows = connection.execute(query.where(vectors.c.job.in_(numbers))).all()
                best = sorted([*best, *_scored(rows, question, limit)], reverse=True)[:limit]
                numbers = connection.scalars(asked.where(jobs.c.id > numbers[-1])).all()
            return _alike(connection, best)

        return await self.database.read(unit)

    async def nearest(self, tower: Tower, question: Floats, limit: int) -> tuple[Alike, ...]:
        """Return the nearest of all pictures but those of making-ofs, the best first.

        They are the nearest for certain where vectors have at most `NARROW` numbers. Raises a
        `DatabaseFault`, also where the file cannot be written.
        """
        count = max(limit, CANDIDATES)
        asked = question / np.linalg.norm(question)
        while True:
            async with self._turn:
                file = await self._followed(tower)
                ids, bound = await asyncio.to_thread(file.best, asked, count)
            last, found = await self._scored_anew(tower, ids.tolist(), asked, limit)
            if tower.width > NARROW or count >= MOST or last >= bound + SLACK or bound == -np.inf:
                return found
            count *= 4

    async def _scored_anew(
        self, tower: Tower, ids: list[int], question: Floats, limit: int
    ) -> tuple[float, tuple[Alike, ...]]:
        """Return the last cosine, −∞ where there are fewer than the limit, and the best first."""
        query = (
            select(vectors.c.job, vectors.c.picture, vectors.c.vector)
            .join(jobs, jobs.c.id == vectors.c.job)
            .where(vectors.c.id.in_(ids), _of(tower), ~jobs.c.making_of)
        )

        def unit(connection: Connection) -> tuple[float, tuple[Alike, ...]]:
            scored = _scored(connection.execute(query).all(), question, limit)
            last = min(scored)[0] if len(scored) == limit else -np.inf
            return last, _alike(connection, sorted(scored, reverse=True))

        return await self.database.read(unit)

    async def prune(self) -> None:
        """Take out of the files what is in the database no more.

        Raises a `DatabaseFault`, also where a file cannot be changed.
        """
        if not (files := await self._kept()):
            return
        kinds = select(vectors.c.model, vectors.c.width).distinct()
        rows = await self.database.read(lambda c: c.execute(kinds).all())
        towers = {self._path(tower): tower for tower in (Tower(*row) for row in rows)}
        async with self._turn:
            for path in files:
                async with _locked(path):
                    unfinished(path).unlink(missing_ok=True)  # a killed process may have left it
                    if tower := towers.get(path):
                        file = await self._looked(tower)
                        await asyncio.to_thread(file.keep, await self._ids(tower))
                    else:
                        path.unlink(missing_ok=True)

    async def clear(self) -> None:
        """Delete the files, which are made anew: a restored database has other vectors.

        Also under numbers that a file holds, and below its last. Raises a `DatabaseFault`.
        """
        async with self._turn:
            for path in await self._kept():
                async with _locked(path):
                    unfinished(path).unlink(missing_ok=True)
                    path.unlink(missing_ok=True)

    async def _kept(self) -> list[Path]:
        return await asyncio.to_thread(lambda: sorted(self.folder.glob("*.rows")))

    async def _followed(self, tower: Tower) -> ScanFile:
        """Return a model's file with all vectors that the database has."""
        async with _locked(self._path(tower)):
            file = await self._looked(tower)
            while rows := await self.database.read(lambda c: c.execute(_next(tower, file)).all()):
                ids = np.array([row.id for row in rows])
                found = np.stack([_floats(row.vector) for row in rows])
                await asyncio.to_thread(file.append, ids, found)
        return file

    async def _looked(self, tower: Tower) -> ScanFile:
        file = self._files.setdefault(tower, ScanFile(self._path(tower), tower.width))
        await asyncio.to_thread(file.look)
        return file

    async def _ids(self, tower: Tower) -> NDArray[np.int64]:
        """Return the ids of a model's vectors."""
        found: list[int] = []
        query = select(vectors.c.id).where(_of(tower)).order_by(vectors.c.id).limit(IDS)
        last = 0
        while page := await self._page(query.where(vectors.c.id > last)):
            found += page
            last = page[-1]
        return np.array(found, np.int64)

    async def _page(self, query: Select[int]) -> Sequence[int]:
        return await self.database.read(lambda c: c.scalars(query).all())

    def _path(self, tower: Tower) -> Path:
        digest = hashlib.sha256(tower.name.encode()).hexdigest()[:16]
        return self.folder / f"{digest}-{tower.width}.rows"


def _of(tower: Tower) -> ColumnElement[bool]:
    return and_(vectors.c.model == tower.name, vectors.c.width == tower.width)


def _next(tower: Tower, file: ScanFile) -> Select[Any]:
    """Return the query of a page of vectors that a file lacks.

    A server may commit a number later than one above it: the last ones are looked at again.
    """
    start = file.last - OVERLAP
    held = file.ids[file.ids > max(start, 0)].tolist()
    query = select(vectors.c.id, vectors.c.vector).where(_of(tower), vectors.c.id > start)
    return query.where(vectors.c.id.not_in(held)).order_by(vectors.c.id).limit(PAGE)


def _row(tower: Tower, new: NewVector) -> dict[str, Any]:
    return {
        "job": new.job,
        "picture": new.picture,
        "model": tower.name,
        "width": tower.width,
        "vector": new.vector.astype(STORED).tobytes(),
        "match": new.match,
    }


def _floats(stored: bytes) -> Floats:
    return np.frombuffer(stored, STORED).astype(np.float32)


def _scored(rows: Sequence[Any], question: Floats, limit: int) -> list[tuple[float, int, int]]:
    """Return the cosines of the best rows, with their jobs and indices.

    A vector of zeros, or one whose values are no numbers, has none.
    """
    if not rows:
        return []
    stored = np.frombuffer(b"".join(row.vector for row in rows), STORED)
    found = stored.reshape(len(rows), -1).astype(np.float32)
    with np.errstate(invalid="ignore"):
        cosines = found @ question / (np.linalg.norm(found, axis=1) * np.linalg.norm(question))
    best = np.argsort(-cosines)[:limit]  # what is no number comes last
    scored = [(float(cosines[at]), rows[at].job, rows[at].picture) for at in best]
    return [each for each in scored if isfinite(each[0])]


def _alike(connection: Connection, scored: Sequence[tuple[float, int, int]]) -> tuple[Alike, ...]:
    """Return the records of scored pictures; one whose recipe cannot be read is left out."""
    known = jobs_by_id(connection, (job for _, job, _ in scored))
    drawn = {
        (job.id, picture.index): (job, picture)
        for job in known.values()
        for picture in job.pictures
    }
    return tuple(
        Alike(job=drawn[key][0], picture=drawn[key][1], cosine=cosine)
        for cosine, *rest in scored
        if (key := (rest[0], rest[1])) in drawn
    )


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Wait until no other process changes a file; raises a `DatabaseFault` for the system's."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        await asyncio.to_thread(private.make_folder, path.parent)
        while True:
            if await asyncio.to_thread(lock.take):
                break
            await asyncio.sleep(RETRY)
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise explain(error, str(path)) or error from error
