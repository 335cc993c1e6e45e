"""Stored pictures: their paths, and how the engine reads those that a recipe starts from.

Files are named by the sha256 of their content and sharded by its first two digits. Standard
library only: storage writes them, the engine reads them, in whatever process it runs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.errors import MissingPicture


class PictureStore(Protocol):
    """Read pictures by the sha256 of their file."""

    def read(self, sha256: str) -> bytes:
        """Return a file's bytes, or raise `MissingPicture`."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a stored picture: its size in bytes, and the seconds since it was written
    or given again.
    """

    size: int
    age: float


@dataclass(frozen=True, slots=True)
class PictureFolder:
    """Read pictures in a folder; without one there are none."""

    folder: Path | None

    def read(self, sha256: str) -> bytes:
        """Return a file's bytes, or raise `MissingPicture`; blocks."""
        if self.folder is None:
            raise MissingPicture(sha256)
        try:
            return picture_path(self.folder, sha256).read_bytes()
        except OSError:
            raise MissingPicture(sha256) from None


def picture_path(folder: Path, sha256: str) -> Path:
    """Return where the file of that name lies."""
    return folder / sha256[:2] / f"{sha256}.png"
