"""Picture files, named by their content, and safely on disk before any row mentions them."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from engine.files.private import sync_folder
from engine.files.stored import Found, PictureFolder, PictureStore, picture_path
from engine.sentences import fill
from storage.database.faults import explain
from storage.errors import DatabaseFault, LostPicture, PicturesFault, Unreachable
from storage.jobs.thumbnails import Thumbnails
from storage.records import Picture

UNFINISHED: Final = ".part"
ABANDONED: Final = 24 * 3600.0  # seconds


@dataclass(frozen=True)
class Pictures:
    """Keep PNG files in `folder`, sharded by the first two digits of their sha256.

    `storage.jobs.bucket_pictures` keeps them in an object store, by the same methods.
    """

    folder: Path

    @property
    def where(self) -> str:
        """Return what names the store to its owner."""
        return str(self.folder)

    @property
    def is_shared(self) -> bool:
        """Return whether several databases may keep pictures in one store."""
        return False

    @property
    def store(self) -> PictureStore:
        """Return what reads these pictures for the engine."""
        return PictureFolder(self.folder)

    @property
    def thumbnails(self) -> Thumbnails:
        """Return the small copies of these pictures that this machine keeps."""
        return Thumbnails(self.folder.with_name("thumbnails"))

    def add(self, png: bytes) -> str:
        """Write a file unless it is there, and return its sha256.

        It survives a power cut once this returns.
        Blocks: call it in a thread. Raises `DatabaseFault` (`DiskFull`, `ReadOnly`, …).
        """
        sha256 = hashlib.sha256(png).hexdigest()
        path = self._path(sha256)
        try:
            try:
                os.utime(path)  # wanted again: no sweep takes it now
                whole = path.stat().st_size == len(png)
            except FileNotFoundError:
                whole = False
            if not whole:  # new, or cut short by something else than us
                self._write(path, png)
            sync_folder(path.parent)
        except OSError as error:
            raise self._fault(error) from error
        return sha256

    def path(self, picture: Picture) -> Path:
        """Return where a picture's file lies."""
        return self._path(picture.sha256)

    def file(self, picture: Picture) -> Path | None:
        """Return a picture's file, None where it lies in no folder; blocks."""
        return self.path(picture)

    def read(self, picture: Picture) -> bytes:
        """Return a picture's bytes; blocks.

        Raises `LostPicture` where the file is gone, or another `PicturesFault` where none can be
        read now: the disk may be away.
        """
        try:
            found = self.get(picture.sha256)
        except DatabaseFault as fault:
            raise _unread(self.where, fault.detail) from fault
        if found is not None:
            return found
        raise self._lost(picture)

    def open(self, picture: Picture) -> BinaryIO:
        """Return a picture's file, open; blocks. Raises as `read` does."""
        try:
            return self.path(picture).open("rb")
        except FileNotFoundError:
            raise self._lost(picture) from None
        except OSError as error:
            raise _unread(self.where, self._fault(error).detail) from error

    def get(self, sha256: str) -> bytes | None:
        """Return the bytes of the file of that name, None where there is none; blocks.

        Raises a `DatabaseFault`.
        """
        try:
            return self._path(sha256).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._fault(error) from error

    def fetch(self, sha256: str) -> bytes:
        """Return the bytes of the file of that name; blocks. Raises `MissingPicture`."""
        return PictureFolder(self.folder).read(sha256)

    def all(self, *, unused_for: float = 0.0) -> Iterator[str]:
        """Yield the sha256 of every finished file that was last written so long ago; blocks."""
        latest = time.time() - unused_for
        for path in self.folder.glob("??/*.png"):
            with suppress(FileNotFoundError):
                if not unused_for or path.stat().st_mtime <= latest:
                    yield path.stem

    def look(self, names: Iterable[str]) -> dict[str, Found]:
        """Return those of these files that are there; blocks."""
        found = {}
        for name in names:
            with suppress(FileNotFoundError):
                status = self._path(name).stat()
                found[name] = Found(status.st_size, time.time() - status.st_mtime)
        return found

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return those of these files that are not there; blocks."""
        names = list(names)
        found = self.look(names)
        return [name for name in names if name not in found]

    def has(self, sha256: str) -> bool:
        """Return whether a file is there; blocks."""
        return not self.missing([sha256])

    def remove_old(self, names: Iterable[str], unused_for: float) -> int:
        """Remove those of these files that were last written or given so long ago.

        Their small copies go, too, and those of files that are gone already. Return how many files;
        blocks. Raises a `DatabaseFault`.
        """
        names = list(names)
        found = self.look(names)
        new = {name for name, each in found.items() if unused_for and each.age < unused_for}
        self.thumbnails.remove(name for name in names if name not in new)
        return self.remove(*(name for name in found if name not in new))

    def remove(self, *names: str) -> int:
        """Remove files; return how many were there. Blocks. Raises a `DatabaseFault`."""
        removed = 0
        for name in names:
            try:
                self._path(name).unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._fault(error) from error
            removed += 1
        return removed

    def claim(self, database: str) -> bool:
        """Mark the store as this database's, or return False where it is another's; blocks."""
        return True

    def close(self) -> None:
        """Close what is open."""

    def remove_unfinished(self) -> None:
        """Remove what writers left that died at least a day ago; blocks."""
        remove_abandoned(self.folder.glob(f"??/*{UNFINISHED}"))
        remove_abandoned(self.thumbnails.unfinished())

    def problems(self, sizes: Mapping[str, int], deep: bool) -> dict[str, str]:
        """Say of files (sha256 → size) what is wrong with each; `deep` reads them whole. Blocks."""
        said = {name: self._problem(name, size, deep) for name, size in sizes.items()}
        return {name: problem for name, problem in said.items() if problem}

    def _problem(self, sha256: str, size: int, deep: bool) -> str | None:
        path = self._path(sha256)
        try:
            found = path.stat().st_size
            if found != size:
                what = "{path} has {found} {found:byte|bytes} instead of {size}"
                return fill(what, path=path, found=found, size=size)
            if deep and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                return f"{path} has changed"
        except FileNotFoundError:
            return f"{path} is missing"
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"
        return None

    def _path(self, sha256: str) -> Path:
        return picture_path(self.folder, sha256)

    def _write(self, path: Path, png: bytes) -> None:
        new = not path.parent.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        if new:
            sync_folder(self.folder)
        # Its own name for each try: two jobs may draw the same picture at the same time.
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
        try:
            with part.open("xb") as file:
                file.write(png)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _lost(self, picture: Picture) -> PicturesFault:
        if not any(self.folder.glob("??")):  # where a disk is away, its folder may be there
            return _unread(self.where, "the folder is missing or empty")
        return LostPicture(self.where, picture.name)

    def _fault(self, error: OSError) -> DatabaseFault:
        where = error.filename or str(self.folder)
        return explain(error, str(where)) or Unreachable(str(where), str(error))


def _unread(where: str, why: str) -> PicturesFault:
    cure = "look at its disk and who may read it"
    return PicturesFault(where, f"cannot be read ({why}): {cure}")


def remove_abandoned(unfinished: Iterable[Path]) -> None:
    """Remove those of these files whose writers died at least a day ago; blocks."""
    for path in unfinished:
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()
