"""What the engine says while it works, in the order in which it happens.

A job's events are any number of `Progress`, then one `Picture` for each of `recipe.pictures`.
Failure and cancelling are exceptions (`engine.errors`). Standard library only.
"""

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Name the three stages of the engine, and the loading that may come before them."""

    LOAD = "load"
    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Say how far a stage has come; `preview` is a small JPEG of what can be guessed so far."""

    stage: Stage
    step: int
    total: int
    preview: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Hand over one finished picture: its index in the job, its size in pixels, its PNG bytes."""

    index: int
    width: int
    height: int
    png: bytes


Event = Progress | Picture
