"""Exports: all that is kept of a person, in zips of limited size.

What goes in is summed up before anything is written: rows as JSON, pictures by the sizes of their
files. Parts lie on the disk one at a time, in a folder that goes with its export; what a process
left that died is known by a lock that nobody holds.

    person.json           what is kept beside jobs, and the latest jobs with their messages
    person-2.json, …      older jobs with theirs
    pictures/12.1.png     what was drawn
    given/SHA256.png      what the person gave: start images, masks, maps
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Final

from engine.files import private
from engine.files.private import MIN_FREE
from storage.care.sqlite_files import faults, new_file, open_part
from storage.database.database import Database
from storage.errors import ExportUnderWay, NoRoom, TooLargeExport
from storage.jobs.history import History
from storage.jobs.picture_files import Pictures, remove_abandoned
from storage.liveness.locks import FileLock
from storage.people.personal_data import about, given_by, messages_of, plain
from storage.records import Exported, Job, Picture

PAGE: Final = 200  # jobs in a file of rows
HEADERS: Final = 256  # bytes that a zip takes for an entry at most, beside its name twice
END: Final = 128  # … and once
TOKEN: Final = "token"  # of a reply's address: whoever has it can answer in Marble's name

May = Callable[[Picture], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFile:
    """One file of an export: compressed text, or a picture's sha256; size: as stored."""

    name: str
    size: int
    text: bytes = field(default=b"", repr=False)
    picture: str | None = None

    @property
    def room(self) -> int:
        """Return how many bytes of a zip it takes at most."""
        return self.size + HEADERS + 2 * len(self.name.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What goes into which part of an export, before any is written."""

    parts: tuple[tuple[ExportFile, ...], ...]
    exported: Exported

    @property
    def sizes(self) -> list[int]:
        """Return how many bytes each part takes at most."""
        return [END + sum(entry.room for entry in part) for part in self.parts]


@dataclass(frozen=True, slots=True)
class Export:
    """An export, written part by part; a process has one part on disk at a time."""

    plan: Plan
    folder: Path
    turn: asyncio.Lock
    pictures: Pictures

    @asynccontextmanager
    async def part(self, number: int) -> AsyncIterator[Path]:
        """Write a part (the first is 1) to a file, which is gone after the block.

        Raises `NoRoom` or a `DatabaseFault`.
        """
        count, index = len(self.plan.parts), number - 1
        file = self.folder / ("marble.zip" if count == 1 else f"marble-{number}-of-{count}.zip")
        async with self.turn:
            try:
                await asyncio.to_thread(_require_room, self.folder, self.plan.sizes[index])
                await asyncio.to_thread(_write, file, self.plan.parts[index], self.pictures)
                yield file
            finally:
                file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Exports:
    """Export a person's stored data, to a file or in parts."""

    database: Database
    history: History
    pictures: Pictures
    folder: Path  # where parts lie while they are sent
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # of the part that is sent

    async def to_file(self, person: str, target: Path) -> Exported:
        """Write one zip of everything; raises `FileThere`, `NoRoom` or a `DatabaseFault`."""
        plan = await self.plan(person)
        await asyncio.to_thread(_write_anew, target, plan, self.pictures)
        return plan.exported

    @asynccontextmanager
    async def begin(
        self, person: str, *, most: int, parts: int, may: May = lambda picture: True
    ) -> AsyncIterator[Export]:
        """Prepare an export; nothing of it stays on the disk after the block.

        most: bytes of a part. parts: how many there may be. may: whether a picture that was drawn
        goes in. Raises `ExportUnderWay` while one of the same person is made, `TooLargeExport` or
        `NoRoom`; nothing was then written.
        """
        name = hashlib.sha256(person.encode()).hexdigest()[:32]
        folder, lock = self.folder / name, FileLock(self.folder / f"{name}.lock")
        await asyncio.to_thread(private.make_folder, self.folder)
        if not await asyncio.to_thread(lock.take):
            raise ExportUnderWay
        try:
            plan = await self.plan(person, most=most, may=may)
            if len(plan.parts) > parts:
                raise TooLargeExport(sum(plan.sizes))
            await asyncio.to_thread(_make_anew, folder, max(plan.sizes))
            yield Export(plan, folder, self._turn, self.pictures)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()

    def sweep(self) -> None:
        """Remove the files of exports whose process has ended; blocks."""
        remove_abandoned(self.folder.parent.glob("tmp*/marble.zip*"))  # of versions before parts
        for name in {path.stem for path in self.folder.glob("*")}:
            lock = FileLock(self.folder / f"{name}.lock")
            if lock.take():
                shutil.rmtree(self.folder / name, ignore_errors=True)
                lock.release()

    async def plan(
        self, person: str, *, most: float = inf, may: May = lambda picture: True
    ) -> Plan:
        """Sum up what goes into an export and share it among parts of `most` bytes."""
        texts: list[ExportFile] = []
        drawn: list[ExportFile] = []
        left_out = too_large = 0
        first = await self.database.read(lambda c: about(c, person))
        async for number, jobs in self._pages(person):
            pictures = [picture for job in jobs for picture in job.pictures]
            shown = {each.name: each.sha256 for each in pictures if may(each)}
            withheld = [each.name for each in pictures if each.name not in shown]
            files, large = await self._measure("pictures", shown, most)
            messages = await self.database.read(partial(messages_of, [job.id for job in jobs]))
            rows = {"person": person, "jobs": list(map(_row, jobs)), "messages": messages}
            rows |= {"left_out": withheld, "too_large": large}
            texts.append(_text(number, rows | (first if number == 1 else {})))
            drawn += files
            left_out += len(withheld)
            too_large += len(large)
        names = await self.database.read(lambda c: c.execute(given_by(person)).scalars().all())
        given, large = await self._measure("given", {name: name for name in names}, most)
        exported = Exported(
            pictures=len(drawn), left_out=left_out, too_large=too_large + len(large)
        )
        return Plan(parts=tuple(_share([*texts, *drawn, *given], most)), exported=exported)

    async def _pages(self, person: str) -> AsyncIterator[tuple[int, Sequence[Job]]]:
        """Yield pages of jobs, the newest first: one at least, be it empty."""
        number, before = 1, None
        while True:
            jobs = await self.history.page(person=person, before=before, limit=PAGE)
            if jobs or number == 1:
                yield number, jobs
            if not jobs:  # one whose recipe cannot be read is left out, so a page may be short
                return
            number, before = number + 1, jobs[-1].id

    async def _measure(
        self, folder: str, files: Mapping[str, str], most: float
    ) -> tuple[list[ExportFile], list[str]]:
        """Return the files, by their names, that fit a part, and the names of larger ones."""
        fitting: list[ExportFile] = []
        large: list[str] = []
        found = await asyncio.to_thread(self.pictures.look, {*files.values()})
        for name, sha256 in files.items():
            if sha256 not in found:  # `marble db check` tells of those that are missing
                continue
            size = found[sha256].size
            file = ExportFile(name=f"{folder}/{name}.png", size=size, picture=sha256)
            if END + file.room <= most:
                fitting.append(file)
            else:
                large.append(name)
        return fitting, large


def _row(job: Job) -> Job:
    """Return a job without tokens of its platform."""
    return replace(job, reply={name: job.reply[name] for name in job.reply if name != TOKEN})


def _text(number: int, rows: dict[str, Any]) -> ExportFile:
    """Return a file of rows, compressed: all of somebody's history may be much."""
    text = zlib.compress(json.dumps(rows, default=plain, ensure_ascii=False, indent=1).encode())
    name = "person.json" if number == 1 else f"person-{number}.json"
    return ExportFile(name=name, size=len(text), text=text)


def _share(entries: Iterable[ExportFile], most: float) -> Iterator[tuple[ExportFile, ...]]:
    """Share entries among parts, in their order."""
    part: list[ExportFile] = []
    size = END
    for entry in entries:
        if part and size + entry.room > most:
            yield tuple(part)
            part, size = [], END
        part.append(entry)
        size += entry.room
    yield tuple(part)


def _require_room(folder: Path, needed: int, spare: int = MIN_FREE) -> None:
    """Raise `NoRoom` unless a disk has room for the bytes and `MIN_FREE` beside them."""
    free = shutil.disk_usage(folder).free - spare
    if free < needed:
        raise NoRoom(needed, max(free, 0))


def _make_anew(folder: Path, needed: int) -> None:
    _require_room(folder.parent, needed)
    shutil.rmtree(folder, ignore_errors=True)
    private.make_folder(folder)


def _write_anew(target: Path, plan: Plan, pictures: Pictures) -> None:
    """Write the one part of a plan to a new file; blocks."""
    [entries], [size] = plan.parts, plan.sizes
    with new_file(target) as part:
        _require_room(part.parent, size, spare=0)
        _write(part, entries, pictures)


def _write(file: Path, entries: Iterable[ExportFile], pictures: Pictures) -> None:
    """Write a zip that nobody else may read; blocks. Raises a `DatabaseFault`."""
    with faults(file):
        open_part(file)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry in entries:
                if entry.picture is None:
                    archive.writestr(entry.name, zlib.decompress(entry.text))
                elif (png := pictures.get(entry.picture)) is not None:  # not removed meanwhile
                    archive.writestr(entry.name, png, zipfile.ZIP_STORED)
