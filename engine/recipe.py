"""The recipe: all that determines a picture's pixels, and nothing else.

Who asked, where, and what it was made from belong to the job. Standard library only: recipes
travel through every room, into the database and between processes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Final, TypeGuard

from engine.errors import OptionError, UnknownOption

VERSION: Final = 1
PROMPT_LIMIT: Final = 2_000  # characters
SEED_LIMIT: Final = 2**64  # torch.manual_seed takes 64 bits
SEEDS: Final = f"a whole number from 0 to {SEED_LIMIT - 1}"

SAMPLERS: Final = (
    "euler",
    "euler_ancestral",
    "heun",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpmpp_2m",
    "dpmpp_2s_ancestral",
    "dpmpp_2m_sde",
    "dpmpp_sde",
    "dpmpp_3m_sde",
    "ddim",
    "ddpm",
    "lcm",
    "uni_pc",
    "uni_pc_bh2",
    "ipndm",
    "deis",
    "res_multistep",
)
SCHEDULES: Final = (
    "normal",
    "karras",
    "exponential",
    "simple",
    "sgm_uniform",
    "ddim_uniform",
    "beta",
)


@dataclass(frozen=True, slots=True)
class Range:
    """Hold the least and greatest allowed value of a number, and the step it moves in."""

    low: float
    high: float
    step: float | None = None

    def __contains__(self, value: float) -> bool:
        # NaN compares false with everything, and so is outside every range.
        inside = self.low <= value <= self.high
        return inside and (self.step is None or (value - self.low) % self.step == 0)

    def __str__(self) -> str:
        by = "" if self.step in (None, 1) else f" in steps of {self.step:g}"
        return f"between {self.low:g} and {self.high:g}{by}"


RANGES: Final[Mapping[str, Range]] = {
    "steps": Range(1, 150, 1),
    "guidance_scale": Range(0, 30),
    "width": Range(64, 2048, 8),
    "height": Range(64, 2048, 8),
    "count": Range(1, 16, 1),
}
# Texts that may not be empty, and what they must hold.
WORDS: Final = {
    "prompt": "some words that describe the picture",
    "checkpoint": "the name of a model",
}
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {"sampler": SAMPLERS, "schedule": SCHEDULES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Say how to make `count` pictures, or only number `picture` of them (counted from 0).

    Every value is checked; the first one out of range raises `OptionError`.
    """

    prompt: str
    negative_prompt: str = ""
    seed: int
    steps: int
    guidance_scale: float
    width: int
    height: int
    count: int = 1
    picture: int | None = None
    sampler: str
    schedule: str
    checkpoint: str

    def __post_init__(self) -> None:
        for field in fields(self):
            check(field.name, getattr(self, field.name))
        if self.picture is not None and not self.picture < self.count:
            raise OptionError("picture", self.picture, f"a whole number below count ({self.count})")
        # 5 and 5.0 are one recipe: without this their JSON, and so the PNG's text, would differ.
        object.__setattr__(self, "guidance_scale", float(self.guidance_scale))

    @property
    def pictures(self) -> tuple[int, ...]:
        """Return the indices of the pictures this recipe makes."""
        return tuple(range(self.count)) if self.picture is None else (self.picture,)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; the seed is text, since JSON's readers stop at 2^53."""
        return {"version": VERSION, **asdict(self), "seed": str(self.seed)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Read what `to_dict` wrote, or raise `OptionError` or `UnknownOption`."""
        values = dict(data)
        version = values.pop("version", None)
        if version != VERSION:
            raise OptionError("version", version, f"{VERSION} (written by a newer Marble?)")
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise UnknownOption(name, known)
        missing = {f.name for f in fields(cls) if f.default is MISSING} - values.keys()
        if missing:
            raise OptionError(min(missing), None, "given")
        values["seed"] = parse_seed(values["seed"])
        return cls(**values)


def check(name: str, value: object) -> None:
    """Raise `OptionError` where a field of the recipe cannot have this value."""
    if name in RANGES:
        _check_number(name, value, RANGES[name])
    elif name in CHOICES:
        if value not in CHOICES[name]:
            raise OptionError(name, value, f"one of {', '.join(CHOICES[name])}")
    elif name == "seed":
        if not _is_int(value) or not 0 <= value < SEED_LIMIT:
            raise OptionError(name, value, SEEDS)
    elif name == "picture":
        if value is not None and (not _is_int(value) or value < 0):
            raise OptionError(name, value, "a whole number below count")
    else:
        _check_text(name, value)


def parse_seed(text: object) -> int:
    """Read a seed from text or a whole number, or raise `OptionError`."""
    if _is_int(text):
        seed = text
    elif isinstance(text, str) and text.strip().isascii() and text.strip().isdigit():
        seed = int(text) if len(text.strip()) <= 20 else SEED_LIMIT
    else:
        raise OptionError("seed", text, SEEDS)
    if not 0 <= seed < SEED_LIMIT:
        raise OptionError("seed", text, SEEDS)
    return seed


def random_seed() -> int:
    """Draw a fresh seed, short enough that people can read it out and retype it."""
    return secrets.randbelow(2**32)


def _check_number(name: str, value: object, allowed: Range) -> None:
    whole = allowed.step is not None
    right = _is_int(value) if whole else _is_number(value)
    if not (right and value in allowed):  # type: ignore[operator]  # a number by now
        raise OptionError(name, value, f"{'a whole number ' if whole else ''}{allowed}")


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise OptionError(name, text, "text")
    if len(text) > PROMPT_LIMIT:
        raise OptionError(name, f"{len(text):,} characters", f"at most {PROMPT_LIMIT:,} characters")
    if name in WORDS and not text.strip():
        raise OptionError(name, text, WORDS[name])


def _is_int(value: object) -> TypeGuard[int]:
    # bool is an int to Python, but `steps=True` is a mistake.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return _is_int(value) or isinstance(value, float)
