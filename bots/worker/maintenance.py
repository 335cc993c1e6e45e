"""Upkeep of `marble serve`: watch the disk, and every night back up, prune and sweep."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bots.admission.rulebook import KEEP, PREFIX
from bots.operations.settings import Settings
from engine.errors import UserError
from engine.files import private
from engine.files.private import MIN_FREE
from engine.queue.queue import Queue
from engine.sentences import Sentence
from storage import Storage
from storage.care import backups
from storage.jobs.place_tree import is_set, ruled_by
from storage.records import EVERYWHERE

log = logging.getLogger(__name__)

LOOK: Final = 30.0  # seconds between two looks at the disk and the clock
AGAIN: Final = 3600.0  # seconds after which a night that failed is tried again
NIGHT: Final = 3  # o'clock, where the machine is
FULL: Final = Sentence("disk_nearly_full")
DISK: Final = "disk"  # who pauses the queue
NAME: Final = "marble-????-??-??.backup"


@dataclass(slots=True)
class Maintenance:
    """Looks after the disk and database of a serving process; its errors are logged."""

    storage: Storage
    queue: Queue
    settings: Settings
    now: Callable[[], datetime] = lambda: datetime.now().astimezone()  # where the machine is
    _not_before: float = 0.0

    async def run(self) -> None:
        """Look now and then until cancelled."""
        try:
            await asyncio.to_thread(self.storage.exports.sweep)  # what a process left that died
        except OSError as error:
            log.error("files of old exports could not be removed: %s", error)
        while True:
            try:
                self.watch_disk()
                if self._is_due() and time.monotonic() >= self._not_before:
                    self._not_before = time.monotonic() + AGAIN
                    await self.night()
            except (UserError, OSError) as error:
                log.error("maintenance was interrupted: %s", error)
            await asyncio.sleep(LOOK)

    def watch_disk(self) -> None:
        """Start nothing while there is hardly room for what comes of it; go on once there is."""
        free = shutil.disk_usage(self.settings.data_dir).free
        if free < MIN_FREE:
            log.error("less than %d MB are free: the queue is paused", MIN_FREE // 2**20)
            self.queue.pause(FULL, DISK)
        elif free >= 2 * MIN_FREE:
            self.queue.resume(DISK)

    async def night(self) -> None:
        """Back up, remove what is older than its place keeps it, and files that nobody names."""
        failure: UserError | OSError | None = None
        try:
            if self.settings.backups:
                await self.back_up()
        except (UserError, OSError) as error:
            failure = error
        # What nobody is to keep any longer goes all the same.
        pruned = await self.prune()
        swept = await self.storage.care.sweep()
        await self.storage.web_access.sweep()
        await asyncio.to_thread(self.storage.exports.sweep)
        await self.storage.vectors.prune()
        log.info("maintenance: %d old jobs and %d unused files were deleted", pruned, swept)
        if failure:
            raise failure
        await asyncio.to_thread(self._mark.touch)

    async def back_up(self) -> Path:
        """Write today's backup, and remove those that are too many; none where nobody asked yet."""
        make_backup_folder(self.settings)
        url = self.storage.database.url
        target = self.folder / f"marble-{self.now():%Y-%m-%d}.backup"
        if not target.exists() and await self.storage.history.page(limit=1):
            size = await backups.backup(url, target)
            log.info("maintenance: the database was backed up to %s (%d bytes)", target, size)
        for old in sorted(self.folder.glob(NAME))[: -self.settings.backups]:
            old.unlink(missing_ok=True)
        await asyncio.to_thread(backups.remove_unfinished, url, self.settings.data_dir)
        return target

    async def prune(self) -> int:
        """Remove jobs that are older than their place keeps them; return how many."""
        rule, count = PREFIX + KEEP, 0
        kept = await self.storage.people.places_with(rule)
        for place, days in {EVERYWHERE: self.settings.keep_days, **kept}.items():
            if days:  # 0 is no limit
                # It may be changed while much is removed: then nothing more is, by what was read.
                which = ruled_by(rule, place) & is_set(rule, place, kept.get(place))
                pruned = await self.storage.care.prune(timedelta(days=days), which=which)
                count += pruned.jobs
        return count

    @property
    def folder(self) -> Path:
        """Return where backups lie."""
        return backup_folder(self.settings)

    @property
    def _mark(self) -> Path:
        private.make_folder(self.folder)
        return self.folder / ".done"

    def _is_due(self) -> bool:
        now = self.now()
        night = now.replace(hour=NIGHT, minute=0, second=0, microsecond=0)
        if now < night:
            night -= timedelta(days=1)
        return not self._mark.exists() or self._mark.stat().st_mtime < night.timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup: the name of its file, its bytes, and when it was written."""

    name: str
    size: int
    at: datetime


def backup_folder(settings: Settings) -> Path:
    """Return where backups lie."""
    return settings.data_dir / "backups"


def make_backup_folder(settings: Settings) -> Path:
    """Make the folder of backups, closed to others; blocks."""
    folder = backup_folder(settings)
    private.make_folder(folder)
    folder.chmod(private.FOLDER)  # earlier versions made it for all to read
    return folder


def make_backup_path(settings: Settings) -> Path:
    """Return a file for a backup of this second that stays until it is deleted; makes its folder.

    Blocks.
    """
    return make_backup_folder(settings) / f"marble-{datetime.now(UTC):%Y-%m-%d-%H%M%S}.backup"


def list_backups(settings: Settings) -> list[Backup]:
    """Return the backups there, the newest first; blocks."""
    found = []
    for file in backup_folder(settings).glob("*.backup"):
        with suppress(FileNotFoundError):  # it was removed meanwhile
            about = file.stat()
            at = datetime.fromtimestamp(about.st_mtime, UTC)
            found.append(Backup(name=file.name, size=about.st_size, at=at))
    return sorted(found, key=lambda each: each.at, reverse=True)
