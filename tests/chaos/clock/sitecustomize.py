"""Let a process's time of day be set from outside: the seconds in the file `CHAOS_CLOCK` are added.

Python imports this module by itself where its folder is on PYTHONPATH, which it is for chaos only.
The steady clocks, which no person can set, stay as they are.
"""

import datetime
import os
import time
from datetime import datetime as real
from pathlib import Path
from typing import Any

_file = Path(os.environ.get("CHAOS_CLOCK", os.devnull))
_time = time.time


def _now() -> float:
    try:
        return _time() + float(_file.read_text() or 0)
    except (OSError, ValueError):
        return _time()


class _Both(type):
    """Take moments that C code made for ours, too."""

    def __instancecheck__(cls, it: object) -> bool:
        return isinstance(it, real)


class _Moment(real, metaclass=_Both):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return real.fromtimestamp(_now(), tz)


time.time = _now
time.time_ns = lambda: int(_now() * 1e9)
datetime.datetime = _Moment  # type: ignore[misc]
