"""Everything that storage does, opened and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.care import backups
from storage.care.care import Care
from storage.clock import Clock, utc_now
from storage.database import engines, urls
from storage.database.database import Database
from storage.jobs.bucket_pictures import open_pictures
from storage.jobs.figures import Figures
from storage.jobs.history import History
from storage.jobs.jobs import Jobs
from storage.jobs.outbox import Outbox
from storage.jobs.picture_files import Pictures
from storage.jobs.workers import WorkerProcess
from storage.liveness.alive import FileAlive, ServerAlive
from storage.liveness.leadership import FileLeadership, Leadership, ServerLeadership
from storage.people.exports import Exports
from storage.people.favourites import Favourites
from storage.people.inbox import Inbox
from storage.people.moderation import Moderation
from storage.people.people import People
from storage.people.privacy import Privacy
from storage.people.styles import Styles
from storage.people.web_access import WebAccess
from storage.vectors.vectors import Vectors


@dataclass(frozen=True, slots=True)
class Storage:
    """All parts of storage; `storage` shows their use."""

    database: Database
    pictures: Pictures
    worker: WorkerProcess
    jobs: Jobs
    outbox: Outbox
    inbox: Inbox
    history: History
    figures: Figures
    favourites: Favourites
    people: People
    moderation: Moderation
    styles: Styles
    web_access: WebAccess
    vectors: Vectors
    care: Care
    privacy: Privacy
    exports: Exports

    def leadership(self, what: str) -> Leadership:
        """Return what decides which process of the database does something that one may do."""
        url = self.database.url
        if file := urls.file_of(url):
            return FileLeadership(FileAlive(file).folder / f"{what}.lock")
        return ServerLeadership(engines.alone(url), what)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        folder: Path,
        url: str | None = None,
        pictures_url: str | None = None,
        *,
        now: Clock = utc_now,
    ) -> AsyncIterator[Storage]:
        """Open the data folder and its database, upgraded to this version's schema.

        `url` is `MARBLE_DATABASE_URL`; without it the database is a file in `folder`.
        `pictures_url` is `MARBLE_PICTURES_URL`; without it pictures are in `folder`, too. Raises
        `BadURL`, `BadPicturesURL` or a `DatabaseFault`: one sentence that names the place and the
        cure.
        """
        pictures = await asyncio.to_thread(open_pictures, folder / "pictures", pictures_url)
        database = await Database.open(urls.resolve(folder, url), folder, backups.before_upgrade)
        file = urls.file_of(database.url)
        alive = FileAlive(file) if file else ServerAlive(engines.alone(database.url))
        arrived = asyncio.Event()
        worker = WorkerProcess(database, alive, arrived, now)
        try:
            folders = tuple({folder, file.parent if file else folder})
            history = History(database)
            care = Care(database, pictures, now)
            vectors = Vectors(database, folder / "vectors")
            yield cls(
                database=database,
                pictures=pictures,
                worker=worker,
                jobs=Jobs(database, pictures, folders, arrived, now),
                outbox=Outbox(database, worker.name, arrived, now),
                inbox=Inbox(database, now),
                history=history,
                figures=Figures(database, now),
                favourites=Favourites(database, now),
                people=People(database, now),
                moderation=Moderation(database, now),
                styles=Styles(database, now),
                web_access=WebAccess(database, now),
                vectors=vectors,
                care=care,
                privacy=Privacy(database, care, vectors),
                exports=Exports(database, history, pictures, folder / "exports"),
            )
        finally:
            await worker.close()
            await database.close()
            await asyncio.to_thread(pictures.close)
