"""What a models folder holds, by names and fingerprints that machines can compare.

A file's fingerprint is made of its size, of its first bytes, which in safetensors and GGUF are the
header (names, shapes and places of all tensors), and of a few samples of its weights, which tell
files of one layout apart. No file is read whole, so that thousands take seconds. Standard library
only.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.errors import UserError
from engine.models.catalogue import STARTER_FOLDER, Catalogue
from engine.models.folders import SAFE, ModelKind
from engine.models.model_files import KINDS, ModelFiles
from engine.models.needs import need
from engine.models.weights import component_files

HEADER: Final = 2**20  # bytes of a file that is not in safetensors' format
LONGEST: Final = 2**27  # bytes of a header that are read
SAMPLES: Final = 4  # of a file, evenly spread; the last one ends with it
SAMPLE: Final = 2**14  # bytes of each


class Fingerprints:
    """Find what a models folder holds; files that have not changed are not read again."""

    def __init__(self, models_dir: Path | None, starter: Path = STARTER_FOLDER) -> None:
        self._models_dir = models_dir
        self._catalogue = Catalogue(models_dir, starter)
        self._parts = {kind: ModelFiles(models_dir, kind) for kind in KINDS}
        self._known: dict[Path, tuple[tuple[int, int], str]] = {}

    def all(self) -> dict[str, str]:
        """Return need → fingerprint of everything that can be used, as `needs_of`; blocks."""
        return dict(self._all())

    def _all(self) -> Iterator[tuple[str, str]]:
        for name in self._catalogue.names():
            with suppress(UserError, OSError):  # a broken one is none
                yield need(ModelKind.CHECKPOINT, name), self._of(self._checkpoint(name))
        for kind, files in self._parts.items():
            for name in files.files():
                with suppress(UserError, OSError):
                    path = files.path(name)
                    yield need(kind, name), self._of([path] if path.is_file() else _inside(path))

    def _checkpoint(self, name: str) -> Iterable[Path]:
        checkpoint = self._catalogue.get(name)
        apart = [*checkpoint.parts.values()]
        whole = checkpoint.file or checkpoint.folder
        for path in dict.fromkeys([whole, *apart]):
            yield from [path] if path.is_file() else _inside(path)

    def _of(self, paths: Iterable[Path]) -> str:
        return hashlib.sha256("\n".join(sorted(map(self._file, paths))).encode()).hexdigest()[:16]

    def _file(self, path: Path) -> str:
        stat = path.stat()
        state = stat.st_size, stat.st_mtime_ns
        if (known := self._known.get(path)) and known[0] == state:
            return known[1]
        with path.open("rb") as file:
            length = HEADER
            if path.suffix.lower() in SAFE:
                first = file.read(8)
                length = min(LONGEST, *struct.unpack("<Q", first)) if len(first) == 8 else 0
            digest = hashlib.sha256(file.read(length))
            for number in range(1, SAMPLES + 1):
                file.seek(max(0, stat.st_size * number // SAMPLES - SAMPLE))
                digest.update(file.read(SAMPLE))
            found = f"{stat.st_size}:{digest.hexdigest()}"
        self._known[path] = state, found
        return found


def _inside(folder: Path) -> list[Path]:
    """Return a diffusers folder's files of weights: its own, or those of its parts."""
    parts = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    return [file for part in (folder, *parts) for file in component_files(part)]


def differing(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Return the names that both have, of files that are not the same, in order."""
    return sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name])
