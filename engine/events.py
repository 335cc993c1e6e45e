"""What the engine says while it works, in the order in which it happens.

A job's events are any number of `Progress`, then one `Picture` for each of `recipe.pictures`.
Failure and cancelling are exceptions (`engine.errors`). Before them all, while a job waits for its
turn, the queue says where it stands: `Waiting`. Standard library only.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from engine.errors import MarbleError


class Stage(StrEnum):
    """Name the three stages of the engine, the loading that may come before them, and the enlarging
    after which a picture is denoised once more."""

    LOAD = "load"
    ENCODE = "encode"
    DENOISE = "denoise"
    UPSCALE = "upscale"
    DECODE = "decode"


class Verdict(StrEnum):
    """Say what the safety check found of a picture; one that nobody could check is `UNCHECKED`."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Say how far a stage has come; `preview` is a small JPEG of what can be guessed so far."""

    stage: Stage
    step: int
    total: int
    preview: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Hand over one finished picture: its index in the job, its size in pixels, its PNG bytes, and
    what the safety check says of it."""

    index: int
    width: int
    height: int
    png: bytes
    verdict: Verdict = Verdict.UNCHECKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Say that a job waits: its place in line (1 is next) and the seconds to its pictures.

    `eta` is None while that cannot be told; `reason` is a sentence on why nothing starts.
    """

    position: int
    eta: float | None = None
    reason: str | None = None


Event = Progress | Picture
News = Waiting | Progress


class Key(NamedTuple):
    """Name one claim of a job."""

    job: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Say that a job is over: well, or with an error. Nothing follows it."""

    error: MarbleError | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Say what happened to which job."""

    key: Key
    news: Event | Ended
