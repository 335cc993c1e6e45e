"""One model's vectors in a file, in rows that are quick to scan.

A row has a vector's id and its numbers as int8 with a scale of its own: half of what the database
reads. The best rows are then scored anew from there; `best` says how far the others may reach.
The file is mapped into memory; a row that is taken out is overwritten by zeros.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.files import private

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Dots = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]  # rows [n, w] and one [w]: [n]

BLOCK: Final = 16_384  # rows that a thread scores at once
THREADS: Final = min(4, os.cpu_count() or 1)
STEPS: Final = 127  # int8 goes from −127 to 127
SPARE: Final = 0.25  # part of the rows that may be taken out before the file is written anew


def numpy_dots(rows: NDArray[Any], question: NDArray[Any]) -> NDArray[Any]:
    """Return the scalar product of each row with a vector, in fp32."""
    found: NDArray[Any] = rows.astype(np.float32) @ question.astype(np.float32)
    return found


def _numkong() -> Any:
    return import_module("numkong")  # when it is needed: most processes never scan


def numkong_dots(rows: NDArray[Any], question: NDArray[Any]) -> NDArray[Any]:
    """Return the same by NumKong, whose kernels read int8 as it is."""
    found: NDArray[Any] = np.asarray(_numkong().cdist(question[None], rows, "dot"))[0]
    return found


# NumKong has no wheel for some machines; numpy finds the same, many times slower.
DOTS: Final[Dots] = numkong_dots if find_spec("numkong") else numpy_dots


def record_of(width: int) -> np.dtype[Any]:
    """Return the type of a row."""
    return np.dtype([("id", "<i8"), ("scale", "<f4"), ("row", "i1", (width,))])


def to_records(ids: Ids, vectors: Floats) -> NDArray[Any]:
    """Return rows of vectors [n, width]."""
    rows = np.zeros(len(ids), record_of(vectors.shape[1]))
    rows["id"] = ids
    rows["scale"], rows["row"] = _quantised(vectors)
    return rows


def _quantised(vectors: Floats) -> tuple[Floats, NDArray[Any]]:
    """Return scales [n] and numbers [n, width] whose product is the vectors within half a scale.

    What is no number counts as 0.
    """
    vectors = np.nan_to_num(vectors, nan=0, posinf=0, neginf=0)
    largest = np.abs(vectors).max(axis=1)
    scales = (np.where(largest > 0, largest, 1) / STEPS).astype(np.float32)
    return scales, np.rint(vectors / scales[:, None]).astype(np.int8)


def unfinished(path: Path) -> Path:
    """Return what a file is called while it is written anew."""
    return path.with_suffix(".part")


class ScanFile:
    """The file of one model; blocks. Who changes it holds a lock on it."""

    def __init__(self, path: Path, width: int, dots: Dots = DOTS) -> None:
        self.path = path
        self._width = width
        self._record = record_of(width)
        self._dots = dots
        self._known = (0, 0)  # its inode and size, as they were when it was read
        self._rows: NDArray[Any] = np.zeros(0, self._record)
        self.ids: Ids = np.zeros(0, np.int64)  # 0: a row that was taken out
        self._scales: Floats = np.zeros(0, np.float32)

    @property
    def last(self) -> int:
        """Return the largest id, 0 where there is none."""
        return int(self.ids.max(initial=0))

    def look(self) -> None:
        """Read what another process changed, and remove half a row that a dead one left."""
        if not self.path.exists():
            private.create(self.path)
        about = self.path.stat()
        size = about.st_size - about.st_size % self._record.itemsize
        if size < about.st_size:
            os.truncate(self.path, size)
        inode, known = self._known
        if (inode, known) == (about.st_ino, size):
            return
        first = len(self.ids) if inode == about.st_ino and size > known else 0
        self._rows = np.memmap(self.path, self._record, "r+") if size else self._rows[:0]
        self.ids = np.append(self.ids[:first], self._rows["id"][first:])
        self._scales = np.append(self._scales[:first], self._rows["scale"][first:])
        self._known = (about.st_ino, size)

    def append(self, ids: Ids, vectors: Floats) -> None:
        """Add rows; `look` comes before."""
        with self.path.open("ab") as file:
            file.write(to_records(ids, vectors).tobytes())
            file.flush()
            os.fsync(file.fileno())
        self.look()

    def keep(self, living: Ids) -> None:
        """Overwrite the rows of all other ids by zeros; write the file anew where many are.

        A full disk leaves the zeros where they are.
        """
        gone = (self.ids != 0) & ~np.isin(self.ids, living)
        if gone.any():
            self._rows[gone] = np.zeros((), self._record)
            self._rows.flush()  # type: ignore[attr-defined]  # a memmap, since it has rows
            self.ids[gone], self._scales[gone] = 0, 0
        if len(self.ids) and np.mean(self.ids == 0) > SPARE:
            try:
                self._write_anew()
            except OSError:
                unfinished(self.path).unlink(missing_ok=True)

    def best(self, question: Floats, count: int) -> tuple[Ids, float]:
        """Return the ids of the rows whose scalar product with a vector is largest, unordered.

        Then a bound: the product of no other row is larger. Vectors have length 1.
        """
        [scale], [asked] = _quantised(question[None])
        edges = [*range(0, len(self.ids), BLOCK), len(self.ids)]

        def block(edge: tuple[int, int]) -> tuple[Ids, Floats]:
            part = slice(*edge)
            scores = self._dots(self._rows["row"][part], asked) * (self._scales[part] * scale)
            scores[self.ids[part] == 0] = -np.inf
            chosen = _largest(scores, count)
            return self.ids[part][chosen], scores[chosen]

        with ThreadPoolExecutor(THREADS, "vectors") as threads:
            found = list(threads.map(block, pairwise(edges)))
        if not found:
            return self.ids[:0], -np.inf
        ids, scores = (np.concatenate(each) for each in zip(*found, strict=True))
        chosen = _largest(scores, count)
        ids, scores = ids[chosen], scores[chosen]
        if len(self.ids) <= count:
            return ids[ids != 0], -np.inf
        return ids[ids != 0], float(scores.min()) + self._largest_error(question, float(scale))

    def _largest_error(self, question: Floats, scale: float) -> float:
        """Return by how much a score may differ from the product of the vectors."""
        largest = float(self._scales.max(initial=0)) / 2
        of_rows = largest * float(np.abs(question).sum())
        root = math.sqrt(self._width)  # × its length is the largest sum of a vector's numbers
        of_question = scale / 2 * (root + largest * self._width)
        return of_rows + of_question

    def _write_anew(self) -> None:
        part = unfinished(self.path)
        part.unlink(missing_ok=True)
        private.create(part)
        with part.open("r+b") as file:
            for rows in self._living():
                file.write(rows.tobytes())
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)
        self.look()

    def _living(self) -> Iterator[NDArray[Any]]:
        for start in range(0, len(self.ids), BLOCK):
            part = slice(start, start + BLOCK)
            yield self._rows[part][self.ids[part] != 0]


def _largest(scores: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Return where the largest scores are, unordered."""
    if len(scores) <= count:
        return np.arange(len(scores))
    return np.argpartition(scores, -count)[-count:]
