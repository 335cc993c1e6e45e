"""Small copies of pictures, kept in a folder of each machine that shows them.

They are named as the pictures are, by the sha256 of the picture's own file, and can be made again
at any time: nothing is lost with one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.files import private

SUFFIX: Final = ".webp"
UNFINISHED: Final = ".part"


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Keep WebP files in `folder`, sharded by the first two digits of their names; all blocks."""

    folder: Path

    def get(self, sha256: str) -> bytes | None:
        """Return the small copy of the picture of that name, None where there is none."""
        try:
            return self._path(sha256).read_bytes()
        except OSError:
            return None

    def add(self, sha256: str, webp: bytes) -> None:
        """Keep a small copy. A disk that is full or cannot be written keeps none."""
        path = self._path(sha256)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
        try:
            private.make_folder(path.parent)
            draft.write_bytes(webp)
            draft.replace(path)
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def remove(self, names: Iterable[str]) -> None:
        """Remove those that are there."""
        for name in names:
            with suppress(OSError):
                self._path(name).unlink(missing_ok=True)

    def all(self) -> Iterator[str]:
        """Yield the names of all."""
        return (path.stem for path in self.folder.glob(f"??/*{SUFFIX}"))

    def unfinished(self) -> Iterator[Path]:
        """Yield the drafts of writers that work or died."""
        return self.folder.glob(f"??/*{UNFINISHED}")

    def _path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256}{SUFFIX}"
