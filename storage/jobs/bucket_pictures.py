"""Pictures in an object store, by the methods of the folder of pictures.

The folder in which they were before is still read: so pictures can be moved while people look at
them. New ones go to the bucket alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Final

from engine.errors import MissingPicture
from engine.files.bucket import (
    BadBucketURL,
    Bucket,
    BucketFault,
    ChangedObject,
    PictureBucket,
    open_bucket,
)
from engine.files.stored import Found, PictureFolder, PictureStore
from engine.sentences import fill
from storage.errors import BadPicturesURL, ChangedPicture, LostPicture, PicturesFault
from storage.jobs.picture_files import Pictures
from storage.records import Picture

FOLDER: Final = "file:"  # the URL of the data folder's pictures
OWNER: Final = "marble-database.txt"  # the object that says whose pictures these are


@dataclass(frozen=True)
class BucketPictures(Pictures):
    """Keep pictures in a bucket.

    folder: where they may have been before; before: whether that is read as well.
    """

    bucket: Bucket
    before: bool = True

    @property
    def where(self) -> str:
        """Return what names the store to its owner."""
        return self.bucket.url.where

    @property
    def is_shared(self) -> bool:
        """Return whether several databases may keep pictures in one store."""
        return True

    @property
    def store(self) -> PictureStore:
        """Return what reads these pictures for the engine."""
        return PictureBucket(self.bucket, PictureFolder(self.folder))

    def add(self, png: bytes) -> str:
        """Store a picture and return its sha256; the store has acknowledged it on return.

        It is written again if it is there: no sweep takes it now. Blocks: call it in a thread.
        Raises `PicturesFault`.
        """
        sha256 = hashlib.sha256(png).hexdigest()
        with self._faults():
            self.bucket.put(sha256, png)
        return sha256

    def file(self, picture: Picture) -> Path | None:
        """Return a picture's file, None where it lies in no folder; blocks."""
        path = self.path(picture)
        return path if path.exists() else None

    def read(self, picture: Picture) -> bytes:
        """Return a picture's bytes; blocks. Raises `PicturesFault`: `LostPicture` if it is gone."""
        found = self.get(picture.sha256)
        if found is None:
            raise LostPicture(self.where, picture.name)
        return found

    def open(self, picture: Picture) -> BinaryIO:
        """Return a picture's file, open: a copy beside the data, gone once it is closed; blocks.

        Its bytes are checked before anybody gets one of them. Raises as `read` does, or another
        `DatabaseFault`.
        """
        found = self.read(picture)
        try:
            with ExitStack() as unless_whole:
                file = unless_whole.enter_context(TemporaryFile(dir=self.folder.parent))
                file.write(found)
                file.seek(0)
                unless_whole.pop_all()
        except OSError as error:
            raise self._fault(error) from error
        return file

    def get(self, sha256: str) -> bytes | None:
        """Return the bytes of the picture of that name, None where there is none; blocks.

        Raises `PicturesFault`.
        """
        try:
            with self._faults():
                found = self.bucket.get(sha256)
        except PicturesFault:
            before = Pictures.get(self, sha256) if self._is_folder() else None
            if before is None:
                raise
            return before
        if found is None and self._is_folder():
            found = Pictures.get(self, sha256)
            if found is None:  # perhaps it was moved between the two looks
                with self._faults():
                    found = self.bucket.get(sha256)
        return found

    def fetch(self, sha256: str) -> bytes:
        """Return the bytes of the picture of that name; blocks.

        Raises `MissingPicture` or `PicturesFault`.
        """
        if (found := self.get(sha256)) is None:
            raise MissingPicture(sha256)
        return found

    def all(self, *, unused_for: float = 0.0) -> Iterator[str]:
        """Yield the sha256 of every picture that was last written so long ago; blocks.

        Raises `PicturesFault`.
        """
        seen = set()
        with self._faults():
            for name, found in self.bucket.all():
                seen.add(name)
                if not found.age < unused_for:
                    yield name
        if self._is_folder():
            for name in Pictures.all(self, unused_for=unused_for):
                if name not in seen:
                    yield name

    def look(self, names: Iterable[str]) -> dict[str, Found]:
        """Return those of these pictures that are there; blocks. Raises `PicturesFault`."""
        names = list(names)
        with self._faults():
            found = self.bucket.look(names)
            left = [name for name in names if name not in found]
            if left and self._is_folder():
                before = Pictures.look(self, left)
                moved = self.bucket.look(name for name in left if name not in before)
                found |= before | moved
        return found

    def remove(self, *names: str) -> int:
        """Remove pictures that are there; return how many. Blocks. Raises `PicturesFault`."""
        if self._is_folder():
            Pictures.remove(self, *names)
        with self._faults():
            self.bucket.remove(names)
        return len(names)

    def problems(self, sizes: Mapping[str, int], deep: bool) -> dict[str, str]:
        """Say of pictures (sha256 → size) what is wrong with each; `deep` reads them whole.

        Blocks. Raises `PicturesFault` for a store that does not answer.
        """
        found = self.look(sizes)
        said = {}
        for sha256, size in sizes.items():
            name = f"{self.bucket.url.name_of(sha256)} in {self.where}"
            if sha256 not in found:
                said[sha256] = f"{name} is missing"
            elif found[sha256].size != size:
                what = "{name} has {n} {n:byte|bytes} instead of {size}"
                said[sha256] = fill(what, name=name, n=found[sha256].size, size=size)
            elif deep:
                try:
                    self.get(sha256)
                except PicturesFault as fault:
                    said[sha256] = str(fault).rstrip(".")
        return said

    def claim(self, database: str) -> bool:
        """Mark the bucket's prefix as this database's, or return False where it is another's.

        Blocks. Raises `PicturesFault`.
        """
        if self.owner() is None:
            with self._faults():
                self.bucket.write(self._mark, database.encode())
        return self.owner() == database

    def owner(self) -> str | None:
        """Return the name of the database whose pictures these are; blocks. Raises
        `PicturesFault`.
        """
        with self._faults():
            found = self.bucket.read(self._mark)
        return None if found is None else found.decode(errors="replace")

    def probe(self) -> None:
        """Write, read, list and remove an object; blocks. Raises `PicturesFault`."""
        with self._faults():
            self.bucket.probe()

    def close(self) -> None:
        """Close the connections."""
        self.bucket.close()

    @property
    def _mark(self) -> str:
        return f"{self.bucket.url.root}{OWNER}"

    def _is_folder(self) -> bool:
        return self.before and self.folder.exists()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except ChangedObject as fault:
            raise ChangedPicture(self.where, str(fault)) from fault
        except BucketFault as fault:
            raise PicturesFault(self.where, str(fault)) from fault


def open_pictures(folder: Path, url: str | None) -> Pictures:
    """Return the pictures at a URL (none, or `file:`: in the folder); nothing is called.

    Raises `BadPicturesURL`, or `PicturesFault` where the library is missing.
    """
    if url is None or url == FOLDER:
        return Pictures(folder)
    try:
        return BucketPictures(folder, open_bucket(url))
    except BadBucketURL as error:
        raise BadPicturesURL(str(error)) from None
    except BucketFault as fault:
        raise PicturesFault("s3://", str(fault)) from None
