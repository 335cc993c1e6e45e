"""Parse JSON that strangers wrote, of bounded size.

Python's parser takes some tenths of a microsecond for each value, and as much again whenever the
garbage collector walks over all that it made so far: a file of some megabytes of empty lists costs
a second. Long strings (a picture in base64) cost next to nothing.
"""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

MARKS: Final = ("{", "[", ",", ":")  # of which each value of JSON has one at most

_lock = Lock()
_parsing = 0
_collected = True


def count_marks(text: str | bytes) -> int:
    """Return how many values JSON may hold at most, and keys; those in strings count, too."""
    if isinstance(text, bytes):
        return sum(text.count(mark.encode()) for mark in MARKS)
    return sum(map(text.count, MARKS))


def parse(text: str | bytes) -> Any:
    """Parse JSON while nothing is collected: all that is made is kept, and lies in no circle.

    Raises `ValueError` where it is none, `RecursionError` where it nests too deeply.
    """
    with _uncollected():
        return json.loads(text)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector of all threads, until the last one that parses is done."""
    global _parsing, _collected
    with _lock:
        if _parsing == 0:
            _collected = gc.isenabled()
            gc.disable()
        _parsing += 1
    try:
        yield
    finally:
        with _lock:
            _parsing -= 1
            if _parsing == 0 and _collected:
                gc.enable()
