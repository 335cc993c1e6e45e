"""Take pictures from one store to another while Marble serves; what was done is not done again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

from engine.files.bucket import BadBucketURL, BucketURL
from storage.errors import BadPicturesURL, ChangedPicture
from storage.jobs.bucket_pictures import FOLDER, BucketPictures, open_pictures
from storage.jobs.picture_files import Pictures

CHUNK: Final = 200  # pictures between two reports
AT_ONCE: Final = 8  # pictures that are copied at the same time


@dataclass(slots=True)
class Moved:
    """What a move has done so far; damaged: names of files that are not what they were stored as,
    which stay where they are.
    """

    copied: int = 0
    there: int = 0  # at the target already
    removed: int = 0
    damaged: list[str] = field(default_factory=list)


async def move(
    source: Pictures, target: Pictures, *, remove: bool, report: Callable[[Moved], None]
) -> Moved:
    """Copy every picture to another store, which acknowledges each; then remove it, if wanted.

    report: called now and then. Raises a `DatabaseFault`; whatever was copied stays, and the next
    move goes on from there.
    """
    moved = Moved()
    names = await asyncio.to_thread(lambda: list(source.all()))
    with ThreadPoolExecutor(AT_ONCE, "marble-move") as pool:
        for chunk in _chunks(names):
            await asyncio.to_thread(_move_some, chunk, source, target, remove, moved, pool)
            report(moved)
    return moved


def is_same(one: str, other: str) -> bool:
    """Return whether two URLs name the same place of pictures; raises `BadPicturesURL`."""
    if FOLDER in (one, other):
        return one == other
    try:
        return BucketURL.parse(one).where == BucketURL.parse(other).where
    except BadBucketURL as error:
        raise BadPicturesURL(str(error)) from None


def open_alone(folder: Path, url: str) -> Pictures:
    """Return the pictures at a URL and nowhere else, as a move needs them."""
    pictures = open_pictures(folder, url)
    if isinstance(pictures, BucketPictures):
        return replace(pictures, before=False)
    return pictures


def _move_some(
    names: Iterable[str],
    source: Pictures,
    target: Pictures,
    remove: bool,
    moved: Moved,
    pool: ThreadPoolExecutor,
) -> None:
    names = list(names)
    wanted = source.look(names)
    there = {
        name
        for name, found in target.look(names).items()
        if name in wanted and found.size == wanted[name].size
    }
    moved.there += len(there)

    def copy(name: str) -> bool | None:
        try:
            png = source.get(name)
        except ChangedPicture:
            return False
        if png is None:  # removed meanwhile
            return None
        return hashlib.sha256(png).hexdigest() == name == target.add(png)

    left = [name for name in names if name not in there]
    copied = dict(zip(left, pool.map(copy, left), strict=True))
    moved.copied += sum(map(bool, copied.values()))
    moved.damaged += [name for name, good in copied.items() if good is False]
    if remove:
        done = there | {name for name, good in copied.items() if good}
        moved.removed += source.remove(*done)


def _chunks(names: list[str]) -> Iterator[list[str]]:
    left = iter(names)
    while chunk := list(islice(left, CHUNK)):
        yield chunk
