"""Picture files, named by their content, and safely on disk before any row mentions them."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from storage.errors import DatabaseFault, Unreachable
from storage.faults import explain
from storage.records import Picture

UNFINISHED: Final = ".part"


class Stored(TypedDict):
    """Name a file by its content, and say how long it is."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """Keep PNG files in `folder`, sharded by the first two digits of their sha256."""

    folder: Path

    def add(self, png: bytes) -> Stored:
        """Write a file unless it is there; it survives a power cut once this returns.

        Blocks: call it in a thread. Raises `DatabaseFault` (`DiskFull`, `ReadOnly`, …).
        """
        sha256 = hashlib.sha256(png).hexdigest()
        path = self._path(sha256)
        try:
            if not path.exists():
                self._write(path, png)
            _sync_folder(path.parent)
        except OSError as error:
            raise self._fault(error) from error
        return {"sha256": sha256, "size": len(png)}

    def path(self, picture: Picture) -> Path:
        """Return where a picture's file lies."""
        return self._path(picture.sha256)

    def read(self, picture: Picture) -> bytes:
        """Return a picture's bytes; blocks. Raises `DatabaseFault` when the file is gone."""
        try:
            return self.path(picture).read_bytes()
        except OSError as error:
            raise self._fault(error) from error

    def _path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256}.png"

    def _write(self, path: Path, png: bytes) -> None:
        new = not path.parent.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        if new:
            _sync_folder(self.folder)
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

    def _fault(self, error: OSError) -> DatabaseFault:
        where = error.filename or str(self.folder)
        return explain(error, str(where)) or Unreachable(str(where), str(error))


def _sync_folder(folder: Path) -> None:
    """Make a folder's names durable; some systems cannot open one, and need not."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
