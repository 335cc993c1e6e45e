"""Events of the engine while it works, in the order in which they happen.

A job's events are any number of `Progress`, then one `Picture` for each of `recipe.pictures`.
Failure and cancelling are exceptions (`engine.errors`). Before them all, while a job waits for its
turn, the queue reports its position: `Waiting`. A pipeline reports events and ends by the job's
`Key`. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from engine.errors import MarbleError


class Stage(StrEnum):
    """Name the three stages, loading before them, and upscaling before a second denoising."""

    LOAD = "load"
    ENCODE = "encode"
    DENOISE = "denoise"
    UPSCALE = "upscale"
    DECODE = "decode"


class Verdict(StrEnum):
    """Name the safety classifier's results; without a classifier it is `UNCHECKED`."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A finished picture: its index in the job, its size in pixels, its PNG file's bytes, and the
    safety check's result."""

    index: int
    width: int
    height: int
    png: bytes
    verdict: Verdict = Verdict.UNCHECKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a stage in steps; `preview` is a small JPEG of the picture so far.

    `finished`: the job's pictures that are there already, which the worker adds.
    """

    stage: Stage
    step: int
    total: int
    preview: bytes | None = None
    finished: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job that waits here: its position in the queue and the seconds to its pictures.

    At 1 it is next; at 0 another process draws it, of whose steps nothing is known here.

    `eta` is None while there is no estimate; `reason` is a sentence on why nothing starts.
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
    """The end of a job, with an error or without. Nothing follows it."""

    error: MarbleError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """An engine's device ("cuda:0"), its kind ("NVIDIA H200"), and what it has for models.

    room: the values of an `engine.models.memory_plan.Room`.
    """

    device: str = ""
    kind: str = ""
    room: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to which job."""

    key: Key
    news: Event | Ended
