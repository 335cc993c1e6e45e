"""What will happen, drawn from a seed: who does what and what breaks, and when."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DEEDS: Final[Mapping[str, int]] = {  # how often, beside each other
    "imagine": 12,
    "imagine in a group": 2,
    "imagine two": 2,
    "start from a photo": 2,
    "rerun": 6,
    "rerun by reaction": 4,
    "cancel": 4,
    "delete": 3,
    "take the placeholder away": 1,
    "ask twice at once": 2,
    "ask for nonsense": 2,
    "look at the queue": 1,
}
FAULTS: Final[Mapping[str, int]] = {
    "kill -9 of the service": 3,
    "kill -9 of the engine": 3,
    "SIGTERM": 2,
    "SIGTERM twice": 1,
    "service halted": 1,
    "engine halted": 1,
    "network refused": 3,
    "network held up": 2,
    "network silent": 1,
    "answers lost": 4,
    "flood wait": 3,
    "server errors": 3,
    "tokens of interactions expired": 2,
    "gateway disconnected": 3,
    "token revoked": 1,
    "disk full": 3,
    "database locked": 4,
    "clock jumped": 4,
}
EVERY: Final = 1.2  # seconds between two deeds, in the mean
PAUSE: Final = (1.5, 8.0)  # seconds between two faults
SHORT: Final = 90.0  # seconds of a run that holds nothing slow
SLOW: Final = frozenset({"network silent", "token revoked", "engine halted"})


@dataclass(frozen=True, slots=True)
class Event:
    """Name what happens, when (seconds from the start), and a number that decides its details."""

    at: float
    kind: str
    dice: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold all that is to happen, each list in its order."""

    seed: int
    seconds: float
    deeds: tuple[Event, ...]
    faults: tuple[Event, ...]


def make_plan(seed: int, seconds: float, faults: Mapping[str, int] = FAULTS) -> Plan:
    """Return what a seed stands for; equal arguments give equal plans."""
    chance = random.Random(f"chaos {seed}")
    kinds = {kind: n for kind, n in faults.items() if seconds > SHORT or kind not in SLOW}
    deeds = _events(chance, seconds, DEEDS, (0.0, 2 * EVERY))
    return Plan(seed, seconds, deeds, _events(chance, seconds, kinds, PAUSE))


def _events(
    chance: random.Random, seconds: float, kinds: Mapping[str, int], gap: tuple[float, float]
) -> tuple[Event, ...]:
    found = []
    at = chance.uniform(*gap)
    while at < seconds:
        (kind,) = chance.choices([*kinds], [*kinds.values()])
        found.append(Event(at, kind, chance.getrandbits(32)))
        at += chance.uniform(*gap)
    return tuple(found)
