"""Where the time went between the last fault and the end of all work. Pure.

Every moment counts once, for the first of `KINDS` that was going on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

DOWN: Final = "the service was starting or down"
BACK_OFF: Final = "waiting before the engine may start again"
STARTING: Final = "the engine was starting"
LOCKED: Final = "waiting for the database"
DRAWING: Final = "jobs were at work (loading included)"
SENDING: Final = "only replies were left: waiting for their next try"
QUEUED: Final = "jobs waited and none was at work"
KINDS: Final = (DOWN, LOCKED, BACK_OFF, STARTING, DRAWING, QUEUED, SENDING)
REST: Final = "anything else"

# What Marble logs, as a pattern, and the kind that ends and the one that begins with it.
SAID: Final[Mapping[str, tuple[str | None, str | None]]] = {
    "commits wait for the database": (None, LOCKED),
    "the database takes commits again": (LOCKED, None),
    r"the engine's process on \S+ may start again": (None, BACK_OFF),
    r"the engine's process on \S+ starts": (BACK_OFF, STARTING),
    r"the engine's process on \S+ is ready": (STARTING, None),
    r"the engine's process on \S+ ended": (STARTING, None),
}


@dataclass(frozen=True, slots=True)
class Span:
    """Hold what went on from when to when, in seconds since 1970."""

    kind: str
    begins: float
    ends: float


def shares(begins: float, ends: float, spans: Iterable[Span]) -> dict[str, float]:
    """Return seconds by kind, the most first; they add up to the whole time."""
    spans = [each for each in spans if each.begins < ends and each.ends > begins]
    edges = {begins, ends}
    for each in spans:
        edges |= {max(begins, each.begins), min(ends, each.ends)}
    found: dict[str, float] = {}
    for start, end in pairwise(sorted(edges)):
        going_on = {each.kind for each in spans if each.begins <= start and each.ends >= end}
        kind = next((kind for kind in KINDS if kind in going_on), REST)
        found[kind] = found.get(kind, 0.0) + end - start
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def logged_spans(log: str, until: float) -> Iterator[Span]:
    """Yield what the log says; a service that starts anew ends all that its predecessor did."""
    since: dict[str, float] = {}
    for line in log.splitlines():
        if not line.startswith("{"):
            continue
        entry = json.loads(line)
        at = datetime.fromisoformat(entry["time"]).timestamp()
        said = next((each for each in SAID if re.search(each, entry["message"])), None)
        if entry["message"] == "Marble is running":
            yield from (Span(kind, began, at) for kind, began in since.items())
            since.clear()
        elif said:
            ended, began = SAID[said]
            if ended in since:
                yield Span(ended, since.pop(ended), at)
            if began:
                since[began] = at
    yield from (Span(kind, began, until) for kind, began in since.items())


def job_spans(times: Sequence[float | None], until: float) -> Iterator[Span]:
    """Yield what a job did by its four times: asked, begun, ended, answered; None: not yet."""
    asked, begun, ended, answered = times
    begun = ended if begun is None else begun  # ended while it waited
    for kind, begins, ends in (
        (QUEUED, asked, begun),
        (DRAWING, begun, ended),
        (SENDING, ended, answered),
    ):
        if begins is not None:
            yield Span(kind, begins, until if ends is None else ends)
