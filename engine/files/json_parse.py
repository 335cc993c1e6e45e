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
SLICE: Final = 2**18  # characters whose marks are counted at a time

_lock = Lock()
_parsing = 0
_collected = True


def has_more_values(text: str, most: int) -> bool:
    """Return whether JSON may hold more values and keys than that; those in strings count, too.

    A text of any length is looked at only as far as it has to be.
    """
    count = 0
    for start in range(0, len(text), SLICE):
        count += sum(map(text[start : start + SLICE].count, MARKS))
        if count > most:
            return True
    return False


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
